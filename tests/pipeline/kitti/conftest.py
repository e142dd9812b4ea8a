"""A made-up KITTI raw root: two dates, gaps in numbering, both cameras, png and jpg."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

DRIVE_A = "2011_09_26/2011_09_26_drive_0001_sync"
DRIVE_B = "2011_09_28/2011_09_28_drive_0001_sync"
DRIVE_C = "2011_09_28/2011_09_28_drive_0037_sync"


def write_image(path: Path, *, size: tuple[int, int] = (12, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = np.random.default_rng(len(str(path.name)) + size[0])
    assert cv2.imwrite(str(path), seed.integers(0, 255, (*size, 3), np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Drive A: left 0, 1, 5 and right 1 as png; drive B: left 0 as jpg of another size."""
    root = tmp_path / "kitti"
    for index in (0, 1, 5):
        write_image(root / DRIVE_A / "image_02" / "data" / f"{index:010d}.png")
    write_image(root / DRIVE_A / "image_03" / "data" / "0000000001.png")
    write_image(root / DRIVE_B / "image_02" / "data" / "0000000000.jpg", size=(10, 30))
    write_image(root / DRIVE_C / "image_03" / "data" / "0000000003.jpg", size=(10, 30))
    return root


CAM_TO_CAM = """calib_time: 09-Jan-2012 13:57:47
R_rect_00: 1 0 0 0 1 0 0 0 1
S_rect_02: 40 12
P_rect_02: 20 0 20 2 0 20 6 0 0 0 1 0
S_rect_03: 40 12
P_rect_03: 20 0 20 -10 0 20 6 0 0 0 1 0
"""
VELO_TO_CAM = """R: 0 -1 0 0 0 -1 1 0 0
T: 0 0 -0.25
"""
IMU_TO_VELO = """R: 1 0 0 0 1 0 0 0 1
T: -1 0 0
"""


@pytest.fixture
def calibrated(root: Path) -> Path:
    """The root with round-number calibration: velodyne x is camera z + 0.25, imu 1 m behind."""
    folder = root / "2011_09_26"
    (folder / "calib_cam_to_cam.txt").write_text(CAM_TO_CAM)
    (folder / "calib_velo_to_cam.txt").write_text(VELO_TO_CAM)
    (folder / "calib_imu_to_velo.txt").write_text(IMU_TO_VELO)
    return root


@pytest.fixture
def write_oxts(root: Path) -> Callable[..., Path]:
    """Writes one oxts record of drive A from its pose fields."""

    def write(index: int, *pose: float) -> Path:
        path = root / DRIVE_A / "oxts" / "data" / f"{index:010d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(map(repr, (*pose, *[0.0] * (30 - len(pose))))))
        return path

    return write
