"""The files of KITTI's layout, read by our own readers."""

from pathlib import Path

import numpy as np
import pytest

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import find_frames, image_path
from xdistill.pipeline.kitti.images import image_size, read_image
from xdistill.pipeline.kitti.oxts import FIELDS, read_record
from xdistill.pipeline.kitti.velodyne import read_scan, scan_path
from xdistill.pipeline.street.record import motion, raw, rig
from xdistill.pipeline.street.record.drive import make_drive
from xdistill.pipeline.street.record.folder import StreetSettings

OF_CAMERA = {"S": 2, "K": 9, "D": 5, "R": 9, "T": 3, "S_rect": 2, "R_rect": 9, "P_rect": 12}
KITTI_KEYS = {
    "calib_cam_to_cam.txt": {"corner_dist": 1}
    | {
        f"{key}_{camera}": count
        for camera in ("00", "01", "02", "03")
        for key, count in OF_CAMERA.items()
    },
    "calib_imu_to_velo.txt": {"R": 9, "T": 3},
    "calib_velo_to_cam.txt": {"R": 9, "T": 3, "delta_f": 2, "delta_c": 2},
}
"""Keys of the files of 2011_09_26, and how many numbers each has."""


def test_our_own_readers_take_it_for_kitti(street: Path, settings: StreetSettings) -> None:
    frames = find_frames(street, drives=None, cameras=["l"])
    assert len(frames) == settings.drives * settings.frames
    for frame in frames:
        path = image_path(street, frame)
        assert image_size(path) == settings.size
        assert read_image(path).std() > 10
        assert read_record(street, frame.drive, frame.index).shape == (FIELDS,)
        points = read_scan(scan_path(street, frame))
        assert points.dtype == np.float32 and len(points) > 3000
        assert (points[:, 0] > 0).all() and (points[:, :3] ** 2).sum(axis=1).max() < 91**2
        assert points[:, 3].min() >= 0 and points[:, 3].max() < 1


def test_calibration_is_that_of_the_rendered_camera(street: Path, settings: StreetSettings) -> None:
    calibration = read_calibration(street, raw.DATE)
    assert calibration.size("l") == settings.size
    np.testing.assert_allclose(calibration.imu_to_camera("l"), rig.imu_to_camera(), atol=1e-12)
    expected = rig.intrinsics(settings.size) + [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(calibration.intrinsics("l", settings.size), expected, atol=1e-9)
    text = (street / raw.DATE / "calib_cam_to_cam.txt").read_text()
    for key in ("S", "K", "D", "R", "T", "S_rect", "R_rect", "P_rect"):
        assert all(f"\n{key}_{camera}: " in text for camera in ("00", "01", "02", "03"))


def test_calibration_has_the_keys_of_kitti(street: Path) -> None:
    for name, expected in KITTI_KEYS.items():
        lines = (street / raw.DATE / name).read_text().splitlines()
        found = {line.partition(":")[0]: len(line.partition(":")[2].split()) for line in lines}
        assert found.keys() == {*expected, "calib_time"}
        assert {key: found[key] for key in expected} == expected


def test_oxts_fields_are_consistent(street: Path, settings: StreetSettings) -> None:
    drive, name = make_drive(settings.seed, 1, frames=settings.frames), raw.drive_name(1)
    fields = dict(zip(raw.OXTS_FIELDS, read_record(street, name, 1), strict=True))
    speed = np.hypot(fields["vn"], fields["ve"])
    assert fields["vf"] == pytest.approx(speed, rel=1e-2)
    assert motion.SLOWEST_M_S - 1 < fields["vf"] < motion.FASTEST_M_S + 1
    assert np.arctan2(fields["vn"], fields["ve"]) == pytest.approx(fields["yaw"], abs=0.01)
    assert fields["lat"] == pytest.approx(49, abs=0.01)
    assert 8 < fields["az"] < 12 and 8 < fields["au"] < 12
    assert fields["wu"] == pytest.approx(drive.motion.rates[1, 2], abs=0.02)
    body = [fields[f"a{axis}"] for axis in "xyz"]
    level = [fields[f"a{axis}"] for axis in "flu"]
    assert np.linalg.norm(body) == pytest.approx(np.linalg.norm(level))


def test_timestamps_are_a_tenth_of_a_second_apart(street: Path, settings: StreetSettings) -> None:
    for sensor in ("image_02", "oxts", "velodyne_points"):
        lines = (street / raw.drive_name(2) / sensor / "timestamps.txt").read_text().splitlines()
        assert len(lines) == settings.frames
        seconds = [float(line.rsplit(":", 1)[1]) for line in lines]
        np.testing.assert_allclose(np.diff(seconds), 0.1, atol=1e-6)
