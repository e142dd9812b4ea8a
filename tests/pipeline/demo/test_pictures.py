"""Frames chosen, and predictions aligned with the truth."""

import numpy as np
import pytest

from xdistill.pipeline.demo.pictures import aligned, spread


@pytest.mark.parametrize(
    ("count", "wanted", "expected"), [(8, 4, [1, 3, 5, 7]), (3, 4, [0, 1, 2]), (100, 2, [25, 75])]
)
def test_examples_are_spread(count: int, wanted: int, expected: list[int]) -> None:
    assert spread(count, wanted) == expected


def test_aligned_predictions_have_the_true_median() -> None:
    truth = np.array([[0.0, 10.0], [20.0, 30.0]], np.float32)
    disparity = np.array([[1.0, 1.0], [0.5, 0.25]], np.float32)
    # Depths where there is truth: 1, 2, 4; the median 2 becomes 20.
    np.testing.assert_allclose(aligned(disparity, truth), [[10, 10], [20, 40]])
