"""ResNet encoders (He et al., CVPR 2016) that give the features of five scales."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.manifests.weights import load_strictly
from xdistill.train.networks.depth import Encoder
from xdistill.train.networks.imagenet import torchvision_weights
from xdistill.train.recipe.recipe import Recipe

MEAN = 0.45
DEVIATION = 0.225
"""One mean and deviation for all three channels, as Monodepth2 normalises its input."""
STAGE_CHANNELS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut (ResNet-18 and -34)."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions and the shortcut (ResNet-50 and -101)."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, *, stride: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(x), inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A 1x1 projection where size or channels change, else the identity."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(outputs))


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One ResNet depth."""

    block: type[BasicBlock] | type[Bottleneck]
    """The residual block."""
    blocks: tuple[int, int, int, int]
    """Blocks in each of the four stages."""


ARCHITECTURES = {
    "resnet18": Architecture(block=BasicBlock, blocks=(2, 2, 2, 2)),
    "resnet34": Architecture(block=BasicBlock, blocks=(3, 4, 6, 3)),
    "resnet50": Architecture(block=Bottleneck, blocks=(3, 4, 6, 3)),
    "resnet101": Architecture(block=Bottleneck, blocks=(3, 4, 23, 3)),
}


class ResNetEncoder(Encoder):
    """A ResNet without its classifier; parameter names as in the published ImageNet weights."""

    def __init__(self, name: str, *, images: int = 1) -> None:
        """Build the encoder with random weights.

        Args:
            name: A key of ``ARCHITECTURES``.
            images: RGB images stacked along the channels of its input.
        """
        super().__init__()
        self.name, self.images = name, images
        architecture = ARCHITECTURES[name]
        self.channels = (64, *(c * architecture.block.expansion for c in STAGE_CHANNELS))
        self.conv1 = nn.Conv2d(3 * images, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = self.channels[:-1]
        strides = (1, 2, 2, 2)
        stages = [
            _stage(architecture.block, count, (inputs[i], STAGE_CHANNELS[i]), stride=strides[i])
            for i, count in enumerate(architecture.blocks)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        initialise(self)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size of images in [0, 1]."""
        x = self.conv1((images - MEAN) / DEVIATION)  # (B, 64, H / 2, W / 2)
        features = [F.relu(self.bn1(x), inplace=True)]
        features.append(self.layer1(F.max_pool2d(features[0], 3, stride=2, padding=1)))
        for stage in (self.layer2, self.layer3, self.layer4):
            features.append(stage(features[-1]))
        return features

    def start_from(self, source: str) -> None:
        """Take ImageNet weights (``imagenet``), or those of a torchvision state dict, by its path.

        Raises:
            FetchError: The ImageNet weights are not available, or are not the published ones.
            WeightsError: The file does not fit the encoder.
        """
        weights, path = torchvision_weights(source, name=self.name, images=self.images)
        load_strictly(self, weights, where=path)


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    count: int,
    channels: Sequence[int],
    *,
    stride: int,
) -> nn.Sequential:
    inputs, width = channels
    outputs = width * block.expansion
    rest = [block(outputs, width, stride=1) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, width, stride=stride), *rest)


def initialise(encoder: nn.Module) -> None:
    """He et al.'s initialisation for ReLU networks (ICCV 2015), as ResNets are trained with."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _of_recipe(recipe: Recipe) -> ResNetEncoder:
    return ResNetEncoder(recipe.encoder)


ENCODERS = dict.fromkeys(ARCHITECTURES, _of_recipe)
"""By the name that a recipe gives as ``encoder``."""
