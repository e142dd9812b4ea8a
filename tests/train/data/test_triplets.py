from pathlib import Path

import pytest
from training_tree import DRIVE

from xdistill.pipeline.kitti.errors import KittiError, MissingFrameError, SplitError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.data.triplets import Selection, TripletError, find_triplets


def write_split(path: Path, *indices: int) -> Selection:
    path.write_text("".join(f"{DRIVE} {index} l\n" for index in indices))
    return Selection(split=str(path))


@pytest.mark.parametrize(
    "selection",
    [Selection(split=None, drives=("0001",)), Selection(split="all"), Selection(split=None)],
)
def test_found_frames_without_neighbours_are_left_out_and_counted(
    data: Path, selection: Selection
) -> None:
    triplets = find_triplets(data, selection)
    assert triplets.frames == tuple(Frame(DRIVE, index, "l") for index in range(1, 9))
    assert triplets.left_out == 2


def test_a_gap_takes_both_its_neighbours(tmp_path: Path) -> None:
    folder = tmp_path / DRIVE / "image_02" / "data"
    folder.mkdir(parents=True)
    for index in (0, 1, 2, 4, 5, 6):
        (folder / f"{index:010d}.png").touch()
    triplets = find_triplets(tmp_path, Selection(split="all"))
    assert [frame.index for frame in triplets.frames] == [1, 5]
    assert triplets.left_out == 4


def test_a_split_keeps_its_order(data: Path, tmp_path: Path) -> None:
    triplets = find_triplets(data, write_split(tmp_path / "s.txt", 5, 2, 7))
    assert [frame.index for frame in triplets.frames] == [5, 2, 7]
    assert triplets.left_out == 0
    other = find_triplets(data, write_split(tmp_path / "s.txt", 2, 5, 7))
    assert triplets.digest != other.digest


@pytest.mark.parametrize("index", [0, 9])
def test_a_split_frame_without_neighbour_is_an_error_that_names_it(
    data: Path, tmp_path: Path, index: int
) -> None:
    with pytest.raises(TripletError) as caught:
        find_triplets(data, write_split(tmp_path / "s.txt", 3, index))
    assert f"1 of 2 frames have no previous or no next frame: {DRIVE} l: {index}" in str(
        caught.value
    )


def test_a_split_frame_that_is_not_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFrameError, match="1 of 2 frames have no image"):
        find_triplets(data, write_split(tmp_path / "s.txt", 3, 77))


def test_empty_split_and_missing_root(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="empty"):
        find_triplets(data, write_split(tmp_path / "s.txt"))
    with pytest.raises(KittiError, match="KITTI raw folder does not exist"):
        find_triplets(tmp_path / "absent", Selection(split="all"))


def test_frames_that_all_stand_alone(tmp_path: Path) -> None:
    folder = tmp_path / DRIVE / "image_02" / "data"
    folder.mkdir(parents=True)
    for index in (0, 5):
        (folder / f"{index:010d}.png").touch()
    with pytest.raises(TripletError, match="2 of 2 frames"):
        find_triplets(tmp_path, Selection(split="all"))


def test_selection_as_options_of_segment() -> None:
    assert Selection(split="my.txt").options == " --split my.txt"
    assert Selection(split="my split.txt").options == " --split 'my split.txt'"
    assert Selection(split="all").options == " --split all"
    drives = Selection(split=None, drives=("0001", "0002"), camera="both")
    assert drives.options == " --drive 0001 --drive 0002 --camera both"


@pytest.mark.parametrize("camera", ["image_02", "", None])
def test_a_camera_that_is_none_is_refused(camera: str) -> None:
    with pytest.raises(TripletError, match="^there is no camera"):
        Selection(split="all", camera=camera)
