"""The chunk files of a label array as bytes: shards of frames, and beside them words and counts.

A shard file holds up to 64 compressed frames, then an index under a checksum: zarr v3's
sharding_indexed codec with inner codecs bytes, zstd, crc32c and the index at the end
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/). It is written here
because zarr-python gives no say in when a shard reaches the disk or which frames it decodes again,
and reads a single frame at twelve times the cost.

A frame's commit word is a uint64: bits 0-31 the crc32c of its decoded pixels, bit 32 done, bit 33
failed. The rename of a chunk of words is the commit of the frames in that chunk.
"""

import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from google_crc32c import value as crc32c
from jaxtyping import Bool, UInt8, UInt32, UInt64
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.manifests import disk
from xdistill.pipeline.store.errors import CorruptLabelsError
from xdistill.pipeline.store.format import COMMIT_SUFFIX, SHARD_FRAMES, ZSTD_LEVEL
from xdistill.pipeline.store.metadata import repair_remedy, store_around

ABSENT = 2**64 - 1
"""Offset and length, in the index, of a frame that the shard lacks."""
CHECKSUM_BYTES = 4
EXACT_PIXELS = 1 << 24
"""As many as OpenCV counts exactly, in float32."""
INDEX_ENTRY = struct.Struct("<QQ")
"""Offset and length in bytes of one frame."""
INDEX_BYTES = SHARD_FRAMES * INDEX_ENTRY.size + CHECKSUM_BYTES
SHARD_NAME = re.compile(r"c\.(0|[1-9][0-9]*)\.0\.0")
WORDS_NAME = re.compile(r"c\.(0|[1-9][0-9]*)")
COUNTS_NAME = re.compile(r"c\.(0|[1-9][0-9]*)\.0")
"""Names of the three files of a shard; the number is the group."""

Labels = UInt8[np.ndarray, "height width"]
DONE = np.uint64(1 << 32)
FAILED = np.uint64(1 << 33)
CHECKSUM_MASK = np.uint64(0xFFFFFFFF)

Words = UInt64[np.ndarray, " frames"]
Counts = UInt32[np.ndarray, "*frames values_and_ignore"]


def shard_path(folder: Path, number: int) -> Path:
    """File of a shard in a label array's folder."""
    return folder / f"c.{number}.0.0"


class ShardError(ValueError):
    """Bytes of a shard that are not what was written; the caller names the frame."""


def checksum(data: bytes | Labels) -> int:
    """crc32c (RFC 3720) of bytes or of a contiguous array."""
    return int(crc32c(data))


def protect(data: bytes) -> bytes:
    """Append the checksum, as zarr's crc32c codec does."""
    return data + checksum(data).to_bytes(CHECKSUM_BYTES, "little")


def unprotect(data: bytes) -> bytes:
    """Check and strip the checksum.

    Raises:
        ShardError: The checksum does not match.
    """
    body, stored = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if checksum(body).to_bytes(CHECKSUM_BYTES, "little") != stored:
        raise ShardError("the checksum does not match")
    return body


def encode_frame(labels: Labels, *, level: int = ZSTD_LEVEL) -> bytes:
    """Compress one frame (H, W) to the bytes of its inner chunk."""
    return protect(bytes(Zstd(level=level).encode(np.ascontiguousarray(labels))))


def decode_frame(chunk: bytes, size: tuple[int, int]) -> Labels:
    """Inverse of ``encode_frame``: a writable (H, W) uint8.

    A chunk of fewer pixels than ``size`` is not noticed here: compare with the commit's checksum.

    Raises:
        ShardError: The checksum does not match, or the chunk has more pixels than ``size``.
    """
    body = unprotect(chunk)
    labels = np.empty(size, np.uint8)
    try:
        Zstd(level=ZSTD_LEVEL).decode(body, out=labels)
    except (RuntimeError, ValueError) as error:
        raise ShardError(str(error)) from error
    return labels


