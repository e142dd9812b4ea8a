"""Verification of one label array with its companions: documents, commits, counts and pixels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xdistill.manifests.progress import Advance
from xdistill.pipeline.store import chunks
from xdistill.pipeline.store.chunks import ShardError
from xdistill.pipeline.store.errors import CorruptLabelsError, LabelStoreError
from xdistill.pipeline.store.format import (
    COMMIT_SUFFIX,
    COUNTS_SUFFIX,
    DOCUMENT,
    SHARD_FRAMES,
    Description,
    Json,
    described,
    described_by_companion,
    documents,
    read_document,
    seal,
)

Kind = Literal["metadata", "commit", "counts", "frame"]
"""A zarr.json; a chunk of commit words; a chunk of counts; the labels of a frame."""


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
        what = {"metadata": "metadata", "commit": "commit record", "counts": "counts"}
        named = what.get(self.kind) or f"frame {self.frames[0]} of {self.sequence} {self.array}"
        lost = " (cannot be restored)" if self.kind == "metadata" and not self.document else ""
        return f"{self.path}: {named}: {self.reason}{lost}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What was found in one array."""

    frames: int
    """Committed frames that were read."""
    findings: tuple[Finding, ...]
    """What is damaged."""
    strays: tuple[Path, ...]
    """Files in its folders that do not belong there."""


def verify_array(root: Path, sequence: Path, name: str, *, advance: Advance) -> Checked:
    """Check one array of a sequence.

    Args:
        root: Folder of the store.
        sequence: Folder of the sequence.
        name: Name of the label array.
        advance: Called with the number of frames just read.
    """
    shown = sequence.relative_to(root).as_posix()
    # Read before the documents: an array grows before frames beyond its end are committed.
    needed = _needed(sequence, name)
    intact, reasons = _documents(sequence, name)
    array = _describe(intact, sequence, name)
    if array is None:
        lost = (
            Finding(kind="metadata", path=path, reason=reason, sequence=shown, array=name)
            for path, reason in reasons.items()
            if path.is_dir()
        )
        return Checked(frames=0, findings=tuple(lost), strays=())
    check = _Check(sequence=sequence, shown=shown, array=array, advance=advance)
    findings = [*check.metadata(intact, reasons, needed=needed)]
    for number in _shards(sequence, name):
        findings += check.shard(number)
    return Checked(frames=check.frames, findings=tuple(findings), strays=tuple(check.strays()))


def _documents(sequence: Path, name: str) -> tuple[dict[Path, Json], dict[Path, str]]:
    """The readable documents of the three folders, and why the others cannot be read."""
    intact: dict[Path, Json] = {}
    reasons: dict[Path, str] = {}
    # Companions grow first: whatever a writer does meanwhile, they are as long as the array was.
    for suffix in ("", COMMIT_SUFFIX, COUNTS_SUFFIX):
        folder = sequence / (name + suffix)
        try:
            intact[folder] = read_document(folder)
        except LabelStoreError as error:
            reasons[folder] = error.headline
    return intact, reasons


def _describe(intact: dict[Path, Json], sequence: Path, name: str) -> Description | None:
    """What the array is, from its own document or a companion's."""
    own = intact.get(sequence / name)
    found = [described(own, name)] if own else []
    for suffix in (COMMIT_SUFFIX, COUNTS_SUFFIX):
        companion = intact.get(sequence / (name + suffix))
        found += [described_by_companion(companion)] if companion else []
    return next((array for array in found if array is not None), None)


def _needed(sequence: Path, name: str) -> int:
    """Number of frames up to the last committed one."""
    needed = 0
    for number in _shards(sequence, name):
        try:
            done = chunks.is_done(chunks.read_words(sequence / (name + COMMIT_SUFFIX), number))
        except CorruptLabelsError:
            continue
        if done.any():
            needed = max(needed, number * SHARD_FRAMES + int(done.nonzero()[0][-1]) + 1)
    return needed


def _shards(sequence: Path, name: str) -> list[int]:
    """Numbers of the shards that have any file."""
    numbers = set()
    for suffix, tail in (("", ".0.0"), (COMMIT_SUFFIX, ""), (COUNTS_SUFFIX, ".0")):
        folder = sequence / (name + suffix)
        for path in folder.glob("c.*") if folder.is_dir() else ():
            number = path.name.removeprefix("c.").removesuffix(tail)
            if number.isdecimal():
                numbers.add(int(number))
    return sorted(numbers)


