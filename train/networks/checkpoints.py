"""Published weights: ImageNet encoders and Monodepth2's four checkpoint files."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xdistill.manifests.download import cache_folder, fetch, sha256_of
from xdistill.manifests.errors import FetchError
from xdistill.manifests.weights import WeightsError, load_strictly, read_weights
from xdistill.train.networks.depth import DepthNetwork
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.recipe.recipe import ResNet

IMAGENET_ADDRESS = "https://download.pytorch.org/models/"
IMAGENET_FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
}
"""torchvision's published files (BSD-3); the name ends in the first digits of the sha256."""

PEER_FILES = ("encoder.pth", "depth.pth", "pose_encoder.pth", "pose.pth")
"""A checkpoint folder as Monodepth2 publishes it."""
PEER_SETTINGS = ("height", "width", "use_stereo")
"""Entries of encoder.pth beside its tensors."""
CLASSIFIER = ("fc.weight", "fc.bias")
"""ImageNet's classifier, which no network here has."""


def load_encoder(encoder: ResNetEncoder, source: str, *, name: str) -> None:
    """Start an encoder from ImageNet weights or from a torchvision state dict.

    The first convolution of an encoder of two images takes the weights twice, halved, so that two
    equal images give the features of one.

    Args:
        encoder: Changed in place, as ``load_state_dict`` does.
        source: ``imagenet`` or a path.
        name: The encoder's architecture.

    Raises:
        FetchError: The ImageNet weights are not available, or are not the published ones.
        WeightsError: The file does not fit the encoder.
    """
    path = _imagenet_file(name) if source == "imagenet" else Path(source)
    weights = read_weights(path)
    for key in CLASSIFIER:
        weights.pop(key, None)
    images = encoder.conv1.in_channels // 3
    if images > 1 and isinstance(first := weights.get("conv1.weight"), Tensor):
        weights["conv1.weight"] = torch.cat([first] * images, 1) / images
    load_strictly(encoder, weights, where=path)


def _imagenet_file(name: str) -> Path:
    """The published file in the cache folder, checked against the digits in its name."""
    file = IMAGENET_FILES[name]
    path = fetch(IMAGENET_ADDRESS + file, cache_folder() / "weights" / file, sha256=None)
    digest, prefix = sha256_of(path), path.stem.rsplit("-", 1)[1]
    if not digest.startswith(prefix):
        raise FetchError(
            f"the sha256 of the weights is {digest}",
            expected=f"a sha256 that begins with {prefix}",
            where=path,
            remedy=f"put the file from {IMAGENET_ADDRESS + file} in its place",
        )
    return path


def is_peer_folder(folder: Path) -> bool:
    """Whether a folder holds Monodepth2's encoder.pth and depth.pth."""
    return all((folder / file).is_file() for file in PEER_FILES[:2])


def load_peer_depth(network: DepthNetwork, folder: Path) -> None:
    """Load encoder.pth and depth.pth; every tensor of both is accounted for.

    Raises:
        WeightsError: A file is missing or does not fit.
    """
    _load_peer(network, folder, PEER_FILES[:2])


def load_peer_pose(network: PoseNetwork, folder: Path) -> None:
    """Load pose_encoder.pth and pose.pth; every tensor of both is accounted for.

    Raises:
        WeightsError: A file is missing or does not fit.
    """
    _load_peer(network, folder, PEER_FILES[2:])


def _load_peer(network: nn.Module, folder: Path, files: tuple[str, ...]) -> None:
    weights: dict[str, Any] = {}
    for file in files:
        weights |= read_weights(folder / file)
    dropped = (*PEER_SETTINGS, *(f"encoder.{key}" for key in CLASSIFIER))
    kept = {key: value for key, value in weights.items() if key not in dropped}
    load_strictly(network, kept, where=folder)


_DEPTHS: dict[tuple[bool, bool], ResNet] = {
    (False, False): "resnet18",
    (False, True): "resnet34",
    (True, True): "resnet50",
}
"""Encoder by whether it has bottlenecks and a sixth block in its third stage."""


def peer_settings(folder: Path) -> tuple[ResNet, int, int]:
    """Encoder name, width and height in pixels of a published checkpoint folder.

    Raises:
        WeightsError: The file cannot be read, or holds no ResNet-18, -34 or -50.
    """
    path = folder / PEER_FILES[0]
    weights = read_weights(path)
    bottleneck = "encoder.layer1.0.conv3.weight" in weights
    deep = "encoder.layer3.5.conv1.weight" in weights
    name = _DEPTHS.get((bottleneck, deep))
    try:
        width, height = int(weights["width"]), int(weights["height"])
    except (KeyError, TypeError, ValueError):
        name = None
    if name is None:
        raise WeightsError(
            "the file holds no Monodepth2 encoder",
            expected="ResNet-18, -34 or -50 tensors with the entries height and width",
            where=path,
            remedy="give a folder with the published encoder.pth and depth.pth",
        )
    return name, width, height
