"""Splits: by file and by name, and every way they can be wrong."""

import hashlib
from pathlib import Path

import pytest

from xdistill.manifests import loader
from xdistill.manifests.disk import PathError, TextError
from xdistill.manifests.errors import FetchError
from xdistill.pipeline.kitti.errors import SplitError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.splits import (
    TRAINING_SPLIT,
    list_frames,
    load_split,
    read_split,
    resolve_split,
)

A = "2011_09_26/2011_09_26_drive_0001_sync"
B = "2011_09_28/2011_09_28_drive_0001_sync"

PUBLISHED = {
    "kitti-eigen-test": (697, 28),
    "kitti-eigen-zhou-train": (39810, 32),
    "kitti-eigen-zhou-val": (4424, 31),
    "kitti-eigen-benchmark": (652, 28),
}


def test_a_split_file_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    path.write_text(f"{B} 0000000003 l\r\n\n{A} 1 r\n\n")
    assert read_split(path) == [Frame(B, 3, "l"), Frame(A, 1, "r")]
    assert load_split(str(path)) == read_split(path)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_split_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.txt"
    path.write_text(text)
    with pytest.raises(SplitError, match="the split is empty"):
        read_split(path)


def test_a_malformed_line_is_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    path.write_text(f"{A} 1 l\n\n{A} one l\n")
    with pytest.raises(SplitError, match=rf"line 3: '{A} one l'(.*\n)*.*where: {path}"):
        read_split(path)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SplitError, match="the split cannot be read"):
            load_split(str(path)) if path.exists() else read_split(path)
    (tmp_path / "wide.txt").write_bytes(f"{A} 1 l\n".encode("utf-16"))
    with pytest.raises(TextError, match="wide.txt is UTF-16(\n.*)*save the file as UTF-8"):
        load_split(str(tmp_path / "wide.txt"))


def test_bytes_that_editors_add_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    path.write_bytes(f"\ufeff# mine\r\n{A} 1 l\r\n  \r\n\t{B}\t0000000003\tr \r\n".encode())
    assert read_split(path) == [Frame(A, 1, "l"), Frame(B, 3, "r")]


def test_what_was_assumed_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "split.txt"
    path.write_text(f"{A} 1 l\n{A} 0000000002.png\n{A} 3\n{A} 4 r\n")
    assert [str(frame) for frame in read_split(path)] == [
        f"{A} 1 l",
        f"{A} 2 l",
        f"{A} 3 l",
        f"{A} 4 r",
    ]
    assert capsys.readouterr().err == (
        f"note: split.txt: line 2, {A} 0000000002.png, is read as {A} 2 l\n"
        "note: split.txt: 2 of 4 lines name no camera: assumed is the left one (l)\n"
    )
    path.write_text(f"{A} 1 l\n")
    read_split(path)
    assert capsys.readouterr().err == ""


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(SplitError, match="no split 'kitti-eigen'\n.*kitti-eigen-zhou-train"):
        load_split("kitti-eigen")


def test_frames_of_a_split_file_and_of_a_folder(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    path.write_text("2011_09_26/2011_09_26_drive_0009_sync 3 r\n")
    assert list_frames(path) == list_frames(str(path)) == load_split(str(path))
    listed = list_frames(root)
    assert listed == list_frames(str(root)) == sorted(listed)
    assert {image_path(str(root), str(frame)) for frame in listed} == set(
        root.glob("*/*/image_*/*/*")
    )
    with pytest.raises(SplitError, match="no KITTI raw root and no split 'nothing'"):
        list_frames("nothing")
    with pytest.raises(SplitError, match="7 is int, not a frame"):
        image_path(root, 7)  # type: ignore[arg-type]
    with pytest.raises(PathError, match="7 is int, not a path"):
        list_frames(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_splits_are_what_the_manifests_say(
    shared: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDISTILL_SPLITS", str(shared / "splits"))
    manifest = loader.load("splits", name)
    frames = load_split(name)
    assert resolve_split(name) == shared / "splits" / manifest["file"]
    assert len(frames) == manifest["count"] == PUBLISHED[name][0]
    assert len({frame.drive for frame in frames}) == manifest["drives"] == PUBLISHED[name][1]


def test_the_training_splits_drives_are_those_of_its_list(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDISTILL_SPLITS", str(shared / "splits"))
    numbers = loader.load("splits", TRAINING_SPLIT)["drive_numbers"]
    named = {f"{date}/{date}_drive_{one}_sync" for date in numbers for one in numbers[date]}
    assert named == {frame.drive for frame in load_split(TRAINING_SPLIT)}


def test_every_split_manifest_is_tested() -> None:
    assert set(loader.names("splits")) == set(PUBLISHED)


def test_a_tampered_list_in_the_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "eigen" / "test_files.txt"
    path.parent.mkdir()
    path.write_text(f"{A} 1 l\n")
    monkeypatch.setenv("XDISTILL_SPLITS", str(tmp_path))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(FetchError, match=f"sha256 {found}\n.*e226d4ca"):
        load_split("kitti-eigen-test")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_of_windows_are_those_of_the_published_list(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes
) -> None:
    content = (shared / "splits" / "eigen" / "test_files.txt").read_bytes()
    path = tmp_path / "eigen" / "test_files.txt"
    path.parent.mkdir()
    path.write_bytes(mark + content.replace(b"\n", b"\r\n"))
    monkeypatch.setenv("XDISTILL_SPLITS", str(tmp_path))
    assert resolve_split("kitti-eigen-test") == path
    lines = content.splitlines(keepends=True)
    # Predictions belong to the lines in their order: only the published one has the name.
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(FetchError, match="the file has sha256"):
        resolve_split("kitti-eigen-test")


def test_a_list_is_fetched_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_cache: Path
) -> None:
    published = tmp_path / "published.txt"
    published.write_text(f"{A} 1 l\n")
    manifest = {
        "file": "eigen/test_files.txt",
        "address": published.as_uri(),
        "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
    }
    monkeypatch.setattr(loader, "load", lambda kind, name: manifest)
    monkeypatch.setenv("XDISTILL_SPLITS", str(tmp_path / "elsewhere"))
    assert load_split("kitti-eigen-test") == [Frame(A, 1, "l")]
    published.unlink()
    assert resolve_split("kitti-eigen-test") == private_cache / "splits/eigen/test_files.txt"


def test_without_a_network_the_message_names_file_address_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_cache: Path
) -> None:
    address = (tmp_path / "gone.txt").as_uri()
    manifest = {"file": "eigen/test_files.txt", "address": address, "sha256": "0" * 64}
    monkeypatch.setattr(loader, "load", lambda kind, name: manifest)
    with pytest.raises(FetchError) as caught:
        load_split("kitti-eigen-test")
    for part in ("test_files.txt", address, str(private_cache / "splits" / "eigen")):
        assert part in str(caught.value)
