"""A head's first convolution over joined levels, done at each level's own resolution.

A head on an HRNet resizes every level to the finest one, joins them and convolves. Resizing is
linear and mixes no channels, so channels may be mixed before it, where there are fewer pixels: the
same sums in another order, for a fraction of the multiplications. Of OCRNet's
3x3 convolution over 720 channels only the 144 of the two finest levels stay at full resolution.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Levels of one list differ in channels and size, so that only the batch is the same for all.
Level = Float[Tensor, "batch _ _ _"]
Joined = Float[Tensor, "batch channels height width"]

WORTH = 2
"""A level is kept apart if that saves this factor of multiplications: they are spread over more
and smaller products, which run slower.
"""


def keep_apart(network: nn.Module, example: Tensor) -> None:
    """Let the heads of a network that join resized levels convolve them apart, in place.

    Args:
        network: In eval mode. Heads are those of mmsegmentation whose ``input_transform`` is
            ``resize_concat`` and that read the joined levels in one convolution only.
        example: An input to run it with, which shows the channels of the levels.
    """
    heads: list[Any] = list(network.modules())
    found = [(head, owner) for head in heads if (owner := _reader(head)) is not None]
    channels: dict[int, list[int]] = {}
    for head, _ in found:
        head._transform_inputs = partial(_watch, head, head._transform_inputs, channels)
    network(example)
    for head, owner in found:
        del head._transform_inputs
        if id(head) in channels:
            align_corners = head.align_corners
            owner.conv = LevelConvolution(
                owner.conv, channels[id(head)], align_corners=align_corners
            )
            head._transform_inputs = partial(_chosen, tuple(head.in_index))


def _reader(head: Any) -> Any:
    """The module whose ``conv`` is the only one to read a head's joined levels, or None."""
    if getattr(head, "input_transform", None) != "resize_concat":
        return None
    # By name, as mmsegmentation may be absent; only these heads are known to read them once.
    name = type(head).__name__
    if name == "OCRHead":
        owner = head.bottleneck
    elif name == "FCNHead" and head.num_convs and not head.concat_input:
        owner = head.convs[0]
    else:
        return None
    conv = owner.conv
    side = conv.kernel_size[0]
    plain = isinstance(conv, nn.Conv2d) and conv.groups == 1 and conv.padding_mode == "zeros"
    same = conv.stride == conv.dilation == (1, 1) and conv.padding == (side // 2, side // 2)
    return owner if plain and same and conv.kernel_size == (side, side) and side % 2 else None


def _watch(head: Any, join: Any, channels: dict[int, list[int]], inputs: Sequence[Level]) -> Joined:
    """Join as before, and record how many channels each level has."""
    channels[id(head)] = [inputs[index].shape[1] for index in head.in_index]
    joined: Joined = join(inputs)
    return joined


def _chosen(indices: Sequence[int], inputs: Sequence[Level]) -> list[Level]:
    """The levels that a head reads, not resized and not joined."""
    return [inputs[index] for index in indices]


class LevelConvolution(nn.Module):
    """A convolution over levels that are resized to the first one's size and joined."""

    def __init__(
        self, convolution: nn.Conv2d, channels: Sequence[int], *, align_corners: bool
    ) -> None:
        """Split a convolution.

        Args:
            convolution: Over the joined levels; square and odd, stride 1, zeros at the border.
            channels: Of each level, in the order in which they are joined.
            align_corners: Convention of the bilinear resize.
        """
        super().__init__()
        self.side = convolution.kernel_size[0]
        self.out_channels = convolution.out_channels
        self.align_corners = align_corners
        self.bias = convolution.bias
        parts = torch.split(convolution.weight.detach(), list(channels), dim=1)
        self.joined = _frozen(parts)
        # Rows, columns and output channels of the kernel as channels of a 1x1 convolution.
        self.apart = _frozen([p.permute(2, 3, 0, 1).reshape(-1, p.shape[1], 1, 1) for p in parts])

    def forward(self, levels: Sequence[Level]) -> Joined:
        """The convolution of the joined levels, at the first level's size."""
        height, width = levels[0].shape[2:]
        together = [
            index for index, level in enumerate(levels) if not self._is_worth(level, height, width)
        ]
        total = F.conv2d(
            self._join([levels[index] for index in together]),
            torch.cat([self.joined[index] for index in together], dim=1),
            self.bias,
            padding=self.side // 2,
        )
        for index, level in enumerate(levels):
            if index not in together:
                total = total + self._resized_after(level, self.apart[index], height, width)
        return total

    def _join(self, levels: Sequence[Level]) -> Joined:
        size = levels[0].shape[2:]
        return torch.cat([levels[0], *(self._resize(level, size) for level in levels[1:])], dim=1)

    def _resize(self, level: Float[Tensor, "batch channels _ _"], size: Sequence[int]) -> Joined:
        return F.interpolate(
            level, size=tuple(size), mode="bilinear", align_corners=self.align_corners
        )

    def _is_worth(self, level: Level, height: int, width: int) -> bool:
        """Whether to mix the channels of a level before resizing it to height and width."""
        channels, low, narrow = level.shape[1:]
        taps = self.side**2
        direct = taps * channels * height * width
        mixing = taps * channels * low * narrow
        rows = taps * height * low * narrow
        columns = self.side * height * width * narrow
        resizing = 4 * height * width if self.side == 1 else rows + columns
        # Under tracing, sizes are tensors, and so is what a comparison gives.
        return bool(WORTH * (mixing + resizing) <= direct)

    def _resized_after(
        self,
        level: Float[Tensor, "batch channels low narrow"],
        weight: Float[Tensor, "outputs channels 1 1"],
        height: int,
        width: int,
    ) -> Float[Tensor, "batch _ {height} {width}"]:
        """One level's share of the output: channels mixed for each tap, then resized and shifted.

        Resize and shift are one matrix over the rows and one over the columns.
        """
        mixed = F.conv2d(level, weight)
        if self.side == 1:
            return self._resize(mixed, (height, width))
        batch, _, low, narrow = mixed.shape
        by_row = mixed.permute(0, 2, 3, 1).reshape(batch, low, narrow, self.side, -1)
        by_row = by_row.permute(0, 3, 1, 2, 4).reshape(batch, self.side * low, -1)
        rows = self._taps(low, height, like=mixed).reshape(height, -1)
        columns = self._taps(narrow, width, like=mixed).transpose(1, 2).reshape(width, -1)
        by_column = (rows @ by_row).reshape(batch, height, -1, self.out_channels)
        return (columns @ by_column).permute(0, 3, 1, 2)

    def _taps(self, length: int, target: int, *, like: Tensor) -> Float[Tensor, "target side n"]:
        """For each position and tap, the weights of the pixels under the tap once resized."""
        ones = torch.eye(length, dtype=like.dtype, device=like.device)[None]
        resize = F.interpolate(ones, size=target, mode="linear", align_corners=self.align_corners)
        padded = F.pad(resize[0].T, (0, 0, self.side // 2, self.side // 2))
        return torch.stack([padded[tap : tap + target] for tap in range(self.side)], dim=1)


def _frozen(tensors: Sequence[Tensor]) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(t.contiguous(), requires_grad=False) for t in tensors)
