"""Depth networks: the encoders and decoders that recipes name, and Monodepth2's decoder.

Encoders and decoders are found in the files of this folder. Monodepth2: Godard et al., ICCV 2019.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.train.recipe.recipe import ROAD_HEIGHTS, Recipe, RecipeError

DECODER_CHANNELS = (16, 32, 64, 128, 256)
"""Output channels of the decoder's rows, finest first."""
SCALES = 4
"""Disparities at full, half, quarter and eighth size."""


FOCAL_SHARE = 1.92
"""Focal length as a share of the image's height (Monodepth2's for every KITTI drive)."""
HORIZON = 0.5
"""Row of the horizon as a share of the image's height (the same source)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowPrior:
    """Fixed logits, one for each image row, that are added to the disparity heads' own.

    A network from random weights learns what stands on the road sooner when the road need not be
    learned first. The published networks have no such prior.
    """

    height: float
    """Of the camera above the road, in the depth's unit."""
    min_depth: float
    """Depth where the sigmoid is 1, same unit."""
    max_depth: float
    """Depth where the sigmoid is 0, same unit."""

    def logits(self, rows: int, *, like: Tensor) -> Float[Tensor, "1 1 rows 1"]:
        """Logits of the rows of an image, on the device of ``like``."""
        row = (torch.arange(rows, dtype=like.dtype, device=like.device) + 0.5) / rows
        road = (row - HORIZON) / (FOCAL_SHARE * self.height)
        disparity = road.clamp(min=1 / (ROAD_HEIGHTS[1] * self.height))
        farthest, nearest = 1 / self.max_depth, 1 / self.min_depth
        return torch.logit((disparity - farthest) / (nearest - farthest)).view(1, 1, rows, 1)


def recipe_prior(recipe: Recipe) -> RowPrior | None:
    """The prior that a recipe asks for."""
    if recipe.row_prior is None:
        return None
    return RowPrior(height=recipe.row_prior, min_depth=recipe.min_depth, max_depth=recipe.max_depth)


def sigmoid_disparity(
    logits: Float[Tensor, "batch 1 h w"], prior: RowPrior | None
) -> Float[Tensor, "batch 1 h w"]:
    """The sigmoid disparity of a head's logits, in float32: 16 bits would show as steps."""
    logits = logits.float()
    if prior is not None:
        logits = logits + prior.logits(logits.shape[2], like=logits)
    return torch.sigmoid(logits)


class Encoder(nn.Module):
    """What a depth network reads its image with: the base of every encoder."""

    channels: Sequence[int]
    """Channels of the features, finest first."""
    decoder_channels: Sequence[int] = DECODER_CHANNELS
    """Output channels of a decoder's rows beside it, finest first."""

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size of images in [0, 1]."""
        raise NotImplementedError

    def start_from(self, source: str) -> None:
        """Take published weights: ``imagenet``, or the path of a file.

        Raises:
            FetchError: The ImageNet weights are not available, or are not the published ones.
            WeightsError: The file does not fit the encoder.
            RecipeError: There are none.
        """
        raise RecipeError(
            f"encoder_weights is {source!r}, but there are no published weights of this encoder",
            expected="encoder_weights none",
            remedy="train from random weights with --set encoder_weights=none",
        )


class ReflectedConvolution(nn.Module):
    """A 3x3 convolution over a border that is reflected."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Float[Tensor, "batch _ h w"]) -> Float[Tensor, "batch _ h w"]:
        return self.conv(x)  # type: ignore[no-any-return]


