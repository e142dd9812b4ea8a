"""PNG folders: every legal form, and every way a file can be wrong."""

import errno
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from material import Material
from numpy.typing import NDArray

from xdistill.grouping.classes import cityscapes
from xdistill.manifests.png import SIGNATURE, encode_chunk, read_chunks
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.png import Ids, PngTeacher, read_ids, require_label_ids
from xdistill.teachers.protocol import FrameLabelError, Prediction, TeacherError

KEY = "2011_09_26/2011_09_26_drive_0013_sync/image_02/0000000050"
IMAGE = np.zeros((4, 6, 3), np.uint8)


def encode(pixels: NDArray[np.generic]) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def palette(ids: NDArray[np.uint8]) -> bytes:
    """The same pixels as a palette PNG, as image tools write label maps."""
    chunks = dict(read_chunks(encode(ids)))
    header = bytes(chunks[b"IHDR"][:9]) + b"\x03" + bytes(chunks[b"IHDR"][10:])
    colours = bytes(range(255, -1, -1)) * 3
    body = encode_chunk(b"IHDR", header) + encode_chunk(b"PLTE", colours)
    return SIGNATURE + body + encode_chunk(b"IDAT", chunks[b"IDAT"]) + encode_chunk(b"IEND", b"")


def headed(
    width: int, height: int, *, depth: int = 8, colour: int = 0, data: bytes = b"x"
) -> bytes:
    """A PNG with any header, each chunk of it whole."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": data, b"IEND": b""}
    return SIGNATURE + b"".join(encode_chunk(name, content) for name, content in chunks.items())


def interlaced(ids: NDArray[np.uint8]) -> bytes:
    """The same pixels in Adam7's seven passes (PNG specification, section 8.2)."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    lines = b""
    for left, top, across, down in [*passes, (0, 1, 1, 2)]:
        lines += b"".join(b"\0" + row.tobytes() for row in ids[top::down, left::across] if row.size)
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], 8, 0, 0, 0, 1)
    body = encode_chunk(b"IHDR", header) + encode_chunk(b"IDAT", zlib.compress(lines))
    return SIGNATURE + body + encode_chunk(b"IEND", b"")


def animated(ids: NDArray[np.uint8]) -> bytes:
    """An APNG whose picture without animation has these pixels."""
    name_header, *rest = read_chunks(encode(ids))
    control = struct.pack(">IIIIIHHBB", 0, 6, 4, 0, 0, 1, 10, 0, 0)
    second = struct.pack(">I", 1) + zlib.compress(bytes(28))
    chunks = [name_header, (b"acTL", struct.pack(">II", 1, 0)), *rest[:-1]]
    chunks += [(b"fcTL", control), (b"fdAT", second), rest[-1]]
    return SIGNATURE + b"".join(encode_chunk(name, content) for name, content in chunks)


def label(folder: Path, content: bytes | None, *, ids: Ids = "train") -> Prediction:
    path = folder / f"{KEY}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name("0000000049.png").write_bytes(encode(np.zeros((4, 6), np.uint8)))
    if content is not None:
        path.write_bytes(content)
    return load_teacher(f"png:{folder}", ids=ids).label([IMAGE], [KEY])


@pytest.mark.parametrize("form", [encode, palette, interlaced, animated])
def test_train_ids_come_back_as_they_are(tmp_path: Path, form: object) -> None:
    ids = np.array(
        [
            [0, 1, 2, 3, 4, 5],
            [6, 7, 8, 9, 10, 11],
            [12, 13, 14, 15, 16, 17],
            [18, 255, 255, 0, 0, 0],
        ],
        np.uint8,
    )
    labels = label(tmp_path, form(ids))  # type: ignore[operator]
    assert np.array_equal(labels.classes[0], ids) and labels.confidence is None


def test_label_ids_become_train_ids(tmp_path: Path) -> None:
    ids = np.zeros((4, 6), np.uint8)
    ids[0] = [7, 8, 26, 33, 29, 255]
    expected = np.full((4, 6), 255, np.uint8)
    expected[0] = [0, 1, 13, 18, 255, 255]
    assert np.array_equal(label(tmp_path, encode(ids), ids="label").classes[0], expected)


@pytest.mark.parametrize(
    ("content", "ids", "named"),
    [
        (None, "train", "no label map"),
        (b"", "train", "not a PNG"),
        (b"\xff\xd8\xff\xe0 a jpeg", "train", "not a PNG"),
        (encode(np.zeros((4, 6), np.uint8))[:-1], "train", "label map is truncated"),
        (encode(np.zeros((4, 6), np.uint8))[:40], "train", "label map is truncated"),
        (encode(np.zeros((4, 6), np.uint16)), "train", "16 bits, grey"),
        (encode(np.zeros((4, 6, 3), np.uint8)), "train", "8 bits, RGB"),
        (encode(np.zeros((4, 6, 4), np.uint8)), "train", "8 bits, RGBA"),
        (encode(np.zeros((4, 5), np.uint8)), "train", "the label map is 5x4"),
        (headed(100_000, 100_000), "train", "the label map is 100000x100000"),
        (headed(0, 4), "train", "the label map is 0x4"),
        (headed(6, 4, data=b""), "train", "pixels cannot be decoded"),
        (headed(6, 4, data=zlib.compress(bytes(9))), "train", "pixels cannot be decoded"),
        (headed(6, 4, depth=4, colour=3), "train", "4 bits, palette"),
        (SIGNATURE + encode_chunk(b"IEND", b""), "train", "does not begin with a header"),
        (SIGNATURE + encode_chunk(b"IHDR", b"1234567"), "train", "does not begin with a header"),
        (encode(np.full((4, 6), 26, np.uint8)), "train", "ids 26.*\n.*\n.*\n.*--ids label"),
        (encode(np.full((4, 6), 34, np.uint8)), "label", "ids 34"),
    ],
)
def test_one_bad_file_is_one_frames_error(
    tmp_path: Path, content: bytes | None, ids: Ids, named: str
) -> None:
    with pytest.raises(FrameLabelError, match=named) as caught:
        label(tmp_path, content, ids=ids)
    assert caught.value.key == KEY and f"{KEY}.png" in str(caught.value)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(position: int, bit: int) -> None:
    ids = (np.arange(24, dtype=np.uint8) % 19).reshape(4, 6)
    content = bytearray(encode(ids))
    content[position % len(content)] ^= 1 << bit
    try:
        again = read_ids(bytes(content))
    except ValueError:
        return
    assert np.array_equal(again, ids)


