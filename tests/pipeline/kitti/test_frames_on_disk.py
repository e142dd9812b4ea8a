"""The KITTI raw folder: what is found, what is left out, and what cannot be read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from material import Material

from xdistill.pipeline.kitti.errors import KittiError, MissingFrameError
from xdistill.pipeline.kitti.frames import Frame, find_frames, image_path, missing_frames
from xdistill.pipeline.kitti.missing import require_frames

A = "2011_09_26/2011_09_26_drive_0001_sync"
B = "2011_09_28/2011_09_28_drive_0001_sync"
C = "2011_09_28/2011_09_28_drive_0037_sync"
NOBODY = 65534


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
    with pytest.raises(
        KittiError, match="no frames of this camera\n.*image_02.*\n.*0037(.*\n)*.*--camera r"
    ):
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


def test_real_frames(material: Material) -> None:
    left = find_frames(material.kitti, drives=None, cameras=("l",))
    both = find_frames(material.kitti, drives=None, cameras=("l", "r"))
    assert (len(left), len(both)) == (82, 92)
    assert [f.index for f in find_frames(material.kitti, drives=["0013"], cameras=["l"])] == [
        *range(72)
    ]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG"])
def test_every_suffix_is_found_and_read(root: Path, suffix: str) -> None:
    folder = root / C / "image_02" / "data"
    folder.mkdir(parents=True)
    path = folder / f"0000000012{suffix}"
    path.touch()
    frame = Frame(C, 12, "l")
    assert find_frames(root, drives=["0037"], cameras=("l",)) == [frame]
    assert image_path(root, frame) == path
    require_frames(root, [frame])


def test_hidden_files_and_those_of_archives_are_no_images(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = find_frames(root, drives=None, cameras=("l", "r"))
    folder = root / A / "image_02" / "data"
    for name in ("._0000000009.png", ".DS_Store", "0000000009.png.part", "Thumbs.db"):
        (folder / name).touch()
    for name in (".DS_Store", "._2011_09_26", "readme.txt"):
        (root / name).touch()
    for drive in (f"__MACOSX/{A}", "__MACOSX/drive", ".Trash-0/drive", "lost+found/drive"):
        (root / drive / "image_02" / "data").mkdir(parents=True)
        (root / drive / "image_02" / "data" / "0000000000.png").touch()
    assert find_frames(root, drives=None, cameras=("l", "r")) == expected
    assert capsys.readouterr().err == ""


def test_images_named_otherwise_are_left_out_with_a_note(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = root / A / "image_02" / "data"
    for name in ("1700000000.png", "000007.png"):
        (folder / name).touch()
    found = find_frames(root, drives=None, cameras=("l",))
    assert [frame.index for frame in found if frame.drive == A] == [0, 1, 5]
    (line,) = capsys.readouterr().err.splitlines()
    assert f"in {folder}, 000007.png, 1700000000.png left out" in line
    with pytest.raises(MissingFrameError):
        require_frames(root, [Frame(A, 1_700_000_000, "l")])


@pytest.fixture
def closed(root: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of the tree that may not be read, by this process as another user than root."""
    folder = root / request.param
    for parent in root.parents:
        # Pytest keeps its folders to their owner; they stay open, since other tests share them.
        if not parent.stat().st_mode & 0o005:
            parent.chmod(0o755)
    folder.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(NOBODY)
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.mark.parametrize(
    "closed",
    ["", "2011_09_26", A, f"{A}/image_02", f"{A}/image_02/data"],
    indirect=True,
)
def test_a_folder_that_may_not_be_read_is_never_left_out(root: Path, closed: Path) -> None:
    for find in (
        lambda: find_frames(root, drives=None, cameras=("l",)),
        lambda: find_frames(root, drives=["2011_09_26_drive_0001_sync"], cameras=("l",)),
        lambda: missing_frames(root, [Frame(A, 0, "l")]),
        lambda: image_path(root, Frame(A, 0, "l")),
    ):
        with pytest.raises(KittiError, match="cannot be read .Permission denied") as caught:
            find()
        named = str(caught.value).partition("where: ")[2].splitlines()[0]
        assert closed == Path(named) or closed in Path(named).parents
    if closed != root:
        assert find_frames(root, drives=[B], cameras=("l",)) == [Frame(B, 0, "l")]
