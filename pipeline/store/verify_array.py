"""Verification of one label array with its companions: documents, commits, counts and pixels."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xdistill.pipeline.store import chunks
from xdistill.pipeline.store.chunks import COUNTS_NAME, SHARD_NAME, WORDS_NAME, ShardError
from xdistill.pipeline.store.errors import CorruptLabelsError
from xdistill.pipeline.store.format import (
    COMMIT_SUFFIX,
    COUNTS_SUFFIX,
    DOCUMENT,
    SHARD_FRAMES,
    Description,
    documents,
)
from xdistill.pipeline.store.witness import hear

Kind = Literal["metadata", "foreign", "commit", "counts", "frame"]
"""A zarr.json; a group of another store; a chunk of commit words; one of counts; a frame."""
CHUNK_NAMES: dict[str, re.Pattern[str]] = {
    "": SHARD_NAME,
    COMMIT_SUFFIX: WORDS_NAME,
    COUNTS_SUFFIX: COUNTS_NAME,
}
"""Forms of the chunk files' names, by the ending of the folder's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One damaged thing."""

    kind: Kind
    """What is damaged."""
    path: Path
    """Its folder (metadata) or file."""
    reason: str
    """What is wrong with it."""
    sequence: str = ""
    """``<date>/<drive>/image_0X`` of the array; empty for a group's metadata."""
    array: str = ""
    """Name of the label array; empty for a group's metadata."""
    frames: tuple[int, ...] = ()
    """Frames whose labels are lost or uncertain and must be labelled again."""
    guessed: bool = False
    """Whether it is unknown which frames had labels, so that ``frames`` is the whole shard."""
    shard: int | None = None
    """Its shard; None for metadata."""
    document: bytes | None = None
    """What the zarr.json must be, as the rest of the store determines; None if that is lost."""

    def __str__(self) -> str:
        what = {"foreign": "group", "commit": "commit record"}.get(self.kind, self.kind)
        if self.kind == "frame":
            what = f"frame {self.frames[0]} of {self.sequence} {self.array}"
        lost = " (cannot be restored)" if self.kind == "metadata" and not self.document else ""
        return f"{self.path}: {what}: {self.reason}{lost}"

    @property
    def obstacle(self) -> Path | None:
        """What stands where this file or folder belongs, and must be moved away before repair."""
        file = self.path / DOCUMENT if self.kind in ("metadata", "foreign") else self.path
        wrong_file = os.path.lexists(file) and not file.is_file()
        wrong_folder = os.path.lexists(file.parent) and not file.parent.is_dir()
        return file.parent if wrong_folder else file if wrong_file else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayCheck:
    """One array, its documents checked already; ``shard`` checks the rest."""

    sequence: Path
    """Folder of the sequence."""
    shown: str
    """The sequence as findings name it."""
    name: str
    """Name of the label array."""
    array: Description | None
    """What it is; None if that is lost."""
    metadata: tuple[Finding, ...]
    """What is wrong with its documents."""
    shards: tuple[int, ...]
    """Numbers of the shards to check, ascending; none where it is unknown what the array is."""
    by_shard: Mapping[int, Sequence[int]]
    """Numbers of the committed frames of every shard whose record can be read."""
    strays: tuple[Path, ...]
    """What lies in its folders and is not of a store."""

    @property
    def committed(self) -> list[int]:
        """Numbers of the committed frames."""
        return [frame for frames in self.by_shard.values() for frame in frames]

    def shard(self, number: int) -> tuple[Finding, ...]:
        """Check the commits of a shard, then the pixels and counts of what is committed."""
        return tuple(_Shard(check=self, array=_known(self.array), number=number).findings())

    def folder(self, suffix: str = "") -> Path:
        """The array's folder, or a companion's."""
        return self.sequence / (self.name + suffix)

    def finding(self, kind: Kind, path: Path, reason: str, **more: Any) -> Finding:
        """A finding of this array."""
        return Finding(
            kind=kind, path=path, reason=reason, sequence=self.shown, array=self.name, **more
        )


def _known(array: Description | None) -> Description:
    if array is None:
        raise ValueError("an array that nothing describes has no shards to check")
    return array


def check_array(root: Path, sequence: Path, name: str) -> ArrayCheck:
    """Check the documents of one array, and see what there is to check.

    Args:
        root: Folder of the store.
        sequence: Folder of the sequence.
        name: Name of the label array.
    """
    # Listed and read before the documents: an array grows before frames beyond its end appear.
    names = {suffix: _names(sequence / (name + suffix)) for suffix in CHUNK_NAMES}
    found = sorted({number for suffix in names for number in _numbers(names, suffix)})
    committed = {number: _committed(sequence / name, number) for number in found}
    lengths = (_needed(sequence / name, number, frames) for number, frames in committed.items())
    needed = max(lengths, default=0)
    testimony = hear(sequence, name, shards=found, needed=needed)
    array = testimony.array
    shards = tuple(number for number in found if array is not None and number < array.shards)
    known = shards if array is not None else found
    check = ArrayCheck(
        sequence=sequence,
        shown=sequence.relative_to(root).as_posix(),
        name=name,
        array=array,
        metadata=(),
        shards=shards,
        by_shard={number: committed[number] or () for number in shards},
        strays=tuple(_strays(sequence / name, names, known=set(known))),
    )
    return replace(check, metadata=tuple(_metadata(check, testimony.reasons)))


