"""ImageNet's published weights, and other state dicts of torchvision's, as a start of encoders."""

from pathlib import Path

import torch
from torch import Tensor

from xdistill.manifests.download import cache_folder, fetch, sha256_of
from xdistill.manifests.errors import FetchError
from xdistill.manifests.weights import read_weights, tensors_of

IMAGENET_ADDRESS = "https://download.pytorch.org/models/"
IMAGENET_FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
}
"""torchvision's published files (BSD-3); the name ends in the first digits of the sha256."""
CLASSIFIER = ("fc.weight", "fc.bias")
"""ImageNet's classifier, which no network here has."""


def torchvision_weights(source: str, *, name: str, images: int) -> tuple[dict[str, Tensor], Path]:
    """ImageNet's weights of a ResNet, or those of a torchvision state dict, and their file.

    The first convolution of an encoder of two images takes the weights twice, halved, so that two
    equal images give the features of one.

    Args:
        source: ``imagenet`` or a path.
        name: The encoder's architecture.
        images: RGB images stacked along the channels of the encoder's input.

    Raises:
        FetchError: The ImageNet weights are not available, or are not the published ones.
        WeightsError: The file cannot be read, or holds more than tensors.
    """
    path = _imagenet_file(name) if source == "imagenet" else Path(source)
    weights = tensors_of(read_weights(path), where=path)
    for key in CLASSIFIER:
        weights.pop(key, None)
    first = weights.get("conv1.weight")
    if images > 1 and first is not None and first.ndim == 4:
        weights["conv1.weight"] = torch.cat([first] * images, 1) / images
    return weights, path


def _imagenet_file(name: str) -> Path:
    """The published file in the cache folder, checked against the digits in its name."""
    file = IMAGENET_FILES[name]
    address = IMAGENET_ADDRESS + file
    return fetch(address, cache_folder() / "weights" / file, sha256=None, check=_require_digits)


def _require_digits(path: Path) -> None:
    """Compare a file, or the part of its download, with the digits in its name."""
    digest, prefix = sha256_of(path), path.name.partition(".")[0].rsplit("-", 1)[1]
    if not digest.startswith(prefix):
        raise FetchError(
            f"the sha256 of the weights is {digest}",
            expected=f"a sha256 that begins with {prefix}",
            where=path,
            remedy=f"move this file away and run again, or put the one from {IMAGENET_ADDRESS} in "
            "its place",
        )
