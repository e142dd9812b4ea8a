"""Evaluation over a split: means, ratios, and predictions that are refused."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.evaluation import scores as module
from xdistill.train.evaluation.ground_truth import prepare_ground_truth
from xdistill.train.evaluation.protocols import EIGEN, METRICS, EvaluationError
from xdistill.train.evaluation.scores import Evaluation, evaluate

DRIVE = "2011_09_26/2011_09_26_drive_{}_sync"
FRAMES = tuple(Frame(DRIVE.format("0001"), index, "l") for index in range(3))

Truth = Callable[..., None]


@pytest.fixture
def truth(monkeypatch: pytest.MonkeyPatch) -> Truth:
    """Sets the depth that every frame has."""

    def put(*depths: float) -> None:
        images = {
            frame: np.full((20, 20), depth, np.float32)
            for frame, depth in zip(FRAMES, depths, strict=True)
        }
        monkeypatch.setattr(module, "read_depth", lambda path, frame: images[frame])

    return put


def flat(*values: float) -> list[np.ndarray]:
    return [np.full((5, 5), value, np.float32) for value in values]


def test_means_and_ratios_by_hand(truth: Truth) -> None:
    truth(10, 20, 40)
    scores = evaluate(flat(1, 1, 1), FRAMES, Path(), protocol=EIGEN)
    assert scores.means == dict(zip(METRICS, (0, 0, 0, 0, 1, 1, 1), strict=True))
    assert scores.ratios.tolist() == [10, 20, 40] and scores.ratio_median == 20
    assert scores.ratio_spread == pytest.approx(np.std([0.5, 1, 2]))


def test_images_weigh_the_same_whatever_their_points() -> None:
    per_image = np.array([[0.0] * 7, [0.5] * 7, [1.0] * 7])
    scores = Evaluation(frames=FRAMES, per_image=per_image, ratios=np.array([1.0, 2.0, 3.0]))
    assert set(scores.means.values()) == {0.5}
    plain = scores.as_json()
    assert plain["per_image"][1] == {
        "frame": f"{DRIVE.format('0001')} 1 l",
        **dict.fromkeys(METRICS, 0.5),
        "ratio": 2.0,
    }
    assert plain["scale_ratio"]["median"] == 2.0 and set(plain["metrics"]) == set(METRICS)


def test_a_frame_without_depth_that_counts_is_named(truth: Truth) -> None:
    truth(10, 90, 10)
    with pytest.raises(EvaluationError, match=f"frame {FRAMES[1]}: no LiDAR point counts"):
        evaluate(flat(1, 1, 1), FRAMES, Path(), protocol=EIGEN)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_network_that_diverged_is_named_with_its_frame(truth: Truth, value: float) -> None:
    truth(10, 10, 10)
    with pytest.raises(EvaluationError, match=f"25 of 25 disparities of frame {FRAMES[2]} are not"):
        evaluate(flat(1, 1, value), FRAMES, Path(), protocol=EIGEN)


# Positive and finite, but 1 / disparity or the scale ratio is not in float32.
@pytest.mark.parametrize("value", [1e-45, 1e-40, 4e37, 3.4e38])
def test_scores_that_are_not_finite_are_named_with_their_frame(truth: Truth, value: float) -> None:
    truth(10, 10, 10)
    said = f"frame {FRAMES[1]}: disparities of {np.float32(value):.3g} to .* are not finite\n"
    with pytest.raises(EvaluationError, match=re.escape(said).replace(r"\.\*", ".*")):
        evaluate(flat(1, value, 1), FRAMES, Path(), protocol=EIGEN)


@pytest.mark.parametrize("factor", [1e-36, 1e-20, 1e20, 1e36])
def test_scores_do_not_depend_on_the_unit(truth: Truth, factor: float) -> None:
    truth(10, 20, 40)
    scene = np.linspace(0.1, 1, 25, dtype=np.float32).reshape(5, 5)
    usual = evaluate([scene] * 3, FRAMES, Path(), protocol=EIGEN)
    scaled = evaluate([scene * np.float32(factor)] * 3, FRAMES, Path(), protocol=EIGEN)
    np.testing.assert_allclose(scaled.per_image, usual.per_image, rtol=1e-5, atol=1e-6)


def test_one_pixel_at_the_horizon_is_as_far_as_the_range_goes(truth: Truth) -> None:
    truth(10, 10, 10)
    scene = np.ones((20, 20), np.float32)
    scene[10, 10] = 1e-40
    metrics = evaluate([scene] * 3, FRAMES, Path(), protocol=EIGEN).per_image[0]
    valid = EIGEN.valid_pixels(np.full((20, 20), 10, np.float32)).sum()
    assert metrics[0] == pytest.approx((80 - 10) / 10 / valid)


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_predictions_never_passes(truth: Truth, count: int) -> None:
    truth(10, 10, 10)
    with pytest.raises(ValueError, match="zip"):
        evaluate(flat(*[1] * count), FRAMES, Path(), protocol=EIGEN)


@pytest.mark.parametrize("drive", ["0002", "0013"])
def test_real_frames_equal_the_golden_means(shared: Path, drive: str) -> None:
    with np.load(shared / f"reference/monodepth2/eigen_metrics_drive_{drive}.npz") as archive:
        golden = dict(archive)
    frames = [Frame(DRIVE.format(drive), int(index), "l") for index in golden["frames"]]
    path = prepare_ground_truth(shared / "kitti", frames, depth=EIGEN.depth)
    scores = evaluate(golden["predicted_disp"], frames, path, protocol=EIGEN)
    means = [scores.means[name] for name in golden["columns"]]
    assert np.allclose(means, golden["mean"], rtol=1e-6, atol=0)
    assert np.allclose(scores.per_image, golden["per_image"], rtol=1e-6, atol=0)
    assert np.allclose(scores.ratios, golden["ratio"], rtol=1e-6, atol=0)
    assert scores.ratio_median == pytest.approx(golden["ratio_median"], rel=1e-6)
    assert scores.ratio_spread == pytest.approx(golden["ratio_std"], rel=1e-5)
