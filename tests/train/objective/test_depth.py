import pytest
import torch

from xdistill.train.objective.depth import scaled_disparity


def test_range_by_hand() -> None:
    disparity, depth = scaled_disparity(torch.tensor([0.0, 1.0, 0.5]))
    assert disparity.tolist() == pytest.approx([0.01, 10.0, 5.005])
    assert depth.tolist() == pytest.approx([100.0, 0.1, 1 / 5.005])


def test_other_range() -> None:
    disparity, depth = scaled_disparity(torch.tensor([0.25]), min_depth=1.0, max_depth=4.0)
    assert disparity.item() == pytest.approx(0.25 + 0.75 * 0.25)
    assert depth.item() == pytest.approx(1 / 0.4375)
