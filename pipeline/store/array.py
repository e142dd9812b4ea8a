"""One label array of a store: its frames, their commits, and how frames get in."""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.manifests import disk
from xdistill.pipeline.store import chunks
from xdistill.pipeline.store.chunks import Labels, ShardError
from xdistill.pipeline.store.errors import (
    CorruptLabelsError,
    LabelStoreError,
    UncommittedFrameError,
)
from xdistill.pipeline.store.format import (
    COMMIT_SUFFIX,
    COUNTS_SUFFIX,
    SHARD_FRAMES,
    Description,
)
from xdistill.pipeline.store.leases import Leases, disk_errors
from xdistill.pipeline.store.metadata import label_remedy, repair_remedy, store_around


class LabelArray:
    """The labels (T, H, W) of one sequence under one name, opened by a ``LabelStore``."""

    def __init__(self, sequence: Path, description: Description, leases: Leases | None) -> None:
        self.folder = sequence / description.name
        self._description = description
        self._leases = leases
        self._words_folder = sequence / (description.name + COMMIT_SUFFIX)
        self._counts_folder = sequence / (description.name + COUNTS_SUFFIX)

    @property
    def name(self) -> str:
        """``classes``, ``confidence``, ``groups_4``."""
        return self._description.name

    @property
    def length(self) -> int:
        """T, the highest frame number + 1."""
        return self._description.length

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._description.size

    @property
    def values(self) -> int:
        """Labels are 0 to ``values`` - 1, or 255."""
        return self._description.values

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the array was created with: the grouping table, the source's fingerprint."""
        return self._description.attributes

    @property
    def shards(self) -> int:
        """Number of shards, each of 64 frames."""
        return self._description.shards

    def committed(self) -> list[int]:
        """Numbers of the frames that have labels, ascending.

        Raises:
            CorruptLabelsError: A commit record is damaged.
        """
        return [frame for index in self._recorded() for frame in self.committed_in(index)]

    def failed(self) -> list[int]:
        """Numbers of the frames that could not be labelled at the last attempt, ascending.

        Raises:
            CorruptLabelsError: A commit record is damaged.
        """
        return [frame for index in self._recorded() for frame in self.failed_in(index)]

    def committed_in(self, index: int) -> list[int]:
        """As ``committed``, of one shard."""
        return self._numbers(index, chunks.is_done(self.words(index)))

    def failed_in(self, index: int) -> list[int]:
        """As ``failed``, of one shard."""
        return self._numbers(index, chunks.is_failed(self.words(index)))

    def words(self, index: int) -> chunks.Words:
        """The commit words (64,) of a shard; zero where nothing was written yet.

        Raises:
            CorruptLabelsError: The commit record is damaged.
        """
        return chunks.read_words(self._words_folder, index)

    def counts(self, index: int) -> chunks.Counts:
        """How often each value occurs in each frame of a shard, (64, values + 1), ignore last.

        Frames that are not committed have zeros.

        Raises:
            CorruptLabelsError: The commit record is damaged, or the counts of a frame are missing.
        """
        # In this order: beside a writer at work, what is committed by now is counted already.
        done = chunks.is_done(self.words(index))
        counts = chunks.read_counts(self._counts_folder, index, values=self.values)
        uncounted = done & (counts.sum(axis=1, dtype=np.int64) != math.prod(self.size))
        if uncounted.any():
            self._corrupt(self._numbers(index, uncounted)[0], "its pixels are not counted")
        counts[~done] = 0
        return counts

    def totals(self) -> NDArray[np.int64]:
        """How often each value occurs in all committed frames, (values + 1,), ignore last.

        Raises:
            CorruptLabelsError: A commit record is damaged.
        """
        totals = np.zeros(self.values + 1, np.int64)
        for index in self._recorded():
            totals += self.counts(index).sum(axis=0, dtype=np.int64)
        return totals

    def _recorded(self) -> list[int]:
        """Numbers of the shards that have anything on disk, which no frame number makes many."""
        return [index for index in chunks.shards_on_disk(self.folder) if index < self.shards]

    def _numbers(self, index: int, chosen: NDArray[np.bool_]) -> list[int]:
        first = index * SHARD_FRAMES
        return [first + slot for slot in chosen.nonzero()[0].tolist() if first + slot < self.length]

    def read(self, index: int) -> Labels:
        """The labels (H, W) of a committed frame, checked against its commit.

        Raises:
            UncommittedFrameError: The frame has no labels.
            CorruptLabelsError: The pixels are not those that were committed.
        """
        number, slot = self._place(index)
        word = chunks.read_words(self._words_folder, number)[slot]
        if not word & chunks.DONE:
            raise UncommittedFrameError(
                f"{self._named(index)} has no labels",
                where=self.folder,
                remedy=label_remedy(store_around(self.folder), self.name),
            )
        try:
            labels = chunks.read_frame(self._shard_path(number), slot, self.size)
            if not chunks.matches(labels, word):
                raise ShardError("not the pixels that were committed")
        except ShardError as error:
            self._corrupt(index, error)
        return labels

    @contextmanager
    def lease(self, index: int) -> Iterator[bool]:
        """Try to lease shard ``index``; yields False if another writer holds it.

        Call ``committed_in`` again inside: the previous holder may just have done the work.

        Raises:
            LabelStoreError: The store was opened for reading or is read-only, or the file system
                has no locks.
        """
        with self._writable().lease(self.folder, index) as held:
            yield held

    def write_shard(
        self, index: int, frames: Mapping[int, Labels], *, failed: Collection[int] = ()
    ) -> None:
        """Commit frames of one shard; frames already committed keep their pixels.

        The first commit of a frame stands: given again, the frame stays as it is. Only ``retract``
        makes room for other pixels.

        Args:
            index: The shard, holding frames 64 * index to 64 * index + 63.
            frames: Labels (H, W) uint8 by frame number.
            failed: Frames that could not be labelled; the next run retries them.

        Raises:
            LabelStoreError: A frame has another size or an unknown label value, another process
                is writing this shard, or the disk is full or read-only. No committed frame is
                lost.
        """
        for frame in (*frames, *failed):
            if self._place(frame)[0] != index:
                raise ValueError(f"frame {frame} is not in shard {index}")
        with self._exclusively(index):
            words = chunks.read_words(self._words_folder, index)
            done = chunks.is_done(words)
            new = {f % SHARD_FRAMES: f for f in frames if not done[f % SHARD_FRAMES]}
            news = {f % SHARD_FRAMES for f in failed} - set(new) - set(done.nonzero()[0].tolist())
            if new or not chunks.is_failed(words)[list(news)].all():
                self._commit(index, words, {s: frames[f] for s, f in new.items()}, failed=news)

    def retract(self, frames: Collection[int]) -> None:
        """Retract the commits of frames whose labels are damaged, so that they are labelled again.

        A damaged commit record retracts its whole shard.

        Raises:
            LabelStoreError: Another process is writing a shard, or the disk is full or read-only.
        """
        for index in sorted({self._place(frame)[0] for frame in frames}):
            slots = [frame % SHARD_FRAMES for frame in frames if frame // SHARD_FRAMES == index]
            with self._exclusively(index):
                try:
                    words = chunks.read_words(self._words_folder, index)
                except CorruptLabelsError:
                    words = np.zeros(SHARD_FRAMES, np.uint64)
                words[slots] = 0
                chunks.write_words(self._words_folder, index, words)

    def recount(self, index: int) -> None:
        """Recompute the counts of a shard's committed frames from their pixels.

        Raises:
            LabelStoreError: A frame is damaged, or the counts cannot be written.
        """
        with self._exclusively(index):
            counts = np.zeros((SHARD_FRAMES, self.values + 1), np.uint32)
            words = chunks.read_words(self._words_folder, index)
            for slot in chunks.is_done(words).nonzero()[0].tolist():
                frame = index * SHARD_FRAMES + slot
                counts[slot] = self._histogram(frame, self.read(frame))
            chunks.write_counts(self._counts_folder, index, counts)

    def _commit(
        self,
        index: int,
        words: chunks.Words,
        new: Mapping[int, Labels],
        *,
        failed: Collection[int],
    ) -> None:
        """Write the shard, the counts, then the words, whose rename is the commit."""
        counts = chunks.read_counts(self._counts_folder, index, values=self.values)
        words = words.copy()
        encoded = self._kept(index, words) if new else {}
        for slot, labels in new.items():
            counts[slot] = self._histogram(index * SHARD_FRAMES + slot, labels)
            encoded[slot] = chunks.encode_frame(labels, level=self._description.level)
        if not chunks.chunk_path(self._words_folder, index).exists():
            # From then on a shard without a commit record is a loss, never an interrupted write.
            chunks.write_words(self._words_folder, index, words)
        if new:
            disk.write(self._shard_path(index), chunks.encode_shard(encoded))
        chunks.write_counts(self._counts_folder, index, counts)
        words[list(failed)] = chunks.FAILED
        for slot, labels in new.items():
            words[slot] = chunks.done_word(np.ascontiguousarray(labels))
        chunks.write_words(self._words_folder, index, words)

    def _kept(self, index: int, words: chunks.Words) -> dict[int, bytes]:
        """Compressed bytes of a shard's committed frames, as stored."""
        done = chunks.is_done(words).nonzero()[0].tolist()
        if not done:
            return {}
        try:
            stored = chunks.read_chunks(self._shard_path(index))
        except ShardError as error:
            self._corrupt(index * SHARD_FRAMES + done[0], error)
        for slot in done:
            if slot not in stored:
                self._corrupt(index * SHARD_FRAMES + slot, "missing from its shard")
        return {slot: stored[slot] for slot in done}

    def _histogram(self, frame: int, labels: Labels) -> chunks.Counts:
        """Counts of a frame that may be stored."""
        if labels.shape != self.size or labels.dtype != np.uint8:
            raise LabelStoreError(
                f"{self._named(frame)} is {_shown(labels.shape)} {labels.dtype}",
                expected=f"{_shown(self.size)} uint8: a drive has one image size",
                where=self.folder,
                remedy="exclude the frame, or label this drive into another store",
            )
        try:
            return chunks.histogram(labels, values=self.values)
        except ValueError as error:
            raise LabelStoreError(
                f"{self._named(frame)} has {error}",
                expected=f"0 to {self.values - 1}, or {IGNORE_INDEX} for ignore",
                where=self.folder,
                remedy="check that the teacher gives train ids, not label ids",
            ) from error

    @contextmanager
    def _exclusively(self, index: int) -> Iterator[None]:
        """Hold the lease of a shard, unless this opened store already does."""
        leases = self._writable()
        with disk_errors(self.folder):
            if leases.holds(self.folder, index):
                yield
                return
            with leases.lease(self.folder, index) as held:
                if not held:
                    raise LabelStoreError(
                        f"another process is writing shard {index}",
                        where=self.folder,
                        remedy="wait for it and run again, or divide the work with --part i/n",
                    )
                yield

    def _writable(self) -> Leases:
        if self._leases is None:
            raise LabelStoreError("the store was opened for reading", where=self.folder)
        return self._leases

    def _place(self, frame: int) -> tuple[int, int]:
        """Shard and slot of a frame."""
        if not 0 <= frame < self.length:
            raise UncommittedFrameError(
                f"{self._named(frame)} is outside the array",
                expected=f"frames 0 to {self.length - 1}",
                where=self.folder,
                remedy="label the frame first: "
                + label_remedy(store_around(self.folder), self.name),
            )
        return divmod(frame, SHARD_FRAMES)

    def _shard_path(self, index: int) -> Path:
        return chunks.shard_path(self.folder, index)

    def _named(self, frame: int) -> str:
        return f"frame {frame} of {self.name}"

    def _corrupt(self, frame: int, reason: object) -> NoReturn:
        raise CorruptLabelsError(
            f"{self._named(frame)} is damaged: {reason}",
            where=self.folder,
            remedy=repair_remedy(store_around(self.folder)),
        )


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
