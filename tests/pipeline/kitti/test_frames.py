"""Frames: names, places, and what is found on disk."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistill.pipeline.kitti.frames import (
    Camera,
    Frame,
    KittiError,
    MissingFrameError,
    SplitError,
    find_frames,
    image_path,
)

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


@given(st.integers(0, 10**10 - 1), st.sampled_from(["l", "r"]), st.booleans())
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
        "drive_without_date 5 l",
        "../../etc 5 l",
        "/2011_09_26/drive 5 l",
    ],
)
def test_what_is_no_frame_is_refused(text: str) -> None:
    with pytest.raises(SplitError, match="names no frame"):
        Frame.parse(text)


def test_png_and_jpg_are_found_alike(root: Path) -> None:
    assert image_path(root, Frame(A, 1, "r")) == root / A / "image_03/data/0000000001.png"
    assert image_path(root, Frame(B, 0, "l")) == root / B / "image_02/data/0000000000.jpg"


def test_an_absent_image_is_named(root: Path) -> None:
    with pytest.raises(MissingFrameError, match=f"frame {A} 2 l has no image"):
        image_path(root, Frame(A, 2, "l"))


def test_everything_found_is_sorted_with_its_gaps(root: Path) -> None:
    (root / A / "image_02" / "data" / "notes.txt").touch()
    (root / A / "image_02" / "data" / "7.png").touch()
    assert [str(frame) for frame in find_frames(root, drives=None, cameras=("r", "l"))] == [
        f"{A} 0 l",
        f"{A} 1 l",
        f"{A} 1 r",
        f"{A} 5 l",
        f"{B} 0 l",
        f"{C} 3 r",
    ]


@pytest.mark.parametrize("name", [A, "2011_09_26_drive_0001_sync"])
def test_drives_by_full_name(root: Path, name: str) -> None:
    frames = find_frames(root, drives=[name, name], cameras=("l",))
    assert frames == [Frame(A, index, "l") for index in (0, 1, 5)]


def test_drives_by_short_name_where_unique(root: Path) -> None:
    assert find_frames(root, drives=["0037"], cameras=("r",)) == [Frame(C, 3, "r")]
    with pytest.raises(KittiError, match=f"'0001' matches {A}, {B}"):
        find_frames(root, drives=["0001"], cameras=("l",))


def test_an_unknown_drive_lists_the_known(root: Path) -> None:
    with pytest.raises(KittiError, match=f"no drive '9999'\n.*one of {A}"):
        find_frames(root, drives=["9999"], cameras=("l",))


def test_a_drive_without_that_camera_is_named(root: Path) -> None:
    with pytest.raises(KittiError, match="no frames\n.*image_02.*\n.*0037"):
        find_frames(root, drives=["0037", A], cameras=("l",))


def test_a_missing_root_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        KittiError,
        match="the KITTI raw folder does not exist\n(.*\n)*.*--data, or set XDISTILL_DATA",
    ):
        find_frames(tmp_path / "none", drives=None, cameras=("l",))


def test_an_empty_root_says_so(tmp_path: Path) -> None:
    with pytest.raises(KittiError, match="no frames"):
        find_frames(tmp_path, drives=None, cameras=("l",))


def test_real_frames(shared: Path) -> None:
    left = find_frames(shared / "kitti", drives=None, cameras=("l",))
    both = find_frames(shared / "kitti", drives=None, cameras=("l", "r"))
    assert (len(left), len(both)) == (82, 92)
    assert [f.index for f in find_frames(shared / "kitti", drives=["0013"], cameras=["l"])] == [
        *range(72)
    ]
