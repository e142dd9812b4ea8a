"""The decoder of HR-Depth (Lyu et al., AAAI 2021): a nested grid of nodes.

Node X_ij stands in row i (0 finest, 4 coarsest) and column j. Column 0 holds the encoder's
features. Each further node joins the node to its lower left, X_(i+1)(j-1), halved in channels and
doubled in size, with all nodes of its own row to its left.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.train.networks.depth import (
    SCALES,
    ConvolutionBlock,
    Encoder,
    ReflectedConvolution,
    RowPrior,
    recipe_prior,
    sigmoid_disparity,
)
from xdistill.train.recipe.recipe import Recipe, RecipeError

ROWS = 5
REDUCTION = 16
"""The squeeze of squeeze-and-excitation."""
NODES = tuple((row, column) for column in range(1, ROWS) for row in range(ROWS - column))
"""All nodes after column 0, in the order in which they are computed."""


class SqueezeAndExcitation(nn.Module):
    """Weigh the channels of joined features by their global means, then mix them (1x1, ReLU)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(inputs, inputs // REDUCTION, bias=False)
        self.excite = nn.Linear(inputs // REDUCTION, inputs, bias=False)
        self.mix = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "batch _ h w"]) -> Float[Tensor, "batch _ h w"]:
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return F.relu(self.mix(x * weights[:, :, None, None]), inplace=True)


def _join(inputs: int, outputs: int, *, column: int) -> nn.Module:
    """A node off the last diagonal: two features are few, more are mixed down (1x1) first."""
    if column == 1:
        return ConvolutionBlock(inputs, outputs)
    mixed = nn.Conv2d(inputs, 2 * outputs, 1, bias=False)
    return nn.Sequential(mixed, ConvolutionBlock(2 * outputs, outputs))


class HRDepthDecoder(nn.Module):
    """Encoder features to sigmoid disparities at four scales, finest first.

    The nodes of the last diagonal (X_31, X_22, X_13, X_04) join by squeeze-and-excitation.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        *,
        decoder_channels: Sequence[int],
        prior: RowPrior | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        channels = {(row, 0): count for row, count in enumerate(encoder_channels)}
        self.halve, self.join = nn.ModuleDict(), nn.ModuleDict()
        for row, column in NODES:
            high = channels[row + 1, column - 1]
            self.halve[f"{row + 1}{column - 1}"] = ConvolutionBlock(high, high // 2)
            inputs = high // 2 + sum(channels[row, left] for left in range(column))
            last = row + column == ROWS - 1
            channels[row, column] = high // 2 if last else decoder_channels[row + 1]
            self.join[f"{row}{column}"] = (
                SqueezeAndExcitation(inputs, high // 2)
                if last
                else _join(inputs, channels[row, column], column=column)
            )
        finest = channels[0, 4]
        self.halve["04"] = ConvolutionBlock(finest, finest // 2)
        self.full = ConvolutionBlock(finest // 2, decoder_channels[0])
        read = (decoder_channels[0], finest, channels[1, 3], channels[2, 2])
        self.heads = nn.ModuleList(ReflectedConvolution(count, 1) for count in read)

    def forward(
        self, features: Sequence[Float[Tensor, "batch _ _ _"]]
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Sigmoid disparities at four scales, finest (the image's size) first."""
        nodes = {(row, 0): feature for row, feature in enumerate(features)}
        for row, column in NODES:
            high = self._doubled(nodes[row + 1, column - 1], f"{row + 1}{column - 1}")
            left = [nodes[row, before] for before in range(column)]
            nodes[row, column] = self.join[f"{row}{column}"](torch.cat([high, *left], 1))
        full = self.full(self._doubled(nodes[0, 4], "04"))
        read = (full, nodes[0, 4], nodes[1, 3], nodes[2, 2])
        return [sigmoid_disparity(self.heads[s](read[s]), self.prior) for s in range(SCALES)]

    def _doubled(self, x: Float[Tensor, "batch _ _ _"], node: str) -> Float[Tensor, "batch _ _ _"]:
        """A node with half its channels, at twice its size."""
        return F.interpolate(self.halve[node](x), scale_factor=2, mode="nearest")


def _of_encoder(encoder: Encoder, recipe: Recipe) -> HRDepthDecoder:
    if min(encoder.channels) < REDUCTION:
        raise RecipeError(
            f"decoder hr-depth cannot read encoder {recipe.encoder}, whose features have "
            f"{', '.join(map(str, encoder.channels))} channels",
            expected=f"features of at least {REDUCTION} channels at every scale",
            where=f"recipe {recipe.name!r}",
            remedy="give another encoder, or --set decoder=monodepth2",
        )
    return HRDepthDecoder(
        encoder.channels,
        decoder_channels=encoder.decoder_channels,
        prior=recipe_prior(recipe),
    )


DECODERS = {"hr-depth": _of_encoder}
"""By the name that a recipe gives as ``decoder``."""
_PUBLISHED = (
    *("", "halve.10", "halve.20", "halve.30", "halve.40", "", "halve.11", "halve.21", "halve.31"),
    *("", "halve.12", "halve.22", "", "halve.13", "halve.04", "full"),
    *("join.31", "join.22", "join.13", "join.04", "join.01", "join.11", "join.21"),
    *("join.02.0", "join.02.1", "join.12.0", "join.12.1", "join.03.0", "join.03.1"),
    *(f"heads.{scale}" for scale in range(SCALES)),
)
"""Our name of each entry of ``decoder`` in the published depth.pth; four take no part."""
_PARTS = {"fc.0.": "squeeze.", "fc.2.": "excite.", "conv_se.": "mix."}


def from_published(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a published depth.pth under our names.

    It holds every tensor twice, as ``convs.NODE...`` and as ``decoder.N...``; the latter count.
    """
    found = {}
    for key, tensor in weights.items():
        group, _, rest = key.partition(".")
        number, _, rest = rest.partition(".")
        if group != "decoder" or not number.isdecimal() or int(number) >= len(_PUBLISHED):
            continue
        name = _PUBLISHED[int(number)]
        for theirs, ours in _PARTS.items():
            rest = rest.replace(theirs, ours)
        if name.endswith(".0") and name.startswith("join"):
            rest = rest.removeprefix("conv.")
        if name:
            found[f"{name}.{rest}"] = tensor
    return found