class ConvolutionBlock(nn.Module):
    """A reflected 3x3 convolution and an ELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ReflectedConvolution(inputs, outputs)

    def forward(self, x: Float[Tensor, "batch _ h w"]) -> Float[Tensor, "batch _ h w"]:
        return F.elu(self.conv(x), inplace=True)


class DepthDecoder(nn.ModuleList):
    """Encoder features to sigmoid disparities.

    From the coarsest row to the finest: a block, nearest upsampling by two, the encoder's feature
    of that size beside it, a second block. The list holds the ten blocks in this order, then the
    four disparity heads, finest first: the order of the published checkpoints.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        *,
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
        prior: RowPrior | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        inputs = encoder_channels[-1]
        for row in reversed(range(len(decoder_channels))):
            channels = decoder_channels[row]
            skipped = encoder_channels[row - 1] if row else 0
            self.append(ConvolutionBlock(inputs, channels))
            self.append(ConvolutionBlock(channels + skipped, channels))
            inputs = channels
        self.extend(ReflectedConvolution(decoder_channels[s], 1) for s in range(SCALES))

    def forward(
        self, features: Sequence[Float[Tensor, "batch _ _ _"]]
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Sigmoid disparities at four scales, finest (the image's size) first."""
        rows = len(DECODER_CHANNELS)
        x = features[-1]  # (B, C, H / 32, W / 32)
        disparities: list[Tensor] = []
        for row in reversed(range(rows)):
            before, after = self[2 * (rows - 1 - row)], self[2 * (rows - 1 - row) + 1]
            # (B, C, H / 2^row, W / 2^row) from here on.
            x = F.interpolate(before(x), scale_factor=2, mode="nearest")
            x = after(torch.cat([x, features[row - 1]], 1) if row else x)
            if row < SCALES:
                disparities.insert(0, sigmoid_disparity(self[2 * rows + row](x), self.prior))
        return disparities


BuildEncoder = Callable[[Recipe], Encoder]
"""From a recipe to its encoder with random weights."""
BuildDecoder = Callable[[Encoder, Recipe], nn.Module]
"""From an encoder and the recipe to the decoder of its features, with random weights."""
Build = TypeVar("Build")


class DepthNetwork(nn.Module):
    """An encoder and a decoder, images to sigmoid disparities; what remains after training."""

    def __init__(self, encoder: Encoder, decoder: nn.Module) -> None:
        """Join the two parts.

        Args:
            encoder: Images in [0, 1] to features, finest first.
            decoder: These features to sigmoid disparities, finest first.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Sigmoid disparities of images in [0, 1], finest first."""
        return self.decoder(self.encoder(images))  # type: ignore[no-any-return]


def monodepth2(encoder: Encoder, recipe: Recipe) -> DepthDecoder:
    """Monodepth2's decoder with random weights."""
    prior = recipe_prior(recipe)
    return DepthDecoder(encoder.channels, decoder_channels=encoder.decoder_channels, prior=prior)


DECODERS = {"monodepth2": monodepth2}
"""By the name that a recipe gives as ``decoder``."""


def encoders() -> dict[str, BuildEncoder]:
    """Every encoder by the name that recipes give it; ``timm:`` stands for all of timm's."""
    return _tables("ENCODERS")


def decoders() -> dict[str, BuildDecoder]:
    """Every decoder by the name that recipes give it."""
    return _tables("DECODERS")


@cache
def _tables(name: str) -> dict[str, Any]:
    """The tables of one name in all files of the folder, as one."""
    found: dict[str, Any] = {}
    folder = import_module(__package__)
    for file in pkgutil.iter_modules(folder.__path__):
        module = import_module(f"{folder.__name__}.{file.name}")
        found |= getattr(module, name, {})
    return found


def require_networks(recipe: Recipe) -> tuple[BuildEncoder, BuildDecoder]:
    """The functions that build the recipe's encoder and decoder.

    Raises:
        RecipeError: No file defines one of them.
    """
    return _known(encoders(), "encoder", recipe), _known(decoders(), "decoder", recipe)


def _known(table: Mapping[str, Build], key: str, recipe: Recipe) -> Build:
    name = str(getattr(recipe, key))
    family, colon, _ = name.partition(":")
    if family + colon not in table:
        shown = (f"{entry}NAME" if entry.endswith(":") else entry for entry in sorted(table))
        raise RecipeError(
            f"{key} is {name!r}, which is unknown",
            expected=f"one of {', '.join(shown)}",
            where=f"recipe {recipe.name!r}",
            remedy=f"correct {key} in the recipe, or with --set {key}=NAME",
        )
    return table[family + colon]


def depth_network(recipe: Recipe) -> DepthNetwork:
    """The recipe's depth network with random weights.

    Raises:
        RecipeError: A part of it is unknown, or encoder and decoder do not go together.
    """
    build_encoder, build_decoder = require_networks(recipe)
    encoder = build_encoder(recipe)
    return DepthNetwork(encoder, build_decoder(encoder, recipe))