@dataclass(kw_only=True, slots=True)
class _Check:
    """One pass over the shards of an array."""

    sequence: Path
    shown: str
    array: Description
    advance: Advance
    frames: int = 0

    def metadata(
        self, intact: dict[Path, Json], reasons: dict[Path, str], *, needed: int
    ) -> Iterator[Finding]:
        """Documents that are unreadable, disagree, or are too short for what is committed."""
        length = max(self.array.length, needed)
        for folder, document in documents(self.sequence, self.array).items():
            reason = reasons.get(folder)
            found = length if reason else int(intact[folder]["shape"][0])
            if reason is None:
                # Companions may be longer: they grow first.
                same = documents(self.sequence, replace(self.array, length=found))[folder]
                if seal(intact[folder]) != same:
                    reason = "disagrees with the other metadata of the array"
                elif found < length:
                    reason = f"covers {found} frames, but {length} are committed"
            if reason is not None:
                grown = replace(self.array, length=max(found, length))
                document = documents(self.sequence, grown)[folder]
                yield self._finding("metadata", folder, reason, document=document)

    def strays(self) -> Iterator[Path]:
        """Files that are neither metadata nor chunks."""
        known = {DOCUMENT}
        for number in _shards(self.sequence, self.array.name):
            known |= {f"c.{number}.0.0", f"c.{number}", f"c.{number}.0"}
        for suffix in ("", COMMIT_SUFFIX, COUNTS_SUFFIX):
            folder = self._folder(suffix)
            entries = folder.iterdir() if folder.is_dir() else ()
            yield from (entry for entry in entries if entry.name not in known)

    def shard(self, number: int) -> Iterator[Finding]:
        """Check the commits, then the pixels and counts of what is committed."""
        path = chunks.chunk_path(self._folder(COMMIT_SUFFIX), number)
        try:
            words = chunks.read_words(path.parent, number)
            # The record is written before the shard: a shard without one has lost it.
            reason = None if path.exists() else "missing"
        except CorruptLabelsError as error:
            reason = error.headline
        if reason is not None:
            stored = self._stored(number)
            yield self._finding(
                "commit",
                path,
                reason,
                shard=number,
                frames=stored or self._all(number),
                guessed=not stored,
            )
            yield from self._counts(number, {}, needed=False)
            return
        done = chunks.is_done(words).nonzero()[0].tolist()
        counts: dict[int, chunks.Counts] = {}
        for slot in done:
            found = self._frame(number, slot, words[slot])
            if isinstance(found, Finding):
                yield found
            else:
                counts[slot] = found
        self.frames += len(done)
        self.advance(len(done))
        yield from self._counts(number, counts, needed=bool(words.any()))

    def _stored(self, number: int) -> tuple[int, ...]:
        """Frames that a shard file holds; none if it cannot be read."""
        try:
            slots = chunks.read_chunks(self._shard_path(number))
        except ShardError:
            return ()
        return tuple(number * SHARD_FRAMES + slot for slot in slots)

    def _all(self, number: int) -> tuple[int, ...]:
        """Every frame number of a shard."""
        first = number * SHARD_FRAMES
        return tuple(range(first, min(first + SHARD_FRAMES, max(self.array.length, first + 1))))

    def _frame(self, number: int, slot: int, word: np.uint64) -> Finding | chunks.Counts:
        """The counts of an intact frame, or what is wrong with it."""
        path = self._shard_path(number)
        try:
            labels = chunks.read_frame(path, slot, self.array.size)
            if not chunks.matches(labels, word):
                raise ShardError("not the pixels that were committed")
            return chunks.histogram(labels, values=self.array.values)
        except ValueError as error:
            frame = number * SHARD_FRAMES + slot
            reason = str(error)
            return self._finding("frame", path, reason, shard=number, frames=(frame,))

    def _counts(
        self, number: int, expected: dict[int, chunks.Counts], *, needed: bool
    ) -> Iterator[Finding]:
        path = chunks.counts_path(self._folder(COUNTS_SUFFIX), number)
        try:
            counts = chunks.read_counts(path.parent, number, values=self.array.values)
            wrong = [slot for slot, row in expected.items() if (counts[slot] != row).any()]
            reason = f"differ from the pixels of {len(wrong)} frames" if wrong else None
            if needed and not path.exists():
                reason = "missing"
        except CorruptLabelsError as error:
            reason = error.headline
        if reason is not None:
            yield self._finding("counts", path, reason, shard=number)

    def _finding(self, kind: Any, path: Path, reason: str, **more: Any) -> Finding:
        return Finding(
            kind=kind, path=path, reason=reason, sequence=self.shown, array=self.array.name, **more
        )

    def _folder(self, suffix: str) -> Path:
        return self.sequence / (self.array.name + suffix)

    def _shard_path(self, number: int) -> Path:
        return chunks.shard_path(self.sequence / self.array.name, number)
