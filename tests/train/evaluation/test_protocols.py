"""The Eigen protocol: by hand, exactly as the golden arrays, and where nothing can be scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.velodyne import depth_map, read_scan, scan_path
from xdistill.train.evaluation.metrics import METRICS
from xdistill.train.evaluation.protocols import EIGEN, EvaluationError

EVERYWHERE = replace(EIGEN, crop=(0.0, 1.0, 0.0, 1.0))
DATE = "2011_09_26"


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
            size=calibration.sizes["l"],
            depth=EIGEN.depth,
        )
        results.append(EIGEN.score(disparity, truth))
    metrics = np.array([metrics for metrics, _ in results])
    ratios = np.array([ratio for _, ratio in results])
    assert tuple(golden["columns"]) == METRICS
    assert np.allclose(metrics, golden["per_image"], rtol=1e-6, atol=0)
    assert np.allclose(metrics.mean(axis=0), golden["mean"], rtol=1e-6, atol=0)
    assert np.allclose(ratios, golden["ratio"], rtol=1e-6, atol=0)
