"""Shard files equal zarr-python's, in both directions, and the reader equals zarr on any format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from label_stores import SEQUENCE, frame, new_store, scratch_folder
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from xdistill.pipeline.store import CorruptLabelsError, LabelReader, chunks
from xdistill.pipeline.store.chunks import (
    ShardError,
    decode_frame,
    encode_frame,
    encode_shard,
    protect,
    read_chunk,
    read_chunks,
    shard_path,
)
from xdistill.pipeline.store.format import Description, documents, label_document, seal

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
lengths = st.integers(1, 200)


def draw_frames(data: st.DataObject, length: int, size: tuple[int, int]) -> dict[int, Any]:
    """Some frames of an array, a few of them all ignore."""
    indices = data.draw(st.sets(st.integers(0, length - 1), max_size=12))
    blank = np.full(size, 255, np.uint8)
    return {i: blank if data.draw(st.booleans()) else frame(i, size=size) for i in indices}


def dense(frames: dict[int, Any], length: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The whole array, gaps filled with 255."""
    array = np.full((length, *size), 255, np.uint8)
    for index, labels in frames.items():
        array[index] = labels
    return array


@pytest.mark.slow
@given(data=st.data(), length=lengths, size=sizes)
def test_zarr_reads_what_we_write(data: st.DataObject, length: int, size: tuple[int, int]) -> None:
    frames = draw_frames(data, length, size)
    with scratch_folder() as folder:
        store = new_store(Path(folder) / "s")
        array = store.ensure_array(
            SEQUENCE, "classes", length=length, size=size, values=19, attributes={}
        )
        for shard in range(array.shards):
            array.write_shard(shard, {i: f for i, f in frames.items() if i // 64 == shard})
        labels = zarr.open_array(store.path / SEQUENCE / "classes", mode="r")
        np.testing.assert_array_equal(np.asarray(labels[:]), dense(frames, length, size))
        counts = zarr.open_array(store.path / SEQUENCE / "classes_counts", mode="r")
        own = np.concatenate([array.counts(shard) for shard in range(array.shards)])[:length]
        np.testing.assert_array_equal(np.asarray(counts[:]), own)
        words = zarr.open_array(store.path / SEQUENCE / "classes_commit", mode="r")
        own_words = np.concatenate([array.words(shard) for shard in range(array.shards)])[:length]
        np.testing.assert_array_equal(np.asarray(words[:]), own_words)


@pytest.mark.slow
@given(data=st.data(), length=lengths, size=sizes)
def test_we_read_what_zarr_writes(data: st.DataObject, length: int, size: tuple[int, int]) -> None:
    frames = draw_frames(data, length, size)
    array = Description(name="classes", length=length, size=size, values=19)
    with scratch_folder() as folder:
        path = Path(folder, "classes")
        path.mkdir()
        (path / "zarr.json").write_bytes(label_document(array))
        with zarr.config.set({"array.write_empty_chunks": True}):
            labels = zarr.open_array(path, mode="r+")
            for index, pixels in frames.items():
                labels[index] = pixels
        for index in range(array.shards * 64):
            chunk = read_chunk(shard_path(path, index // 64), index % 64)
            assert (chunk is not None) == (index in frames)
            if chunk is not None:
                np.testing.assert_array_equal(decode_frame(chunk, size), frames[index])


Layout = tuple[str, dict[str, Any]]
LAYOUTS: Sequence[Layout] = [
    ("gzip", {"shards": (64, 4, 6), "chunks": (1, 4, 6), "compressors": [GzipCodec()]}),
    ("blosc", {"shards": (8, 4, 6), "chunks": (2, 2, 6), "compressors": [BloscCodec()]}),
    ("zstd 9", {"shards": (64, 4, 6), "chunks": (1, 4, 6), "compressors": [ZstdCodec(level=9)]}),
    ("no shards", {"chunks": (1, 4, 6), "compressors": [ZstdCodec(level=3), Crc32cCodec()]}),
    ("bare", {"chunks": (70, 4, 6), "compressors": None}),
]


def foreign_copy(folder: Path, layout: dict[str, Any]) -> dict[int, NDArray[np.uint8]]:
    """A store whose label array another program wrote in another format."""
    store = new_store(folder)
    array = store.ensure_array(
        SEQUENCE, "classes", length=70, size=(4, 6), values=19, attributes={}
    )
    frames = {0: frame(0), 63: frame(63), 64: np.full((4, 6), 255, np.uint8)}
    array.write_shard(0, {i: frames[i] for i in (0, 63)})
    array.write_shard(1, {64: frames[64]})
    copy = zarr.create_array(
        folder / SEQUENCE / "classes",
        shape=(70, 4, 6),
        dtype="uint8",
        fill_value=255,
        overwrite=True,
        **layout,
    )
    for index, pixels in frames.items():
        copy[index] = pixels
    return frames


@pytest.mark.parametrize("layout", LAYOUTS, ids=[name for name, _ in LAYOUTS])
def test_other_formats_are_read_by_zarr(tmp_path: Path, layout: Layout) -> None:
    frames = foreign_copy(tmp_path / "s", layout[1])
    reader = LabelReader(tmp_path / "s", "classes")
    for index, pixels in frames.items():
        np.testing.assert_array_equal(reader.read(SEQUENCE, index), pixels)
    assert not reader.has(SEQUENCE, 1) and not reader.has(SEQUENCE, 70)


def test_a_sealed_document_of_other_codecs_is_read_by_zarr(tmp_path: Path) -> None:
    frames = foreign_copy(tmp_path / "s", LAYOUTS[0][1])
    document = tmp_path / "s" / SEQUENCE / "classes" / "zarr.json"
    content = json.loads(document.read_text())
    document.write_bytes(seal({**content, "attributes": {"values": 19}}))
    reader = LabelReader(tmp_path / "s", "classes")
    np.testing.assert_array_equal(reader.read(SEQUENCE, 63), frames[63])


def test_other_formats_are_checked_against_the_commit(tmp_path: Path) -> None:
    foreign_copy(tmp_path / "s", LAYOUTS[3][1])
    reader = LabelReader(tmp_path / "s", "classes")
    np.testing.assert_array_equal(reader.read(SEQUENCE, 63), frame(63))
    labels = zarr.open_array(tmp_path / "s" / SEQUENCE / "classes", mode="r+")
    labels[63] = frame(64)
    # Such a format may have no checksum, so that every read is compared with the commit.
    with pytest.raises(CorruptLabelsError, match="frame 63 of .*not the pixels"):
        reader.read(SEQUENCE, 63)
    chunk = next((tmp_path / "s" / SEQUENCE / "classes").glob("c/0/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(CorruptLabelsError, match="frame 0 of"):
        LabelReader(tmp_path / "s", "classes").read(SEQUENCE, 0)


def test_shard_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "c.0.0.0"
    path.write_bytes(b"".join(encode_shard({2: b"abcdefg", 63: b"hijklmnop"})))
    data = path.read_bytes()
    assert len(data) == 16 + 64 * 16 + 4
    index = np.frombuffer(data[16:-4], "<u8").reshape(64, 2)
    assert index[2].tolist() == [0, 7] and index[63].tolist() == [7, 9]
    assert (np.delete(index, [2, 63], axis=0) == 2**64 - 1).all()
    assert int.from_bytes(data[-4:], "little") == google_crc32c.value(data[16:-4])
    assert read_chunk(path, 2) == b"abcdefg" and read_chunk(path, 3) is None
    assert read_chunks(path) == {2: b"abcdefg", 63: b"hijklmnop"}
    assert read_chunk(tmp_path / "absent", 0) is None and read_chunks(tmp_path / "absent") == {}


@pytest.mark.parametrize("entry", [(0, 17), (9, 8), (2**64 - 1, 4), (0, 4), (2**63, 2**63)])
def test_an_index_that_points_outside(tmp_path: Path, entry: tuple[int, int]) -> None:
    data = bytearray(b"".join(encode_shard({2: b"abcdefghijklmnop"})))
    data[16 + 32 : 16 + 48] = np.array(entry, "<u8").tobytes()
    data[-4:] = int(google_crc32c.value(bytes(data[16:-4]))).to_bytes(4, "little")
    (tmp_path / "shard").write_bytes(data)
    with pytest.raises(ShardError, match="outside the file"):
        read_chunk(tmp_path / "shard", 2)


def test_any_flipped_bit_of_a_chunk_is_seen() -> None:
    chunk = encode_frame(frame(1))
    for bit in range(len(chunk) * 8):
        damaged = bytearray(chunk)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ShardError):
            decode_frame(bytes(damaged), (4, 6))
    with pytest.raises(ShardError):
        decode_frame(chunk, (4, 5))


@given(size=sizes, values=st.integers(1, 255), seed=st.integers(0, 9))
def test_histogram_equals_bincount(size: tuple[int, int], values: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, values, size).astype(np.uint8)
    labels.ravel()[0] = 255
    counts = chunks.histogram(labels, values=values)
    expected = np.bincount(labels.ravel(), minlength=256)
    assert counts.tolist() == [*expected[:values].tolist(), expected[255]]


def test_a_commit_chunk_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "c.0").write_bytes(protect(bytes(63 * 8)))
    with pytest.raises(CorruptLabelsError, match="504 bytes, not 512"):
        chunks.read_words(tmp_path, 0)


def test_documents_in_order_of_creation() -> None:
    array = Description(name="groups_4", length=5, size=(2, 3), values=4)
    names = [path.name for path in documents(Path("x"), array)]
    assert names == ["groups_4_counts", "groups_4_commit", "groups_4"]
