"""Calibration: parsed values, derived transforms, missing keys and files."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from material import Material

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.calibration import Calibration, read_calibration
from xdistill.pipeline.kitti.errors import CalibrationError

DATE = "2011_09_26"
FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")
CAMERA_KEYS = ("R_rect_00", "P_rect_02", "P_rect_03", "S_rect_02", "S_rect_03")


def test_intrinsics_scale_with_the_image(calibrated: Path) -> None:
    calibration = read_calibration(calibrated, DATE)
    assert calibration.size("l") == calibration.size("r") == (12, 40)
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
    with pytest.raises(ValueError, match="read-only"):
        read_calibration(calibrated, DATE).projection("l")[0, 0] = 1


TASKS: dict[str, Callable[[Calibration], object]] = {
    "train": lambda calibration: calibration.intrinsics("l", (12, 40)),
    "evaluate": lambda calibration: calibration.velo_to_pixels("l"),
    "evaluate, right": lambda calibration: calibration.velo_to_pixels("r"),
    "poses": lambda calibration: calibration.imu_to_camera("l"),
}
"""What is computed from a calibration."""
NEEDED = {
    "train": {FILES[0]: {"P_rect_02", "S_rect_02"}},
    "evaluate": {FILES[0]: {"R_rect_00", "P_rect_02"}, FILES[1]: {"R", "T"}},
    "evaluate, right": {FILES[0]: {"R_rect_00", "P_rect_03"}, FILES[1]: {"R", "T"}},
    "poses": {
        FILES[0]: {"R_rect_00", "P_rect_02"},
        FILES[1]: {"R", "T"},
        FILES[2]: {"R", "T"},
    },
}
"""The files and keys that each task needs, and no others."""
KEYS = [
    *((FILES[0], key) for key in CAMERA_KEYS),
    *((name, key) for name in FILES[1:] for key in ("R", "T")),
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_where_it_is_needed(calibrated: Path, name: str, task: str) -> None:
    expected = TASKS[task](read_calibration(calibrated, DATE))
    moved = shutil.copytree(calibrated, calibrated.with_name("moved"))
    (moved / DATE / name).unlink()
    if name in NEEDED[task]:
        with pytest.raises(
            CalibrationError, match=f"calibration cannot be read .*\n(.*\n)*.*where: .*{name}"
        ):
            TASKS[task](read_calibration(moved, DATE))
    else:
        assert np.array_equal(TASKS[task](read_calibration(moved, DATE)), expected)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("name", "key"), KEYS)
def test_a_missing_key_is_named_where_it_is_needed(
    calibrated: Path, name: str, key: str, task: str
) -> None:
    path = calibrated / DATE / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith(f"{key}:")))
    if key in NEEDED[task].get(name, ()):
        with pytest.raises(CalibrationError, match=f"no key {key}\n(.*\n)*.*where: .*{name}"):
            TASKS[task](read_calibration(calibrated, DATE))
    else:
        TASKS[task](read_calibration(calibrated, DATE))


@pytest.mark.parametrize("values", ["0 0", "0 0 x", "0 0 nan", "0 0 0 0", ""])
def test_wrong_values_are_shown(calibrated: Path, values: str) -> None:
    path = calibrated / DATE / "calib_velo_to_cam.txt"
    path.write_text(f"R: 0 -1 0 0 0 -1 1 0 0\nT: {values}\n")
    with pytest.raises(CalibrationError, match=f"key T is '{values}'\n.*expected: 3 numbers"):
        read_calibration(calibrated, DATE).velo_to_pixels("l")


@pytest.mark.parametrize(
    ("name", "key", "values", "expected"),
    [
        (FILES[0], "P_rect_02", "0 0 20 2 0 20 6 0 0 0 1 0", "focal lengths of more than 0 pixels"),
        (FILES[0], "P_rect_02", "9 0 20 2 0 -9 6 0 0 0 1 0", "focal lengths of more than 0 pixels"),
        (FILES[0], "S_rect_02", "40 0", "width and height"),
        (FILES[0], "S_rect_02", "70000 12", "width and height, from 1 to 16384 pixels"),
        (FILES[0], "R_rect_00", "0 0 0 0 0 0 0 0 0", "a rotation matrix"),
        (FILES[0], "R_rect_00", "1 0 0 0 1 0 0 0 -1", "a rotation matrix"),
        (FILES[1], "R", "0 -1 0 0 0 -1 1.01 0 0", "a rotation matrix"),
        (FILES[2], "R", "1 0 0 0 1 0 0 0 1e300", "a rotation matrix"),
    ],
)
def test_what_no_rig_has_is_refused(
    calibrated: Path, name: str, key: str, values: str, expected: str
) -> None:
    path = calibrated / DATE / name
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{key}:")]
    path.write_text("\n".join([*lines, f"{key}: {values}"]))
    calibration = read_calibration(calibrated, DATE)
    with pytest.raises(CalibrationError, match=f"key {key} is '{values}'\n.*expected: {expected}"):
        calibration.intrinsics("l", (12, 40))
        calibration.imu_to_camera("l")


@pytest.mark.parametrize("form", ["Windows", "UTF-16", "folder", "pipe"])
def test_files_as_people_have_them(calibrated: Path, form: str) -> None:
    path = calibrated / DATE / FILES[0]
    text = path.read_text()
    path.unlink()
    if form == "Windows":
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        assert read_calibration(calibrated, DATE).intrinsics("l", (12, 40))[0, 0] == 20
        return
    if form == "UTF-16":
        path.write_text(text, encoding="utf-16")
    elif form == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    said = {"UTF-16": "is UTF-16", "folder": "it is a folder", "pipe": "it is a named pipe"}[form]
    with pytest.raises(XDistillError, match=said):
        read_calibration(calibrated, DATE).intrinsics("l", (12, 40))


def test_the_cache_follows_the_folder(calibrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(calibrated.parent)
    read_calibration(Path("kitti"), DATE).size("l")
    monkeypatch.chdir("/")
    with pytest.raises(CalibrationError):
        read_calibration(Path("kitti"), DATE).size("l")


def test_real_calibration(material: Material) -> None:
    calibration = read_calibration(material.kitti, DATE)
    assert calibration.size("l") == (375, 1242)
    focal = 721.5377 if material.real else pytest.approx(0.58 * 1242)
    assert calibration.intrinsics("l", (375, 1242))[0, 0] == focal
    # The stereo baseline of KITTI is 0.54 m; the right camera lies at greater x.
    left, right = (calibration.imu_to_camera(camera)[0, 3] for camera in ("l", "r"))
    assert left - right == pytest.approx(0.535, abs=0.006)
