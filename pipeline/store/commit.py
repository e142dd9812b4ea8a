"""The companions of a label array: what is committed, and how often each value occurs.

A frame's commit word is a uint64: bits 0-31 the crc32c of its decoded pixels, bit 32 done, bit 33
failed. The rename of a chunk of words is the commit of the frames in that chunk.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8, UInt32, UInt64

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.manifests import atomic
from xdistill.pipeline.store.errors import CorruptLabelsError
from xdistill.pipeline.store.format import COMMIT_SUFFIX, SHARD_FRAMES, repair_remedy, store_around
from xdistill.pipeline.store.shard import (
    Labels,
    ShardError,
    checksum,
    protect,
    shard_path,
    unprotect,
)

DONE = np.uint64(1 << 32)
FAILED = np.uint64(1 << 33)
CHECKSUM_MASK = np.uint64(0xFFFFFFFF)

Words = UInt64[np.ndarray, " frames"]
Counts = UInt32[np.ndarray, "*frames values_and_ignore"]


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
    # Up to some twenty values, a comparison and a count for each beat a histogram.
    kinds = [*range(values), IGNORE_INDEX]
    counts = np.array([np.count_nonzero(labels == kind) for kind in kinds], np.uint32)
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


def read_words(folder: Path, shard: int) -> Words:
    """The commit words (64,) of a shard; zero where nothing was written yet.

    Raises:
        CorruptLabelsError: The chunk does not match its checksum, or is missing beside its shard.
    """
    path = chunk_path(folder, shard)
    body = _read(path, SHARD_FRAMES * 8)
    labels = shard_path(folder.with_name(folder.name.removesuffix(COMMIT_SUFFIX)), shard)
    if body is None and labels.exists():
        # Words come before their shard: a writer at work has written them by now.
        body = _read(path, SHARD_FRAMES * 8)
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
    body = _read(counts_path(folder, shard), SHARD_FRAMES * (values + 1) * 4)
    if body is None:
        return np.zeros((SHARD_FRAMES, values + 1), np.uint32)
    return np.frombuffer(body, "<u4").astype(np.uint32).reshape(SHARD_FRAMES, values + 1)


def write_words(folder: Path, shard: int, words: Words) -> None:
    """Commit: from this rename on, the words hold."""
    atomic.write(chunk_path(folder, shard), [protect(words.astype("<u8").tobytes())])


def write_counts(folder: Path, shard: int, counts: Counts) -> None:
    """Replace a shard's counts; rows of frames that are not committed mean nothing."""
    atomic.write(counts_path(folder, shard), [protect(counts.astype("<u4").tobytes())])


def _read(path: Path, size: int) -> bytes | None:
    try:
        data = path.read_bytes()
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
