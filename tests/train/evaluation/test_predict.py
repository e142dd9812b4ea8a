"""Prediction over a split: order, batches, scale and size."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xdistill.pipeline.kitti.errors import ImageError, MissingFrameError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.train.data.images import read_at_size
from xdistill.train.evaluation.predict import BATCH_SIZE, kept, newest_trained_run, predict
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import RunError

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"
RECIPE = Recipe(name="small", width=128, height=64, min_depth=0.5, max_depth=20.0)
CPU = torch.device("cpu")


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
    maps = list(predict(network, RECIPE, data, frames, device=CPU))
    assert network.batches == [BATCH_SIZE, len(frames) - BATCH_SIZE]
    for frame, disparity in zip(frames, maps, strict=True):
        red = read_at_size(image_path(data, frame), (64, 128))[..., 0]
        # Depth 20 where the network gives 0, depth 0.5 where it gives 1.
        expected = 1 / 20 + (1 / 0.5 - 1 / 20) * (red / 255)
        assert disparity.shape == (64, 128) and disparity.dtype == np.float32
        assert np.allclose(disparity, expected, atol=1e-6)


def test_no_gradient_is_kept(data: Path) -> None:
    for disparity in predict(Learned(), RECIPE, data, [Frame(DRIVE, 0, "l")], device=CPU):
        assert np.isfinite(disparity).all()
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_a_missing_image_is_named(data: Path) -> None:
    with pytest.raises(MissingFrameError, match=f"{DRIVE} 77 l"):
        list(predict(Red(), RECIPE, data, [Frame(DRIVE, 77, "l")], device=CPU))


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / DRIVE / "image_02" / "data" / "0000000000.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.zeros((64, 128, 3), np.uint8))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ImageError, match="0000000000.png is truncated"):
        list(predict(Red(), RECIPE, tmp_path, [Frame(DRIVE, 0, "l")], device=CPU))


def test_the_newest_checkpoint_decides(tmp_path: Path) -> None:
    for seconds, name in enumerate(["b", "c", "a"], start=1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.pt").touch()
        os.utime(tmp_path / name / "checkpoint.pt", (seconds, seconds))
    (tmp_path / "just-started").mkdir()
    assert newest_trained_run(tmp_path) == tmp_path / "a"


def test_without_a_run_it_says_to_train(tmp_path: Path) -> None:
    (tmp_path / "just-started").mkdir()
    with pytest.raises(RunError, match="no trained run\n(.*\n)*.*run xd-train first"):
        newest_trained_run(tmp_path)
    with pytest.raises(RunError, match="no trained run"):
        newest_trained_run(tmp_path / "runs")


def test_what_is_kept_is_what_passes(tmp_path: Path) -> None:
    disparities = [np.full((2, 3), n, np.float32) for n in range(1, 4)]
    path = tmp_path / "disparities.npy"
    passing = kept(iter(disparities), path, count=3)
    np.testing.assert_array_equal(next(passing), disparities[0])
    assert not path.exists()
    assert len(list(passing)) == 2
    np.testing.assert_array_equal(np.load(path), np.stack(disparities))
    assert list(tmp_path.iterdir()) == [path]
