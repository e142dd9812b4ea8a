"""What is told of the camera before a training."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from training_runs import RECIPE

from xdistill.pipeline.kitti.errors import CalibrationError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.data.cameras import camera_notes
from xdistill.train.data.dataset import TripletDataset

DRIVE = "{date}/{date}_drive_0001_sync"
DATES = ("2011_09_26", "2011_09_28", "2011_09_29", "2011_09_30", "2011_10_03")
# Width, height, focal length and principal point of the left camera on KITTI's five dates.
KITTI = (
    (1242, 375, 721.5377, 609.5593, 172.8540),
    (1224, 370, 707.0493, 604.0814, 180.5066),
    (1238, 374, 718.3351, 600.3891, 181.5122),
    (1226, 370, 707.0912, 601.8873, 183.1104),
    (1241, 376, 718.8560, 607.1928, 185.2157),
)
Numbers = tuple[int, int, float, float, float]
Make = Callable[..., TripletDataset]


@pytest.fixture
def dataset(tmp_path: Path) -> Make:
    """Makes a dataset of one frame a date, with images and calibration of a camera."""

    def make(*cameras: Numbers, size: tuple[int, int] | None = None, **keys: object) -> Make:
        frames = []
        for date, (width, height, focal, x, y) in zip(DATES, cameras, strict=False):
            frames.append(Frame(DRIVE.format(date=date), 3, "l"))
            path = tmp_path / frames[-1].sequence / "data" / "0000000003.png"
            path.parent.mkdir(parents=True)
            across, down = size or (width, height)
            cv2.imwrite(str(path), np.zeros((down, across), np.uint8))
            (tmp_path / date / "calib_cam_to_cam.txt").write_text(
                f"S_rect_02: {width} {height}\nP_rect_02: {focal} 0 {x} 0 0 {focal} {y} 0 0 0 1 0\n"
            )
        recipe = replace(RECIPE, **keys)
        return TripletDataset(tmp_path, frames, recipe=recipe, labels=None)

    return make


def test_kitti_itself_needs_no_word(dataset: Make) -> None:
    assert camera_notes(dataset(*KITTI, width=640, height=192)) == []


def test_another_camera_is_told_with_both_matrices_and_the_key(dataset: Make) -> None:
    (text,) = camera_notes(dataset((1242, 375, 397.4, 621.0, 187.5)))
    assert "the calibration of 2011_09_26 says fx, fy, cx, cy = 0.32, 1.06, 0.50, 0.50" in text
    assert "0.58, 1.92, 0.50, 0.50 are used" in text and "--set intrinsics=calibration" in text


def test_with_its_own_matrix_it_needs_no_word(dataset: Make) -> None:
    assert camera_notes(dataset((1242, 375, 397.4, 621, 187.5), intrinsics="calibration")) == []


@pytest.mark.parametrize("key", ["focal", "x", "y"])
@pytest.mark.parametrize(("change", "told"), [(0.04, False), (0.06, True), (-0.06, True)])
def test_a_few_per_cent_are_told(dataset: Make, key: str, change: float, told: bool) -> None:
    # At 640x192, Monodepth2's matrix is 371.2, 368.64, 320, 96 pixels: one focal length is between.
    camera = {"focal": 370.0, "x": 320.0, "y": 96.0}
    camera[key] += change * {"focal": 370, "x": 640, "y": 192}[key]
    assert bool(camera_notes(dataset((640, 192, *camera.values())))) == told


def test_dates_with_one_camera_are_told_together(dataset: Make) -> None:
    own = (640, 480, 500.0, 320.0, 240.0)
    (text,) = camera_notes(dataset(KITTI[0], own, own, own))
    assert text.startswith("the calibration of 2011_09_28, 2011_09_29 and 1 more says")


def test_without_calibration_there_is_no_word(dataset: Make, tmp_path: Path) -> None:
    found = dataset((1242, 375, 397.4, 621.0, 187.5))
    (tmp_path / DATES[0] / "calib_cam_to_cam.txt").unlink()
    assert camera_notes(found) == []


@pytest.mark.parametrize(("width", "height", "told"), [(64, 128, True), (128, 64, False)])
def test_upright_images_of_wide_ones_are_told(
    dataset: Make, width: int, height: int, told: bool
) -> None:
    texts = camera_notes(dataset(KITTI[0], width=width, height=height))
    assert len(texts) == told
    if told:
        assert "1242x375 and are trained on at 64x128" in texts[0]
        assert "--set width=128 --set height=64" in texts[0]


@pytest.mark.parametrize("keys", [{"intrinsics": "calibration"}, {"pose": "oxts"}])
def test_unrectified_images_are_refused_where_the_calibration_is_used(
    dataset: Make, keys: dict[str, object]
) -> None:
    with pytest.raises(CalibrationError, match="1392x512 where .* rectified images of 1242x375"):
        dataset(KITTI[0], size=(1392, 512), **keys).require_recordings()


def test_unrectified_images_are_told_where_it_is_not(dataset: Make) -> None:
    found = dataset(KITTI[0], size=(1392, 512))
    found.require_recordings()
    (text,) = camera_notes(found)
    assert re.search("1392x512 .* 1242x375: not rectified", text)