def encode_shard(chunks: Mapping[int, bytes]) -> list[bytes]:
    """Lay out a shard file: chunks in the order of their slots (0-63), then the index."""
    entries = [(ABSENT, ABSENT)] * SHARD_FRAMES
    position = 0
    for slot in sorted(chunks):
        entries[slot] = position, len(chunks[slot])
        position += len(chunks[slot])
    index = b"".join(INDEX_ENTRY.pack(*entry) for entry in entries)
    return [*(chunks[slot] for slot in sorted(chunks)), protect(index)]


def read_frame(path: Path, slot: int, size: tuple[int, int]) -> Labels:
    """Read the labels (H, W) of one slot of a shard file.

    Raises:
        ShardError: The frame is missing or damaged, or the file cannot be read.
    """
    chunk = read_chunk(path, slot)
    if chunk is None:
        raise ShardError("missing from its shard" if path.exists() else "no shard file")
    return decode_frame(chunk, size)


def read_chunk(path: Path, slot: int) -> bytes | None:
    """Read the inner chunk of one slot; None where the shard or its file is missing.

    Raises:
        ShardError: The index is damaged or points outside the file, or the file cannot be read.
    """
    with _opened(path) as handle:
        if handle is None:
            return None
        index, size = _index(handle, path)
        return _chunk(handle, index, size, slot)


def read_chunks(path: Path) -> dict[int, bytes]:
    """Read all inner chunks of a shard file, by slot; none if there is no file.

    Raises:
        ShardError: The index is damaged or points outside the file, or the file cannot be read.
    """
    with _opened(path) as handle:
        if handle is None:
            return {}
        index, size = _index(handle, path)
        found = ((slot, _chunk(handle, index, size, slot)) for slot in range(SHARD_FRAMES))
        return {slot: chunk for slot, chunk in found if chunk is not None}


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """A handle of a shard file; None if there is no file."""
    handle = None
    try:
        with suppress(FileNotFoundError):
            # Not disk.open_regular, whose look before opening costs a read 3 %: _index looks.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        yield handle
    except OSError as error:
        # A failing disk, or a folder in place of the file, is damage like any other.
        raise ShardError(f"cannot be read: {error.strerror}") from error
    finally:
        if handle is not None:
            os.close(handle)


def _index(handle: int, path: Path) -> tuple[bytes, int]:
    """The index and where it begins in the file."""
    status = os.fstat(handle)
    disk.require_regular(path, status.st_mode)
    begin = status.st_size - INDEX_BYTES
    if begin < 0:
        raise ShardError("the file is truncated")
    return unprotect(os.pread(handle, INDEX_BYTES, begin)), begin


def _chunk(handle: int, index: bytes, end: int, slot: int) -> bytes | None:
    offset, length = INDEX_ENTRY.unpack_from(index, slot * INDEX_ENTRY.size)
    if offset == length == ABSENT:
        return None
    if offset + length > end or length <= CHECKSUM_BYTES:
        raise ShardError("the index points outside the file")
    return os.pread(handle, length, offset)


def done_word(labels: Labels) -> np.uint64:
    """The commit word of a frame (H, W) with labels."""
    return np.uint64(checksum(labels)) | DONE


def is_done(words: Words) -> Bool[np.ndarray, " frames"]:
    """Which frames are committed."""
    return np.asarray(words & DONE != 0, np.bool_)


def is_failed(words: Words) -> Bool[np.ndarray, " frames"]:
    """Which frames failed at the last attempt."""
    return np.asarray(words & FAILED != 0, np.bool_)


def matches(labels: Labels, word: np.uint64) -> bool:
    """Whether the word commits these pixels (H, W)."""
    return checksum(labels) == int(word & CHECKSUM_MASK)


