"""The disparities of a split: order, batches, scale and size; files that are refused."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xdistill.manifests.errors import OutputError
from xdistill.pipeline.kitti.errors import ImageError, MissingFrameError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import read_at_size
from xdistill.train.evaluation.depth_model import DepthModel
from xdistill.train.evaluation.predictions import (
    BATCH_SIZE,
    newest_trained_run,
    predict_frames,
    read_disparities,
    saved,
)
from xdistill.train.evaluation.protocols import EvaluationError
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import RunError

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"
RECIPE = Recipe(name="small", width=128, height=64, min_depth=0.5, max_depth=20.0)
FRAMES = tuple(Frame(DRIVE, index, "l") for index in range(3))


def model(network: nn.Module) -> DepthModel:
    return DepthModel(network=network, recipe=RECIPE, device=torch.device("cpu"))


class Red(nn.Module):
    """Gives the red channel as the finest disparity, and nonsense at the coarser scale."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.batches.append(len(images))
        return [images[:, :1], images[:, :1, ::2, ::2] * 0]


class Learned(nn.Module):
    """Has weights that ask for gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layer(images).sigmoid()]


def test_each_frame_gives_its_scaled_disparity_in_order(data: Path) -> None:
    frames = [Frame(DRIVE, index, "l") for index in (7, 0, 1, 2, 3, 4, 5, 6, 8, 7)]
    network = Red()
    maps = list(predict_frames(model(network), data, frames))
    assert network.batches == [BATCH_SIZE, len(frames) - BATCH_SIZE]
    for frame, disparity in zip(frames, maps, strict=True):
        red = read_at_size(image_path(data, frame), (64, 128))[..., 0]
        # Depth 20 where the network gives 0, depth 0.5 where it gives 1.
        expected = 1 / 20 + (1 / 0.5 - 1 / 20) * (red / 255)
        assert disparity.shape == (64, 128) and disparity.dtype == np.float32
        assert np.allclose(disparity, expected, atol=1e-6)


def test_no_gradient_is_kept(data: Path) -> None:
    for disparity in predict_frames(model(Learned()), data, [Frame(DRIVE, 0, "l")]):
        assert np.isfinite(disparity).all()
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_a_missing_image_is_named(data: Path) -> None:
    with pytest.raises(MissingFrameError, match=f"{DRIVE} 77 l"):
        list(predict_frames(model(Red()), data, [Frame(DRIVE, 77, "l")]))


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / DRIVE / "image_02" / "data" / "0000000000.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.zeros((64, 128, 3), np.uint8))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ImageError, match="0000000000.png is truncated"):
        list(predict_frames(model(Red()), tmp_path, [Frame(DRIVE, 0, "l")]))


def test_the_newest_checkpoint_decides(tmp_path: Path) -> None:
    for seconds, name in enumerate(["b", "c", "a"], start=1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.pt").touch()
        os.utime(tmp_path / name / "checkpoint.pt", (seconds, seconds))
    (tmp_path / "just-started").mkdir()
    assert newest_trained_run(tmp_path) == tmp_path / "a"


def test_without_a_run_it_says_to_train(tmp_path: Path) -> None:
    (tmp_path / "just-started").mkdir()
    with pytest.raises(RunError, match="there is no trained run\n(.*\n)*.*run xd-train first"):
        newest_trained_run(tmp_path)
    with pytest.raises(RunError, match="there is no trained run"):
        newest_trained_run(tmp_path / "runs")


def test_what_is_kept_is_what_passes(tmp_path: Path) -> None:
    disparities = [np.full((2, 3), n, np.float32) for n in range(1, 4)]
    path = tmp_path / "disparities.npy"
    passing = saved(iter(disparities), path, count=3)
    np.testing.assert_array_equal(next(passing), disparities[0])
    assert not path.exists()
    assert len(list(passing)) == 2
    np.testing.assert_array_equal(np.load(path), np.stack(disparities))
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_ends_in_a_message_and_gives_the_room_back(tmp_path: Path) -> None:
    # A limit on files fails their writing as a full disk does.
    disparities = [np.ones((40, 50), np.float32)] * 3
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError, match="--save .*d.npy cannot be written"):
            list(saved(iter(disparities), tmp_path / "d.npy", count=3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_read_is_no_mistake_of_the_disk(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.ones((4, 5), np.float32)
        raise ImageError("0000000001.png is truncated")

    with pytest.raises(ImageError, match="^0000000001.png is truncated$"):
        list(saved(broken(), tmp_path / "d.npy", count=2))
    assert not list(tmp_path.iterdir())


def stored(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def test_predictions_are_read_in_split_order(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.uniform(0.01, 1, (3, 4, 6))
    for dtype in (np.float16, np.float32, np.float64):
        path = stored(tmp_path / "d.npy", values.astype(dtype))
        assert np.array_equal(read_disparities(path, FRAMES), values.astype(dtype))


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
        read_disparities(stored(tmp_path / "d.npy", values), FRAMES)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -0.5])
def test_values_that_are_no_disparity_are_refused(tmp_path: Path, value: float) -> None:
    values = np.ones((3, 4, 6))
    values[1, 2, 3] = values[1, 0, 0] = value
    path = stored(tmp_path / "d.npy", values)
    said = f"2 of 24 disparities of frame {FRAMES[1]}"
    with pytest.raises(EvaluationError, match=said) as caught:
        read_disparities(path, FRAMES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"no array", b"\x93NUMPY\x01"])
def test_what_is_no_npy_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "d.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_disparities(path, FRAMES)


def test_a_truncated_npy_file_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "d.npy", np.ones((3, 40, 60)))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_disparities(path, FRAMES)


def test_an_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", disparity=np.ones((3, 4, 6)))
    with pytest.raises(EvaluationError, match="is an archive of several arrays"):
        read_disparities(tmp_path / "d.npz", FRAMES)
