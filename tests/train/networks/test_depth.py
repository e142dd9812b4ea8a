import pytest
import torch

from xdistill.train.networks.depth import RowPrior
from xdistill.train.objective.geometry import scaled_disparity
from xdistill.train.recipe.recipe import ROAD_HEIGHTS

PRIOR = RowPrior(height=1.65, min_depth=1.0, max_depth=100.0)


def depths(prior: RowPrior, rows: int) -> torch.Tensor:
    sigmoid = torch.sigmoid(prior.logits(rows, like=torch.zeros(1, dtype=torch.float64)))
    _, depth = scaled_disparity(sigmoid, min_depth=prior.min_depth, max_depth=prior.max_depth)
    return depth[0, 0, :, 0]


def test_road_depth_is_that_of_a_flat_road() -> None:
    # Row 47.5 of 64: (47.5 + 0.5) / 64 = 0.75, a quarter of the height below the horizon:
    # depth = 1.92 * 1.65 / 0.25.
    depth = depths(PRIOR, 64)
    assert depth[47].item() == pytest.approx(1.92 * 1.65 / ((47.5 / 64) - 0.5), rel=1e-9)


def test_rows_above_the_horizon_are_far_and_alike() -> None:
    depth = depths(PRIOR, 64)
    expected = torch.full((32,), ROAD_HEIGHTS[1] * 1.65, dtype=torch.float64)
    torch.testing.assert_close(depth[:32], expected)


def test_depth_never_grows_downwards() -> None:
    assert (depths(PRIOR, 64).diff() <= 1e-9).all()


def test_scales_of_the_decoder_agree() -> None:
    fine, coarse = depths(PRIOR, 64), depths(PRIOR, 8)
    between = (fine[8 * 6 + 3] + fine[8 * 6 + 4]) / 2
    assert coarse[6].item() == pytest.approx(between.item(), rel=0.01)


def test_a_higher_camera_sees_everything_farther() -> None:
    higher = RowPrior(height=3.3, min_depth=1.0, max_depth=100.0)
    torch.testing.assert_close(depths(higher, 32), 2 * depths(PRIOR, 32))
