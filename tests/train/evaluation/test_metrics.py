"""The seven metrics: by hand, in the perfect case, and under what must not change them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xdistill.train.evaluation.metrics import METRICS, depth_metrics

depths = arrays(np.float64, 7, elements=st.floats(0.1, 80))


def test_two_points_by_hand() -> None:
    # Errors 1 of 2 m and -4 of 8 m: factors 2 and 1.5.
    values = depth_metrics(np.array([2.0, 8.0]), np.array([1.0, 12.0]))
    expected = {
        "abs_rel": (1 / 2 + 4 / 8) / 2,
        "sq_rel": (1 / 2 + 16 / 8) / 2,
        "rmse": np.sqrt((1 + 16) / 2),
        "rmse_log": np.sqrt((np.log(2) ** 2 + np.log(1.5) ** 2) / 2),
        "d1": 0.0,
        "d2": 0.5,
        "d3": 0.5,
    }
    assert dict(zip(METRICS, values.tolist(), strict=True)) == pytest.approx(expected)


def test_the_borders_of_the_accuracies_are_outside() -> None:
    truth = np.array([1.0, 1.0, 1.0, 1.0])
    values = depth_metrics(truth, np.array([1.25, 1.25**2, 1.25**3, 1 / 1.24]))
    assert values[4:].tolist() == [0.25, 0.5, 0.75]


@given(depths)
def test_a_perfect_prediction(truth: np.ndarray) -> None:
    assert depth_metrics(truth, truth).tolist() == [0, 0, 0, 0, 1, 1, 1]


@given(depths, depths, st.floats(0.5, 2))
def test_the_unit_changes_only_the_metrics_in_metres(
    truth: np.ndarray, predicted: np.ndarray, unit: float
) -> None:
    # Factors right at a border may fall to either side, so the accuracies are left out.
    scaled = depth_metrics(truth * unit, predicted * unit)[:4]
    expected = depth_metrics(truth, predicted)[:4] * (1, unit, unit, 1)
    assert np.allclose(scaled, expected, atol=1e-12)


@given(depths, depths, st.permutations(range(7)))
def test_the_order_of_the_points_changes_nothing(
    truth: np.ndarray, predicted: np.ndarray, order: list[int]
) -> None:
    shuffled = depth_metrics(truth[order], predicted[order])
    assert np.allclose(shuffled, depth_metrics(truth, predicted))
