"""Reading single frames at random, as training does: a few system calls and one decompression.

Nothing stays open between reads, so that a reader can be pickled to a worker process or survive a
fork; zarr-python, where it must read, starts its thread afresh after a fork.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.scheme import Scheme, load_scheme, remap
from xdistill.manifests.disk import PathLike, as_path
from xdistill.pipeline.kitti.frames import Frame, as_frame
from xdistill.pipeline.store import chunks
from xdistill.pipeline.store.chunks import Labels, ShardError
from xdistill.pipeline.store.errors import (
    CorruptLabelsError,
    LabelStoreError,
    UncommittedFrameError,
)
from xdistill.pipeline.store.format import COMMIT_SUFFIX, DOCUMENT, SHARD_FRAMES, described
from xdistill.pipeline.store.metadata import (
    is_sealed,
    label_remedy,
    read_document,
    repair_remedy,
    store_around,
)
from xdistill.pipeline.store.store import LabelStore


@runtime_checkable
class _Frames(Protocol):
    """Where the pixels and commit words of one array come from."""

    @property
    def length(self) -> int:
        """Number of frames."""

    @property
    def checksummed(self) -> bool:
        """Whether damage to a compressed frame shows without its commit."""

    def shards(self) -> Iterable[int]:
        """Numbers of the shards that may hold frames, ascending."""

    def words(self, number: int) -> chunks.Words:
        """Commit words (64,) of a shard."""

    def labels(self, index: int) -> Labels:
        """Pixels (H, W) of a frame. Raises ShardError."""


class LabelReader:
    """Reads the committed frames of one array name over all sequences of a store.

    ``reader[frame]`` gives a frame's labels, ``len(reader)`` the number of committed frames,
    ``frame in reader`` whether one is committed, and a loop over the reader their frames.

    Args:
        path: Folder of the store.
        name: ``classes``, ``confidence``, ``groups_4``.
        scheme: Replaces train ids by their groups as they are read; None gives what is stored.
    """

    def __init__(
        self, path: PathLike, name: str = "classes", *, scheme: Scheme | None = None
    ) -> None:
        self.path = as_path(path)
        self.name = name
        self.scheme = scheme
        self._forget()

    def _forget(self) -> None:
        self._frames: dict[str, _Frames] = {}
        self._words: dict[tuple[str, int], chunks.Words] = {}
        self._checked: set[tuple[str, int]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "name": self.name, "scheme": self.scheme}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.name, self.scheme = state["path"], state["name"], state["scheme"]
        self._forget()

    def __repr__(self) -> str:
        what = self.name if self.scheme is None else f"{self.scheme.array} from {self.name}"
        try:
            return f"<LabelReader of {self.path}: {what} of {len(self)} frames>"
        except LabelStoreError as error:
            return f"<LabelReader of {self.path}: {what}, {error.headline}>"

    def __len__(self) -> int:
        return sum(len(self._committed(sequence)) for sequence in self._sequences())

    def __iter__(self) -> Iterator[Frame]:
        for sequence in self._sequences():
            for index in self._committed(sequence):
                yield Frame.of_sequence(sequence, index)

    def __contains__(self, frame: Frame | str) -> bool:
        found = as_frame(frame)
        return self.has(found.sequence, found.index)

    def __getitem__(self, frame: Frame | str) -> Labels:
        """The labels (H, W) uint8 of a committed frame; see ``read``.

        Args:
            frame: A frame, or its split line ``2011_09_26/2011_09_26_drive_0013_sync 50 l``.
        """
        found = as_frame(frame)
        return self.read(found.sequence, found.index)

    def _sequences(self) -> list[str]:
        store = LabelStore.open(self.path)
        return [sequence for sequence in store.sequences() if store.has(sequence, self.name)]

    def _committed(self, sequence: str) -> list[int]:
        """Numbers of a sequence's committed frames as they are on disk now."""
        source = _open(self.path / sequence / self.name)
        return [
            number * SHARD_FRAMES + slot
            for number in source.shards()
            for slot in chunks.is_done(source.words(number)).nonzero()[0].tolist()
            if number * SHARD_FRAMES + slot < source.length
        ]

    def has(self, sequence: str, index: int) -> bool:
        """Whether a frame is committed.

        Raises:
            CorruptLabelsError: The metadata or the commit record is damaged.
        """
        if self._word(sequence, index) & chunks.DONE:
            return True
        # The frame may have been committed since, or the array may have grown.
        self._words.pop((sequence, index // SHARD_FRAMES), None)
        source = self._source(sequence)
        if source is not None and index >= source.length:
            del self._frames[sequence]
        return bool(self._word(sequence, index) & chunks.DONE)

    def read(self, sequence: str, index: int) -> Labels:
        """The labels (H, W) uint8 of a committed frame, or its groups by the scheme.

        Every read is checked against the checksum of the compressed bytes, a frame's first read
        also against its commit.

        Raises:
            UncommittedFrameError: The frame has no labels; the message names the command that
                makes them.
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
        return labels if self.scheme is None else remap(labels, self.scheme)

    def _check(self, sequence: str, index: int, labels: Labels) -> None:
        """Compare with the commit; at 1242x375 this takes a quarter of the time of a read."""
        if not chunks.matches(labels, self._word(sequence, index)):
            # The frame may have been repaired since its commit word was read.
            self._words.pop((sequence, index // SHARD_FRAMES), None)
            if not chunks.matches(labels, self._word(sequence, index)):
                raise ShardError("not the pixels that were committed")
        if self._frames[sequence].checksummed:
            self._checked.add((sequence, index))

    def _source(self, sequence: str) -> _Frames | None:
        """The sequence's array; None if there is none."""
        if sequence not in self._frames:
            folder = self.path / sequence / self.name
            if not folder.is_dir():
                return None
            self._frames[sequence] = _open(folder)
        return self._frames[sequence]

    def _word(self, sequence: str, index: int) -> np.uint64:
        """The commit word of a frame; 0 if there is no such frame or array."""
        source = self._source(sequence)
        if source is None or not 0 <= index < source.length:
            return np.uint64(0)
        number, slot = divmod(index, SHARD_FRAMES)
        if (sequence, number) not in self._words:
            self._words[sequence, number] = source.words(number)
        return np.uint64(self._words[sequence, number][slot])

    def _uncommitted(self, sequence: str, index: int) -> UncommittedFrameError:
        return UncommittedFrameError(
            f"frame {index} of {sequence} has no labels in {self.name}",
            where=self.path.absolute(),
            remedy=label_remedy(self.path, self.name),
        )


def open_store(path: PathLike, *, scheme: str | Scheme | None = None) -> LabelReader:
    """Open a label store to read frames from: ``open_store("labels.zarr", scheme="4")[frame]``.

    Args:
        path: Folder of the store.
        scheme: Grouping by name (``4``, ``2``, ``19``), a TOML file of your own, or a ``Scheme``;
            None gives train ids. Groups equal those that ``xd-pipeline regroup`` stores.

    Returns:
        A reader of the store's classes.

    Raises:
        LabelStoreError: There is no label store, it is damaged, or of a newer version.
        ManifestError: The scheme is unknown or breaks its form.
    """
    LabelStore.open(path)
    grouping = load_scheme(scheme) if isinstance(scheme, str) else scheme
    return LabelReader(path, scheme=grouping)


@dataclass(frozen=True, slots=True)
class _Shards:
    """An array in this store's own format, read directly."""

    folder: Path
    length: int
    size: tuple[int, int]
    checksummed: bool = True

    def shards(self) -> list[int]:
        return chunks.shards_on_disk(self.folder)

    def words(self, number: int) -> chunks.Words:
        name = self.folder.name + COMMIT_SUFFIX
        return chunks.read_words(self.folder.with_name(name), number)

    def labels(self, index: int) -> Labels:
        number, slot = divmod(index, SHARD_FRAMES)
        return chunks.read_frame(chunks.shard_path(self.folder, number), slot, self.size)


class _Zarr:
    """An array in any other format, such as a copy with other codecs: zarr-python reads it."""

    checksummed = False

    def __init__(self, folder: Path) -> None:
        import zarr

        try:
            # Not zarr 2: its metadata may name a codec that unpickles what it reads.
            self._labels = zarr.open_array(folder, mode="r", zarr_format=3)
            beside = folder.with_name(folder.name + COMMIT_SUFFIX)
            commits = zarr.open_array(beside, mode="r", zarr_format=3)
            words = np.asarray(commits[:], np.uint64)
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError) as error:
            raise CorruptLabelsError(
                f"zarr cannot open the array: {error}",
                where=folder,
                remedy=repair_remedy(store_around(folder)),
            ) from error
        self._all_words: NDArray[np.uint64] = np.pad(words, (0, -len(words) % SHARD_FRAMES))
        self.length = min(self._labels.shape[0], len(words))

    def shards(self) -> range:
        return range(-(-self.length // SHARD_FRAMES))

    def words(self, number: int) -> chunks.Words:
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
        if is_sealed(folder / DOCUMENT) or not (folder / DOCUMENT).exists():
            raise
        return _Zarr(folder)
    description = described(document, folder)
    if description is None:
        return _Zarr(folder)
    return _Shards(folder, description.length, description.size)