def histogram(labels: UInt8[np.ndarray, "*shape"], *, values: int) -> Counts:
    """Count each value of a frame.

    Args:
        labels: Pixels of any shape: 0 to ``values`` - 1, or 255.
        values: Number of values besides ignore.

    Returns:
        Counts (values + 1,), ignore last.

    Raises:
        ValueError: A pixel has a value that the array cannot hold.
    """
    kinds = [*range(values), IGNORE_INDEX]
    flat = np.ascontiguousarray(labels).reshape(1, -1)
    if labels.size <= EXACT_PIXELS:
        # Half the time of bincount, and of a comparison and a count for each value.
        found = cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel()
    else:
        found = np.bincount(flat[0], minlength=256)
    counts = found[kinds].astype(np.uint32)
    if int(counts.sum(dtype=np.int64)) != labels.size:
        unknown = sorted(set(np.unique(labels).tolist()) - set(kinds))
        raise ValueError(f"label value {unknown[0]}")
    return counts


def chunk_path(folder: Path, shard: int) -> Path:
    """File of a shard's words."""
    return folder / f"c.{shard}"


def counts_path(folder: Path, shard: int) -> Path:
    """File of a shard's counts."""
    return folder / f"c.{shard}.0"


def shards_on_disk(folder: Path) -> list[int]:
    """Numbers of the shards of a label array that have labels or a commit record, ascending.

    Args:
        folder: The label array's own.
    """
    # In this order, so that a shard whose record is renamed while one looks shows by its labels.
    labels = numbered(folder, SHARD_NAME)
    return sorted(labels | numbered(folder.with_name(folder.name + COMMIT_SUFFIX), WORDS_NAME))


def numbered(folder: Path, form: re.Pattern[str]) -> set[int]:
    """Numbers of the shards that have a file of this form in a folder; none without the folder."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {int(found[1]) for name in names if (found := form.fullmatch(name))}


def read_words(folder: Path, shard: int) -> Words:
    """The commit words (64,) of a shard; zero where nothing was written yet.

    Raises:
        CorruptLabelsError: The chunk does not match its checksum, or is missing beside its shard.
    """
    path = chunk_path(folder, shard)
    body = _read_record(path, SHARD_FRAMES * 8)
    labels = shard_path(folder.with_name(folder.name.removesuffix(COMMIT_SUFFIX)), shard)
    if body is None and labels.exists():
        # Words come before their shard: a writer at work has written them by now.
        body = _read_record(path, SHARD_FRAMES * 8)
        if body is None:
            raise CorruptLabelsError(
                "the commit record is missing",
                expected="a file, as the shard of labels exists",
                where=path,
                remedy=repair_remedy(store_around(path)),
            )
    if body is None:
        return np.zeros(SHARD_FRAMES, np.uint64)
    return np.frombuffer(body, "<u8").astype(np.uint64)


def read_counts(folder: Path, shard: int, *, values: int) -> Counts:
    """The counts (64, values + 1) of a shard; zero where nothing was written yet.

    Raises:
        CorruptLabelsError: The chunk does not match its checksum.
    """
    body = _read_record(counts_path(folder, shard), SHARD_FRAMES * (values + 1) * 4)
    if body is None:
        return np.zeros((SHARD_FRAMES, values + 1), np.uint32)
    return np.frombuffer(body, "<u4").astype(np.uint32).reshape(SHARD_FRAMES, values + 1)


def write_words(folder: Path, shard: int, words: Words) -> None:
    """Commit: from this rename on, the words hold."""
    disk.write(chunk_path(folder, shard), [protect(words.astype("<u8").tobytes())])


def write_counts(folder: Path, shard: int, counts: Counts) -> None:
    """Replace a shard's counts; rows of frames that are not committed mean nothing."""
    disk.write(counts_path(folder, shard), [protect(counts.astype("<u4").tobytes())])


def _read_record(path: Path, size: int) -> bytes | None:
    try:
        data = disk.read_bytes(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CorruptLabelsError(
            f"the commit record cannot be read: {error.strerror}",
            where=path,
            remedy=repair_remedy(store_around(path)),
        ) from error
    try:
        body = unprotect(data)
        if len(body) != size:
            raise ShardError(f"{len(body)} bytes, not {size}")
    except ShardError as error:
        raise CorruptLabelsError(
            f"the commit record is damaged: {error}",
            where=path,
            remedy=repair_remedy(store_around(path)),
        ) from error
    return body
