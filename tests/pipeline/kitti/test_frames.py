"""Frames: their names, and how messages name many of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistill.pipeline.kitti.errors import SplitError
from xdistill.pipeline.kitti.frames import LAST_INDEX, Camera, Frame

A = "2011_09_26/2011_09_26_drive_0001_sync"
B = "2011_09_28/2011_09_28_drive_0001_sync"
C = "2011_09_28/2011_09_28_drive_0037_sync"


def test_a_frame_names_its_places() -> None:
    frame = Frame(A, 50, "r")
    assert str(frame) == "2011_09_26/2011_09_26_drive_0001_sync 50 r"
    assert frame.sequence == "2011_09_26/2011_09_26_drive_0001_sync/image_03"
    assert frame.key == "2011_09_26/2011_09_26_drive_0001_sync/image_03/0000000050"
    assert frame.date == "2011_09_26"
    assert frame.neighbour(-1) == Frame(A, 49, "r")


@given(st.integers(0, LAST_INDEX), st.sampled_from(["l", "r"]), st.booleans())
def test_parse_inverts_str(index: int, camera: Camera, padded: bool) -> None:
    frame = Frame(A, index, camera)
    assert Frame.parse(f"{A} {index:010d} {camera}\n" if padded else str(frame)) == frame


def test_frames_sort_by_drive_then_number_then_camera() -> None:
    frames = [Frame(B, 0, "l"), Frame(A, 10, "l"), Frame(A, 2, "r"), Frame(A, 2, "l")]
    assert sorted(frames) == frames[::-1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        A,
        f"{A} 5",
        f"{A} 5 2",
        f"{A} 5 l extra",
        f"{A} -1 l",
        f"{A} 1.0 l",
        f"{A} 12345678901 l",
        "2011_09_26/ .. 5 l",
        "2011_09_26/.hidden 5 l",
        "2011_09_26/a\\b 5 l",
        "drive_without_date 5 l",
        "../../etc 5 l",
        "/2011_09_26/drive 5 l",
    ],
)
def test_what_is_no_frame_is_refused(text: str) -> None:
    with pytest.raises(SplitError, match="names no frame"):
        Frame.parse(text)


@pytest.mark.parametrize("drive", ["2011_09_26 (1)/drive 0001", "Straße/東京_01", "a,b/c;d"])
def test_folders_are_named_as_people_name_them(drive: str) -> None:
    frame = Frame(drive, 7, "r")
    assert Frame.parse(str(frame)) == frame
    assert Frame.parse(f"  {drive}\t0000000007   r\r\n") == frame


def test_a_time_is_no_frame_number() -> None:
    assert Frame.parse(f"{A} {LAST_INDEX} l").index == LAST_INDEX
    for number in (LAST_INDEX + 1, 1317013360):
        with pytest.raises(SplitError, match="has a number that is no frame's"):
            Frame.parse(f"{A} {number} l")
