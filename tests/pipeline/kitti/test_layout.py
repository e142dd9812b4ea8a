"""A KITTI raw root given one level too deep or too shallow: the right one can be pasted."""

import shlex
import subprocess
from pathlib import Path

import pytest

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.errors import CalibrationError, KittiError
from xdistill.pipeline.kitti.frames import Frame, find_frames
from xdistill.pipeline.kitti.missing import require_frames

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"


def remedy(data: Path) -> str:
    with pytest.raises(KittiError) as caught:
        find_frames(data, drives=None, cameras=("l",))
    return str(caught.value).partition("what to do: ")[2]


def add(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


IMAGE = f"{DRIVE}/image_02/data/0000000000.png"


@pytest.mark.parametrize("inside", ["2011_09_26", DRIVE, f"{DRIVE}/image_02/data"])
def test_below_the_root(tmp_path: Path, inside: str) -> None:
    root = add(tmp_path / "my kitti", IMAGE)
    assert shlex.split(remedy(root / inside)) == ["give", "--data", str(root)]


@pytest.mark.parametrize("given", ["", "kity"])
def test_above_or_beside_the_root(tmp_path: Path, given: str) -> None:
    root = add(tmp_path / "my kitti", IMAGE)
    (tmp_path / ".Trash").mkdir()
    assert shlex.split(remedy(tmp_path / given)) == ["give", "--data", str(root)]


def test_every_archive_in_a_folder_of_its_own(tmp_path: Path) -> None:
    data = tmp_path / "kitti raw"
    add(data / "2011_09_26_drive_0001_sync", IMAGE)
    add(data / "2011_09_26_calib", "2011_09_26/calib_cam_to_cam.txt")
    command, _, option = remedy(data).removeprefix("make one of links: ").partition("; then give ")
    subprocess.run(command, shell=True, check=True)
    (merged,) = shlex.split(option)[1:]
    assert find_frames(merged, drives=None, cameras=("l",)) == [Frame(DRIVE, 0, "l")]
    assert (Path(merged) / "2011_09_26" / "calib_cam_to_cam.txt").is_file()


def test_other_layouts_are_named(tmp_path: Path) -> None:
    odometry = add(tmp_path / "a" / "dataset", "sequences/00/image_2/000000.png")
    assert remedy(odometry) == "download KITTI raw, and give its folder with --data"
    grey = add(tmp_path / "b" / "grey", f"{DRIVE}/image_00/data/0000000000.png")
    assert remedy(grey) == "download the drives' image_02 and image_03"
    numbered = add(tmp_path / "c" / "seconds", f"{DRIVE}/image_02/data/1317013360.png")
    assert "number them from 0" in remedy(numbered)


@pytest.mark.parametrize("place", [DRIVE, "2011_09_26_calib/2011_09_26"])
def test_calibration_in_another_place_is_found(tmp_path: Path, place: str) -> None:
    root = add(tmp_path / "my kitti", IMAGE, f"{place}/calib_cam_to_cam.txt")
    with pytest.raises(CalibrationError) as caught:
        read_calibration(root, "2011_09_26").size("l")
    command = str(caught.value).partition("what to do: copy it: ")[2]
    subprocess.run(command, shell=True, check=True)
    assert (root / "2011_09_26" / "calib_cam_to_cam.txt").is_file()


def test_a_split_says_the_same(tmp_path: Path) -> None:
    root = add(tmp_path / "kitti", IMAGE)
    with pytest.raises(KittiError) as caught:
        require_frames(root / "2011_09_26", [Frame(DRIVE, 0, "l")])
    assert str(caught.value).endswith(f"what to do: {remedy(root / '2011_09_26')}")
