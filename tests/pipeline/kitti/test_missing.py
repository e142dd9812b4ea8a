"""Frames without a file are named."""

from pathlib import Path

import pytest

from xdistill.pipeline.kitti.errors import KittiError, MissingFrameError
from xdistill.pipeline.kitti.frames import Frame, missing_frames
from xdistill.pipeline.kitti.missing import name_frames, require_frames
from xdistill.pipeline.kitti.splits import read_split

A = "2011_09_26/2011_09_26_drive_0001_sync"
B = "2011_09_28/2011_09_28_drive_0001_sync"


def test_missing_frames_are_named(root: Path) -> None:
    frames = [Frame(B, 0, "l"), Frame(B, 0, "r"), Frame(A, 2, "l"), Frame(A, 3, "l")]
    assert missing_frames(root, frames) == frames[1:]
    with pytest.raises(MissingFrameError, match=f"3 of 4 .*: {A} l: 2-3; {B} r: 0\n") as caught:
        require_frames(root, frames)
    assert "listed in" not in str(caught.value)
    require_frames(root, frames[:1])


def test_many_missing_frames_are_listed_in_a_split_file(root: Path) -> None:
    frames = [Frame(A, index, "l") for index in range(10, 50, 2)]
    with pytest.raises(MissingFrameError, match="20 of 20 .* and 12 more frames") as caught:
        require_frames(root, frames)
    assert read_split(str(caught.value).rpartition("all 20 are listed in ")[2]) == frames


def test_missing_frames_of_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(KittiError, match="KITTI raw folder does not exist"):
        missing_frames(tmp_path / "none", [Frame(A, 0, "l")])


def test_few_frames_are_all_named_and_many_in_part() -> None:
    frames = [Frame(A, index, "l") for index in (52, 33, 17, 34, 35)]
    assert name_frames(frames) == f"{A} l: 17, 33-35, 52"
    both = [*frames, Frame(A, 35, "r"), Frame(B, 0, "l"), Frame(B, 1, "l")]
    assert name_frames(both) == f"{A} l: 17, 33-35, 52; {A} r: 35; {B} l: 0-1"
    assert name_frames(both, limit=2) == f"{A} l: 17, 33-35 and 4 more frames"
