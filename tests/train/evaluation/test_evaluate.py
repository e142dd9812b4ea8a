"""Evaluation over a split: means, ratios, and predictions that are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.evaluation import evaluate as module
from xdistill.train.evaluation.evaluate import Evaluation, evaluate, read_predictions
from xdistill.train.evaluation.ground_truth import prepare_ground_truth
from xdistill.train.evaluation.metrics import METRICS
from xdistill.train.evaluation.protocols import EIGEN, EvaluationError

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


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_predictions_never_passes(truth: Truth, count: int) -> None:
    truth(10, 10, 10)
    with pytest.raises(ValueError, match="zip"):
        evaluate(flat(*[1] * count), FRAMES, Path(), protocol=EIGEN)


def saved(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def test_predictions_are_read_in_split_order(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.uniform(0.01, 1, (3, 4, 6))
    for dtype in (np.float16, np.float32, np.float64):
        path = saved(tmp_path / "d.npy", values.astype(dtype))
        assert np.array_equal(read_predictions(path, FRAMES), values.astype(dtype))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((2, 4, 6)), "predictions of 2 images\n.*expected: 3, one for each"),
        (np.ones((4, 4, 6)), "predictions of 4 images"),
        (np.ones((4, 6)), r"float64 of shape \(4, 6\)"),
        (np.ones((3, 1, 4, 6)), r"float64 of shape \(3, 1, 4, 6\)"),
        (np.ones((3, 0, 6)), r"shape \(3, 0, 6\)"),
        (np.ones((3, 4, 6), np.int64), "int64 of shape"),
        (np.ones((3, 4, 6), np.complex64), "complex64 of shape"),
        (np.array([None]), "cannot be read"),
    ],
)
def test_another_shape_or_type_is_refused(tmp_path: Path, values: np.ndarray, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        read_predictions(saved(tmp_path / "d.npy", values), FRAMES)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -0.5])
def test_values_that_are_no_disparity_are_refused(tmp_path: Path, value: float) -> None:
    values = np.ones((3, 4, 6))
    values[1, 2, 3] = values[1, 0, 0] = value
    path = saved(tmp_path / "d.npy", values)
    said = f"2 of 24 disparities of frame {FRAMES[1]}"
    with pytest.raises(EvaluationError, match=said) as caught:
        read_predictions(path, FRAMES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"no array", b"\x93NUMPY\x01"])
def test_what_is_no_npy_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "d.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_predictions(path, FRAMES)


def test_a_truncated_npy_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npy", np.ones((3, 40, 60)))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_predictions(path, FRAMES)


def test_an_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", disparity=np.ones((3, 4, 6)))
    with pytest.raises(EvaluationError, match="an archive of several arrays"):
        read_predictions(tmp_path / "d.npz", FRAMES)


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
