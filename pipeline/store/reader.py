"""Reading single frames at random, as training does: a few system calls and one decompression.

Nothing is kept open between reads, so that a reader may be pickled to a worker process, or be
there when a process forks; zarr-python, where it must read, starts its thread afresh after a fork.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.store import commit, shard
from xdistill.pipeline.store.errors import CorruptLabelsError, UncommittedFrameError
from xdistill.pipeline.store.format import (
    CHECKSUM,
    COMMIT_SUFFIX,
    DOCUMENT,
    SHARD_FRAMES,
    described,
    label_document,
    read_document,
    repair_remedy,
    seal,
)
from xdistill.pipeline.store.shard import Labels, ShardError


class _Frames(Protocol):
    """Where pixels and commit words of one array come from."""

    @property
    def length(self) -> int:
        """Number of frames."""

    @property
    def checksummed(self) -> bool:
        """Whether damage to a compressed frame is seen without its commit."""

    def words(self, number: int) -> commit.Words:
        """Commit words (64,) of a shard."""

    def labels(self, index: int) -> Labels:
        """Pixels (H, W) of a frame. Raises ShardError."""


class LabelReader:
    """Reads committed frames of one array name over all sequences of a store.

    Args:
        path: Folder of the store.
        name: ``classes``, ``confidence``, ``groups_4``.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = Path(path)
        self.name = name
        self._forget()

    def _forget(self) -> None:
        self._frames: dict[str, _Frames] = {}
        self._words: dict[tuple[str, int], commit.Words] = {}
        self._checked: set[tuple[str, int]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.name = state["path"], state["name"]
        self._forget()

    def has(self, sequence: str, index: int) -> bool:
        """Whether a frame is committed.

        Raises:
            CorruptLabelsError: Metadata or commit record are damaged.
        """
        if self._word(sequence, index) & commit.DONE:
            return True
        # It may have been committed since, or the array may have grown.
        self._words.pop((sequence, index // SHARD_FRAMES), None)
        source = self._source(sequence)
        if source is not None and index >= source.length:
            del self._frames[sequence]
        return bool(self._word(sequence, index) & commit.DONE)

    def read(self, sequence: str, index: int) -> Labels:
        """The labels (H, W) uint8 of a committed frame.

        Every read is checked against the checksum of the compressed bytes, the first one of a
        frame also against its commit.

        Raises:
            UncommittedFrameError: The frame has no labels; the command that makes them is named.
            CorruptLabelsError: The pixels are not those that were committed.
        """
        if not self.has(sequence, index):
            raise self._uncommitted(sequence, index)
        try:
            labels = self._frames[sequence].labels(index)
            if (sequence, index) not in self._checked:
                self._check(sequence, index, labels)
        except ShardError as error:
            raise CorruptLabelsError(
                f"frame {index} of {sequence}/{self.name} is damaged: {error}",
                where=self.path.absolute(),
                remedy=repair_remedy(self.path),
            ) from error
        return labels

    def _check(self, sequence: str, index: int, labels: Labels) -> None:
        """Compare with the commit; pixels of 1242x375 take a quarter of the time of a read."""
        if not commit.matches(labels, self._word(sequence, index)):
            # It may have been repaired since its commit word was read.
            self._words.pop((sequence, index // SHARD_FRAMES), None)
            if not commit.matches(labels, self._word(sequence, index)):
                raise ShardError("not the pixels that were committed")
        if self._frames[sequence].checksummed:
            self._checked.add((sequence, index))

    def _source(self, sequence: str) -> _Frames | None:
        """The sequence's array; None where there is none."""
        if sequence not in self._frames:
            folder = self.path / sequence / self.name
            if not folder.is_dir():
                return None
            self._frames[sequence] = _open(folder)
        return self._frames[sequence]

    def _word(self, sequence: str, index: int) -> np.uint64:
        """The commit word of a frame; 0 where there is no such frame or array."""
        source = self._source(sequence)
        if source is None or not 0 <= index < source.length:
            return np.uint64(0)
        number, slot = divmod(index, SHARD_FRAMES)
        if (sequence, number) not in self._words:
            self._words[sequence, number] = source.words(number)
        return np.uint64(self._words[sequence, number][slot])

    def _uncommitted(self, sequence: str, index: int) -> UncommittedFrameError:
        groups = self.name.removeprefix("groups_")
        command = "xd-pipeline segment --store"
        if groups != self.name:
            command = f"xd-pipeline regroup --scheme {groups} --store"
        return UncommittedFrameError(
            f"frame {index} of {sequence} has no labels in {self.name}",
            where=self.path.absolute(),
            remedy=f"run {command} {self.path}",
        )


@dataclass(frozen=True, slots=True)
class _Shards:
    """An array in this store's own format, read directly."""

    folder: Path
    length: int
    size: tuple[int, int]
    checksummed: bool = True

    def words(self, number: int) -> commit.Words:
        name = self.folder.name + COMMIT_SUFFIX
        return commit.read_words(self.folder.with_name(name), number)

    def labels(self, index: int) -> Labels:
        number, slot = divmod(index, SHARD_FRAMES)
        return shard.read_frame(shard.shard_path(self.folder, number), slot, self.size)


class _Zarr:
    """An array in any other format, as after a copy with other codecs: zarr-python reads it."""

    checksummed = False

    def __init__(self, folder: Path) -> None:
        import zarr

        try:
            self._labels = zarr.open_array(folder, mode="r")
            commits = zarr.open_array(folder.with_name(folder.name + COMMIT_SUFFIX), mode="r")
            words = np.asarray(commits[:], np.uint64)
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError) as error:
            raise CorruptLabelsError(
                f"an array that zarr cannot open: {error}",
                where=folder,
                remedy=repair_remedy(folder),
            ) from error
        self._all_words: NDArray[np.uint64] = np.pad(words, (0, -len(words) % SHARD_FRAMES))
        self.length = min(self._labels.shape[0], len(words))

    def words(self, number: int) -> commit.Words:
        return self._all_words[number * SHARD_FRAMES :][:SHARD_FRAMES]

    def labels(self, index: int) -> Labels:
        try:
            return np.ascontiguousarray(self._labels[index], np.uint8)
        except (ValueError, RuntimeError, OSError) as error:
            raise ShardError(str(error)) from error


def _open(folder: Path) -> _Frames:
    """Choose the way to read by the array's metadata."""
    try:
        document = read_document(folder)
    except CorruptLabelsError:
        if _is_sealed(folder / DOCUMENT):
            raise
        return _Zarr(folder)
    description = described(document, folder.name)
    if description is None or label_document(description) != seal(document):
        return _Zarr(folder)
    return _Shards(folder, description.length, description.size)


def _is_sealed(path: Path) -> bool:
    """Whether a document was written by this store, and is therefore damaged, not foreign."""
    try:
        return not path.is_file() or f'"{CHECKSUM}"'.encode() in path.read_bytes()
    except OSError:
        return True
