"""A narrow residual encoder: small enough to train on a laptop's processor in minutes."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.train.networks.depth import Encoder
from xdistill.train.networks.resnet import DEVIATION, MEAN, BasicBlock, initialise
from xdistill.train.recipe.recipe import Recipe

CHANNELS = (16, 16, 32, 64, 128)
"""Channels of the five features, finest first: a ResNet's divided by four."""
DECODER_CHANNELS = (8, 16, 32, 64, 128)
"""Channels of the decoder's rows beside it, finest first: half of Monodepth2's."""


class NarrowEncoder(Encoder):
    """A quarter of ResNet-18's channels and one residual block per stage; 5x5 at the entrance."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.decoder_channels = CHANNELS, DECODER_CHANNELS
        self.conv1 = nn.Conv2d(3, CHANNELS[0], 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS[0])
        self.stages = nn.ModuleList(
            BasicBlock(inputs, outputs, stride=2)
            for inputs, outputs in zip(CHANNELS, CHANNELS[1:], strict=False)
        )
        initialise(self)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size of images in [0, 1]."""
        x = self.conv1((images - MEAN) / DEVIATION)
        features = [F.relu(self.bn1(x), inplace=True)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


def _of_recipe(recipe: Recipe) -> NarrowEncoder:
    return NarrowEncoder()


ENCODERS = {"narrow": _of_recipe}
"""By the name that a recipe gives as ``encoder``."""
