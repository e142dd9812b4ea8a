"""Levels convolved apart: the same sums as over the joined levels, and where a head allows it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import FCN
from torch import Tensor, nn

from xdistill.teachers.engines.fusion import fuse
from xdistill.teachers.engines.levels import LevelConvolution, keep_apart
from xdistill.teachers.engines.network import quiet
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg
from xdistill.teachers.mmseg.network import SingleScale

pytestmark = pytest.mark.slow

SIDES = st.integers(1, 17)


def joined(convolution: nn.Conv2d, levels: list[Tensor], *, align_corners: bool) -> Tensor:
    """Resize, join, convolve: what mmsegmentation's heads do."""
    size = levels[0].shape[2:]
    resized = [
        F.interpolate(level, size=size, mode="bilinear", align_corners=align_corners)
        for level in levels
    ]
    result: Tensor = convolution(torch.cat(resized, dim=1))
    return result


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=4),
    side=st.sampled_from([1, 3, 5]),
    bias=st.booleans(),
    align_corners=st.booleans(),
)
def test_the_same_as_over_the_joined_levels(
    sizes: list[tuple[int, int]], side: int, bias: bool, align_corners: bool
) -> None:
    torch.manual_seed(0)
    channels = [3 + 20 * index for index in range(len(sizes))]
    convolution = nn.Conv2d(sum(channels), 4, side, padding=side // 2, bias=bias).double()
    levels = [
        torch.randn(2, c, *size, dtype=torch.float64)
        for c, size in zip(channels, sizes, strict=True)
    ]
    apart = LevelConvolution(convolution, channels, align_corners=align_corners)
    with torch.no_grad():
        expected = joined(convolution, levels, align_corners=align_corners)
        torch.testing.assert_close(apart(levels), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [1, 3])
def test_coarse_levels_are_mixed_before_they_are_resized(side: int) -> None:
    convolution = nn.Conv2d(720, 512, side, padding=side // 2)
    apart = LevelConvolution(convolution, [48, 96, 192, 384], align_corners=False)
    shapes = [(48, 48, 160), (96, 24, 80), (192, 12, 40), (384, 6, 20)]
    levels = [torch.zeros(1, *shape) for shape in shapes]
    worth = [apart._is_worth(level, 48, 160) for level in levels]
    # By hand, 3x3, third level in millions of multiplications for each output channel:
    # 13.3 direct; 0.83 + 0.21 + 0.92 apart. Second: 6.6 against 1.7 + 0.8 + 1.8.
    assert worth == [False, side == 1, True, True]


@pytest.mark.parametrize(("config", "heads"), [("street_ocrnet.py", 2), (FCN, 1)])
def test_mmsegmentations_heads_keep_their_logits(config: str, heads: int) -> None:
    pytest.importorskip("mmseg")
    torch.manual_seed(0)
    network: Any = SingleScale(mmseg.build(mmseg_config.load_config(config)))
    inputs = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), quiet():
        fused = fuse(network, torch.randn(1, 3, 64, 64))
        expected, found = network(inputs), fused(inputs)
    assert sum(isinstance(part, LevelConvolution) for part in fused.modules()) == heads
    assert not any(isinstance(part, LevelConvolution) for part in network.modules())
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


class FCNHead(nn.Module):
    """A head of mmsegmentation's form."""

    input_transform, in_index, align_corners = "resize_concat", (0, 1), False

    def __init__(self, *, concat_input: bool = False, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.num_convs, self.concat_input = 1, concat_input
        self.convs = nn.Sequential(nn.Sequential())
        self.convs[0].conv = nn.Conv2d(4, 2, 3, stride=stride, padding=1, groups=groups)

    def _transform_inputs(self, inputs: list[Tensor]) -> Tensor:
        chosen = [inputs[index] for index in self.in_index]
        resized = [F.interpolate(x, chosen[0].shape[2:], mode="bilinear") for x in chosen]
        return torch.cat(resized, dim=1)

    def forward(self, image: Tensor) -> Tensor:
        levels = [image[:, :2], image[:, :2, ::4, ::4]]
        convolve: Any = self.convs[0].conv
        result: Tensor = convolve(self._transform_inputs(levels))
        return result


@pytest.mark.parametrize("other", [{"concat_input": True}, {"stride": 2}, {"groups": 2}])
def test_heads_that_read_the_joined_levels_otherwise_are_left(other: dict[str, Any]) -> None:
    def apart(head: FCNHead) -> bool:
        before = head(image)
        keep_apart(head, image)
        torch.testing.assert_close(head(image), before)
        return isinstance(head.convs[0].conv, LevelConvolution)

    image = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        assert apart(FCNHead())
        assert not apart(FCNHead(**other))
