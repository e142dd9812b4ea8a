"""The Eigen protocol and its metrics: by hand, as the golden arrays, and where nothing counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.velodyne import depth_map, read_scan, scan_path
from xdistill.train.evaluation.protocols import (
    EIGEN,
    METRICS,
    EvaluationError,
    depth_metrics,
    score_depth,
)

EVERYWHERE = replace(EIGEN, crop=(0.0, 1.0, 0.0, 1.0))
DATE = "2011_09_26"
depths = arrays(np.float64, 7, elements=st.floats(0.1, 80))


@pytest.mark.parametrize(
    ("size", "first", "last"),
    [
        ((375, 1242), (153, 44), (370, 1196)),
        ((376, 1241), (153, 44), (371, 1195)),
        ((370, 1224), (151, 43), (365, 1179)),
    ],
)
def test_the_garg_crop_of_kittis_sizes(
    size: tuple[int, int], first: tuple[int, int], last: tuple[int, int]
) -> None:
    inside = np.argwhere(EIGEN.valid_pixels(np.full(size, 10, np.float32)))
    assert tuple(inside.min(axis=0)) == first and tuple(inside.max(axis=0)) == last
    assert len(inside) == (last[0] - first[0] + 1) * (last[1] - first[1] + 1)


def test_depth_beyond_the_range_does_not_count() -> None:
    truth = np.array([[0, 0.001, 0.0011, 79.9, 80, 81]], np.float32)
    assert EVERYWHERE.valid_pixels(truth).tolist() == [[False, False, True, True, False, False]]


def test_median_scaling_then_clamping_by_hand() -> None:
    truth = np.array([[2, 4, 70, 0]], np.float32)
    # Depths 1, 2, 50: the ratio is 4 / 2, so that 2, 4, 100 are scored, the last as 80.
    metrics, ratio = EVERYWHERE.score(np.array([[1, 0.5, 0.02, 9]], np.float32), truth)
    assert ratio == 2
    assert metrics[0] == pytest.approx(10 / 70 / 3)
    assert metrics[2] == pytest.approx(10 / np.sqrt(3))


def test_disparity_is_resized_before_it_becomes_depth() -> None:
    truth = np.full((1, 4), 5, np.float32)
    _, ratio = EVERYWHERE.score(np.array([[1.0, 3.0]]), truth)
    # Bilinear between pixel centres: disparities 1, 1.5, 2.5, 3.
    assert ratio == pytest.approx(5 / np.median([1, 1 / 1.5, 1 / 2.5, 1 / 3]))


def test_the_scale_of_a_prediction_changes_only_the_ratio(rng: np.random.Generator) -> None:
    truth = rng.uniform(1, 79, (6, 8)).astype(np.float32)
    disparity = rng.uniform(0.01, 1, (3, 4)).astype(np.float32)
    metrics, ratio = EVERYWHERE.score(disparity, truth)
    scaled, scaled_ratio = EVERYWHERE.score(disparity * 4, truth)
    assert np.allclose(metrics, scaled) and scaled_ratio == pytest.approx(4 * ratio)


def test_truth_without_a_point_that_counts_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no LiDAR point counts"):
        EIGEN.score(np.ones((2, 2), np.float32), np.zeros((375, 1242), np.float32))


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


def test_a_depth_map_scores_as_its_disparity(rng: np.random.Generator) -> None:
    truth = rng.uniform(1, 79, (40, 60)).astype(np.float32)
    truth[rng.random(truth.shape) < 0.8] = 0
    disparity = rng.uniform(0.01, 1, (20, 30)).astype(np.float32)
    metrics, ratio = EIGEN.score(disparity, truth)
    scores = score_depth(1 / disparity, truth)
    assert list(scores) == [*METRICS, "scale_ratio"]
    assert list(scores.values()) == pytest.approx([*metrics, ratio], rel=1e-5)


def test_depth_of_half_the_scale_is_perfect_with_ratio_two() -> None:
    truth = np.full((10, 20), 8)
    scores = score_depth((truth / 2).tolist(), truth)
    assert scores == dict(zip(METRICS, (0, 0, 0, 0, 1, 1, 1), strict=True)) | {"scale_ratio": 2}


@pytest.mark.parametrize(
    ("depth", "protocol", "said"),
    [
        (np.ones((1, 10, 20)), "eigen", r"the prediction is float64 of shape \(1, 10, 20\)"),
        (np.ones((10, 20), np.bool_), "eigen", "the prediction is bool of shape"),
        (np.zeros((10, 20)), "eigen", "values that are not finite and positive"),
        (np.full((10, 20), np.nan), "eigen", "values that are not finite and positive"),
        (np.full((10, 20), 1e-40), "eigen", "give scores that are not finite"),
        (np.full((10, 20), 1e-60), "eigen", "values that are not finite and positive"),
        (np.full((10, 20), 1e300), "eigen", "values that are not finite and positive"),
        (np.ones((10, 20)), "Eigen", "protocol 'Eigen' does not exist\n  expected: one of eigen"),
    ],
)
def test_what_is_no_depth_map_is_refused(depth: np.ndarray, protocol: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        score_depth(depth, np.ones((10, 20)), protocol=protocol)


@pytest.mark.parametrize("drive", ["0002", "0013"])
def test_real_frames_equal_the_golden_metrics(shared: Path, drive: str) -> None:
    with np.load(shared / f"reference/monodepth2/eigen_metrics_drive_{drive}.npz") as archive:
        golden = dict(archive)
    root = shared / "kitti"
    calibration = read_calibration(root, DATE)
    results = []
    for index, disparity in zip(golden["frames"], golden["predicted_disp"], strict=True):
        frame = Frame(f"{DATE}/{DATE}_drive_{drive}_sync", int(index), "l")
        truth = depth_map(
            read_scan(scan_path(root, frame)),
            calibration,
            frame.camera,
            size=calibration.size("l"),
            depth=EIGEN.depth,
        )
        results.append(EIGEN.score(disparity, truth))
    metrics = np.array([metrics for metrics, _ in results])
    ratios = np.array([ratio for _, ratio in results])
    assert tuple(golden["columns"]) == METRICS
    assert np.allclose(metrics, golden["per_image"], rtol=1e-6, atol=0)
    assert np.allclose(metrics.mean(axis=0), golden["mean"], rtol=1e-6, atol=0)
    assert np.allclose(ratios, golden["ratio"], rtol=1e-6, atol=0)
