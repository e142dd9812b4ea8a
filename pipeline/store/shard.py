"""A shard file as bytes: up to 64 compressed frames, then an index under a checksum.

This is zarr v3's sharding_indexed codec with inner codecs bytes, zstd, crc32c and the index at the
end (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/). It is written here
because zarr-python gives no say in when a shard reaches the disk or which frames it decodes again,
and reads a single frame at twelve times the cost.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from google_crc32c import value as crc32c
from jaxtyping import UInt8
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

from xdistill.pipeline.store.format import SHARD_FRAMES, ZSTD_LEVEL

ABSENT = 2**64 - 1
"""Offset and length, in the index, of a frame that the shard lacks."""
CHECKSUM_BYTES = 4
INDEX_ENTRY = struct.Struct("<QQ")
"""Offset and length in bytes of one frame."""
INDEX_BYTES = SHARD_FRAMES * INDEX_ENTRY.size + CHECKSUM_BYTES

Labels = UInt8[np.ndarray, "height width"]


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


def encode_frame(labels: Labels) -> bytes:
    """Compress one frame (H, W) to the bytes of its inner chunk."""
    return protect(bytes(Zstd(level=ZSTD_LEVEL).encode(np.ascontiguousarray(labels))))


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
        index, size = _index(handle)
        return _chunk(handle, index, size, slot)


def read_chunks(path: Path) -> dict[int, bytes]:
    """Read all inner chunks of a shard file, by slot; none if there is no file.

    Raises:
        ShardError: The index is damaged or points outside the file, or the file cannot be read.
    """
    with _opened(path) as handle:
        if handle is None:
            return {}
        index, size = _index(handle)
        found = ((slot, _chunk(handle, index, size, slot)) for slot in range(SHARD_FRAMES))
        return {slot: chunk for slot, chunk in found if chunk is not None}


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """A handle of a shard file; None if there is no file."""
    handle = None
    try:
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
        yield handle
    except OSError as error:
        # A failing disk, or a folder in place of the file, is damage like any other.
        raise ShardError(f"cannot be read: {error.strerror}") from error
    finally:
        if handle is not None:
            os.close(handle)


def _index(handle: int) -> tuple[bytes, int]:
    """The index and where it begins in the file."""
    begin = os.fstat(handle).st_size - INDEX_BYTES
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