def test_a_named_pipe_in_place_of_a_label_map_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / f"{KEY}.png"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    with pytest.raises(FrameLabelError, match="it is a named pipe, not a file"):
        label(tmp_path, None)


def test_a_label_map_that_may_not_be_read_is_not_to_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("xdistill.teachers.png.read_bytes", refuse)
    with pytest.raises(FrameLabelError, match="Permission denied") as caught:
        label(tmp_path, None)
    assert "ask its owner for the permission to read it" in str(caught.value)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="^the folder does not exist\n"):
        load_teacher(f"png:{tmp_path / 'labels'}")


def test_folder_without_label_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A mistyped folder must not become the store's teacher.
    monkeypatch.chdir(tmp_path)
    for spec in ("png:.", f"png:{tmp_path}"):
        with pytest.raises(
            TeacherError, match=r"^the folder holds no label maps\n(.|\n)*correct the path"
        ):
            load_teacher(spec)


def test_the_fingerprint_is_of_the_labels_wherever_and_however_they_lie(tmp_path: Path) -> None:
    street, other = np.full((4, 6), 7, np.uint8), np.full((4, 6), 7, np.uint8)
    other[0, 0] = 8
    for name, content in (("a", encode(street)), ("b", encode(other)), ("c", palette(street))):
        label(tmp_path / name, content)
    prints = {
        PngTeacher(tmp_path / name, ids=ids).fingerprint
        for name in ("a", "b")
        for ids in ("train", "label")
    }
    assert len(prints) == 4
    assert PngTeacher(tmp_path / "c").fingerprint == PngTeacher(tmp_path / "a").fingerprint
    (tmp_path / "a" / f"{KEY}.png").write_bytes(encode(street)[:-9])
    assert PngTeacher(tmp_path / "a").fingerprint not in prints


def read_as_label_ids(tmp_path: Path, maps: Iterable[NDArray[np.uint8]]) -> PngTeacher:
    folder = tmp_path / f"{KEY}.png"
    folder.parent.mkdir(parents=True)
    for number, ids in enumerate(maps):
        folder.with_name(f"{number:010d}.png").write_bytes(encode(ids))
    return PngTeacher(tmp_path, ids="label")


def rows(*ids: int) -> NDArray[np.uint8]:
    """A map of as many rows, each of one id."""
    return np.repeat(np.array(ids, np.uint8)[:, None], 6, axis=1)


def test_train_ids_announced_as_label_ids_are_refused_before_any_frame(tmp_path: Path) -> None:
    train = [rows(0, 0, 0, 1, 2, 8, 8, 10, 13, 7), rows(0, 0, 255, 2, 8, 8, 8, 10, 10, 13)]
    with pytest.raises(TeacherError, match=r"void for 40% .* road for 5%\n(.|\n)*leave out --ids"):
        read_as_label_ids(tmp_path, train)


@pytest.mark.parametrize(
    "maps",
    [
        [rows(7, 7, 7, 8, 11, 21, 21, 23, 26)],
        [rows(3, 3, 3, 4, 4, 4, 21, 23, 26)],  # Much void, no road: a car park.
        [rows(0, 0, 0, 7)],  # The road alone was labelled.
        [rows(0, 0, 0, 0), rows(24, 0, 0, 0)],  # People alone.
        [rows(0, 26, 0, 0)],
        [rows(255, 255, 255, 255)],
    ],
)
def test_label_ids_of_all_kinds_of_streets_are_taken(tmp_path: Path, maps: object) -> None:
    assert read_as_label_ids(tmp_path, maps).record["ids"] == "label"  # type: ignore[arg-type]


def test_real_labels_are_told_from_each_other_map_by_map(shared: Path) -> None:
    to_label_ids = np.full(256, 255, np.uint8)
    for label_id, train_id in enumerate(cityscapes().from_label_ids()[:34]):
        if train_id < 19:
            to_label_ids[train_id] = label_id
    for name in ("kitti_labels_espnetv2", "kitti_test_labels", "kitti_train_labels"):
        for path in sorted((shared / name).rglob("*.png"))[::10]:
            train = read_ids(path.read_bytes())
            require_label_ids([to_label_ids[train]], where=path)
            with pytest.raises(TeacherError, match="these look like train ids"):
                require_label_ids([train], where=path)


def test_real_labels_equal_their_files(material: Material) -> None:
    folder = material.labels
    path = folder / f"{KEY}.png"
    expected = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    image = np.zeros((*expected.shape, 3), np.uint8)
    labels = load_teacher(f"png:{folder}").label([image], [KEY])
    assert np.array_equal(labels.classes[0], expected)


def test_hidden_files_are_no_label_maps(tmp_path: Path) -> None:
    path = (tmp_path / KEY).with_name("._0000000050.png")
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(TeacherError, match="holds no label maps"):
        PngTeacher(tmp_path)
