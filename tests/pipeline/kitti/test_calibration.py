"""Calibration: parsed values, derived transforms, missing keys and files."""

from pathlib import Path

import numpy as np
import pytest

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.errors import CalibrationError

DATE = "2011_09_26"
FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")


def test_intrinsics_scale_with_the_image(calibrated: Path) -> None:
    calibration = read_calibration(calibrated, DATE)
    assert calibration.sizes == {"l": (12, 40), "r": (12, 40)}
    full = [[20, 0, 20], [0, 20, 6], [0, 0, 1]]
    half_width = [[10, 0, 10], [0, 20, 6], [0, 0, 1]]
    assert np.array_equal(calibration.intrinsics("l", (12, 40)), full)
    assert np.array_equal(calibration.intrinsics("r", (12, 20)), half_width)


def test_the_imu_origin_in_each_camera(calibrated: Path) -> None:
    # imu origin is velodyne (-1, 0, 0), so camera 0 (0, 0, -1.25); P_rect shifts x by 2/20, -10/20.
    calibration = read_calibration(calibrated, DATE)
    assert np.allclose(calibration.imu_to_camera("l")[:3, 3], (0.1, 0, -1.25))
    assert np.allclose(calibration.imu_to_camera("r")[:3, 3], (-0.5, 0, -1.25))


def test_a_velodyne_point_in_pixels(calibrated: Path) -> None:
    # (10.25, 1, 0) is camera (-1, 0, 10): u = 20 * (-1) / 10 + 20 + 2 / 10, v = 6.
    projected = read_calibration(calibrated, DATE).velo_to_pixels("l") @ (10.25, 1, 0, 1)
    assert np.allclose(projected, (18.2 * 10, 6 * 10, 10))


def test_arrays_are_read_only(calibrated: Path) -> None:
    calibration = read_calibration(calibrated, DATE)
    with pytest.raises(ValueError, match="read-only"):
        calibration.projections["l"][0, 0] = 1


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(calibrated: Path, name: str) -> None:
    (calibrated / DATE / name).unlink()
    with pytest.raises(
        CalibrationError, match=f"calibration cannot be read .*\n(.*\n)*.*where: .*{name}"
    ):
        read_calibration(calibrated, DATE)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (FILES[0], "R_rect_00"),
        (FILES[0], "P_rect_02"),
        (FILES[0], "P_rect_03"),
        (FILES[0], "S_rect_02"),
        (FILES[0], "S_rect_03"),
        (FILES[1], "R"),
        (FILES[1], "T"),
        (FILES[2], "R"),
        (FILES[2], "T"),
    ],
)
def test_a_missing_key_is_named_with_its_file(calibrated: Path, name: str, key: str) -> None:
    path = calibrated / DATE / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith(f"{key}:")))
    with pytest.raises(CalibrationError, match=f"no key {key}\n(.*\n)*.*where: .*{name}"):
        read_calibration(calibrated, DATE)


@pytest.mark.parametrize("values", ["0 0", "0 0 x", "0 0 nan", "0 0 0 0", ""])
def test_wrong_values_are_shown(calibrated: Path, values: str) -> None:
    path = calibrated / DATE / "calib_velo_to_cam.txt"
    path.write_text(f"R: 0 -1 0 0 0 -1 1 0 0\nT: {values}\n")
    with pytest.raises(CalibrationError, match=f"key T is '{values}'\n.*expected: 3 numbers"):
        read_calibration(calibrated, DATE)


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("P_rect_02", "0 0 20 2 0 20 6 0 0 0 1 0", "focal lengths of more than 0 pixels"),
        ("P_rect_03", "20 0 20 2 0 -20 6 0 0 0 1 0", "focal lengths of more than 0 pixels"),
        ("S_rect_02", "40 0", "width and height"),
    ],
)
def test_a_camera_without_an_image_is_refused(
    calibrated: Path, key: str, values: str, expected: str
) -> None:
    path = calibrated / DATE / FILES[0]
    lines = [line for line in path.read_text().splitlines() if not line.startswith(key)]
    path.write_text("\n".join([*lines, f"{key}: {values}"]))
    with pytest.raises(CalibrationError, match=f"key {key} is '{values}'\n.*expected: {expected}"):
        read_calibration(calibrated, DATE)


def test_the_cache_follows_the_folder(calibrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(calibrated.parent)
    read_calibration(Path("kitti"), DATE)
    monkeypatch.chdir("/")
    with pytest.raises(CalibrationError):
        read_calibration(Path("kitti"), DATE)


def test_real_calibration(shared: Path) -> None:
    calibration = read_calibration(shared / "kitti", DATE)
    assert calibration.sizes["l"] == (375, 1242)
    assert calibration.intrinsics("l", (375, 1242))[0, 0] == 721.5377
    # The stereo baseline of KITTI is 0.54 m; the right camera lies at greater x.
    left, right = (calibration.imu_to_camera(camera)[0, 3] for camera in ("l", "r"))
    assert 0.53 < left - right < 0.54