def _metadata(check: ArrayCheck, reasons: Mapping[Path, str]) -> Iterator[Finding]:
    right = documents(check.sequence, check.array) if check.array is not None else {}
    for folder, reason in reasons.items():
        # Where nothing describes the array, what does not exist is no loss of its own.
        if folder in right or os.path.lexists(folder):
            finding = check.finding("metadata", folder, reason, document=right.get(folder))
            yield replace(finding, document=None) if finding.obstacle else finding


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _numbers(names: dict[str, list[str]], suffix: str) -> set[int]:
    found = (CHUNK_NAMES[suffix].fullmatch(name) for name in names[suffix])
    return {int(match[1]) for match in found if match}


def _committed(folder: Path, number: int) -> list[int] | None:
    """Committed frames of a shard; None where its record cannot be read."""
    try:
        words = chunks.read_words(folder.with_name(folder.name + COMMIT_SUFFIX), number)
    except CorruptLabelsError:
        return None
    return [number * SHARD_FRAMES + slot for slot in chunks.is_done(words).nonzero()[0].tolist()]


def _needed(folder: Path, number: int, committed: list[int] | None) -> int:
    """Length that an array must have for a shard; for what it holds if its record is damaged."""
    record = chunks.chunk_path(folder.with_name(folder.name + COMMIT_SUFFIX), number)
    if committed is None and os.path.lexists(record):
        committed = [number * SHARD_FRAMES + slot for slot in _stored(folder, number)]
    return max(committed or [-1]) + 1


def _stored(folder: Path, number: int) -> list[int]:
    """Slots of a shard file that hold a frame; none if it cannot be read."""
    try:
        return sorted(chunks.read_chunks(chunks.shard_path(folder, number)))
    except ShardError:
        return []


def _strays(folder: Path, names: dict[str, list[str]], *, known: set[int]) -> Iterator[Path]:
    """What is neither metadata nor a chunk of a known shard."""
    for suffix, found in names.items():
        for name in found:
            match = CHUNK_NAMES[suffix].fullmatch(name)
            if name != DOCUMENT and not (match and int(match[1]) in known):
                yield folder.with_name(folder.name + suffix) / name


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shard:
    """The check of one shard."""

    check: ArrayCheck
    array: Description
    number: int

    def findings(self) -> Iterator[Finding]:
        path = chunks.chunk_path(self.check.folder(COMMIT_SUFFIX), self.number)
        try:
            words = chunks.read_words(path.parent, self.number)
            # The record is written before the shard: a shard without one has lost it.
            reason = None if path.exists() else "missing"
        except CorruptLabelsError as error:
            reason = error.headline
        if reason is not None:
            yield self._lost_record(path, reason)
            yield from self._counts({}, needed=False)
            return
        counts: dict[int, chunks.Counts] = {}
        for slot in chunks.is_done(words).nonzero()[0].tolist():
            found = self._frame(slot, words[slot])
            if isinstance(found, Finding):
                yield found
            else:
                counts[slot] = found
        yield from self._counts(counts, needed=bool(words.any()))

    def _lost_record(self, path: Path, reason: str) -> Finding:
        """Without its record it is unknown which frames of the shard were committed."""
        first = self.number * SHARD_FRAMES
        stored = [first + slot for slot in _stored(self.check.folder(), self.number)]
        every = range(first, min(first + SHARD_FRAMES, self.array.length))
        return self.check.finding(
            "commit",
            path,
            reason,
            shard=self.number,
            frames=tuple(stored or every),
            guessed=not stored,
        )

    def _frame(self, slot: int, word: np.uint64) -> Finding | chunks.Counts:
        """The counts of an intact frame, or what is wrong with it."""
        path = chunks.shard_path(self.check.folder(), self.number)
        try:
            labels = chunks.read_frame(path, slot, self.array.size)
            if not chunks.matches(labels, word):
                raise ShardError("not the pixels that were committed")
            return chunks.histogram(labels, values=self.array.values)
        except ValueError as error:
            frames = (self.number * SHARD_FRAMES + slot,)
            return self.check.finding("frame", path, str(error), shard=self.number, frames=frames)

    def _counts(self, expected: dict[int, chunks.Counts], *, needed: bool) -> Iterator[Finding]:
        path = chunks.counts_path(self.check.folder(COUNTS_SUFFIX), self.number)
        try:
            counts = chunks.read_counts(path.parent, self.number, values=self.array.values)
            wrong = [slot for slot, row in expected.items() if (counts[slot] != row).any()]
            reason = f"differ from the pixels of {len(wrong)} frames" if wrong else None
            if needed and not path.exists():
                reason = "missing"
        except CorruptLabelsError as error:
            reason = error.headline
        if reason is not None:
            yield self.check.finding("counts", path, reason, shard=self.number)
