"""Verification: read everything again and compare it with its checksums.

Damage raises nothing, and nothing is written: the report says what is wrong and, where the rest of
the store determines it, what damaged metadata must be.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from xdistill.manifests import disk
from xdistill.manifests.disk import PathLike, as_path
from xdistill.manifests.progress import Advance, unshown, usable_cores
from xdistill.pipeline.store.errors import CorruptLabelsError, LabelStoreError
from xdistill.pipeline.store.format import DOCUMENT, Json, is_store_group, seal
from xdistill.pipeline.store.leases import is_held, is_orphan, orphans, shard_of
from xdistill.pipeline.store.metadata import read_document
from xdistill.pipeline.store.survey import groups
from xdistill.pipeline.store.verify_array import ArrayCheck, Finding, Kind, check_array

AHEAD = 2
"""Shards under way for each core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """Everything that verification of a store found."""

    path: Path
    """Folder of the store."""
    frames: int
    """Frames with committed labels in any array."""
    maps: int
    """Committed label maps that were read: one of each frame in each array."""
    findings: tuple[Finding, ...]
    """What is damaged."""
    strays: tuple[Path, ...]
    """Harmless files and folders that do not belong to a store, left alone."""
    rewritten: tuple[Path, ...]
    """Documents that another program has written again with the same content."""
    orphans: tuple[Path, ...]
    """Leftovers of a killed writer; the next opening for writing removes them."""

    @property
    def ok(self) -> bool:
        """Whether everything is as written."""
        return not self.findings

    def redo(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """Frames to label again, by sequence and array."""
        frames: dict[tuple[str, str], set[int]] = {}
        for finding in self.findings:
            if finding.frames:
                frames.setdefault((finding.sequence, finding.array), set()).update(finding.frames)
        return {key: tuple(sorted(found)) for key, found in sorted(frames.items())}

    def lines(self) -> Iterator[str]:
        """The report as text: damage, strays, leftovers, totals."""
        yield from map(str, self.findings)
        yield from (f"{path}: not part of a store, left alone" for path in self.strays)
        yield from (f"{path}: holds copies that zarr added, never read" for path in self.rewritten)
        yield from (f"{path}: left by an interrupted run" for path in self.orphans)
        redo = sum(map(len, self.redo().values()))
        state = "all as written" if self.ok else f"{len(self.findings)} damaged, {redo} to redo"
        yield f"{self.path}: {self.frames} frames, {self.maps} label maps read, {state}"


def verify_store(
    path: PathLike, *, expect: Advance = unshown, advance: Advance = unshown
) -> VerifyReport:
    """Check every frame, commit record and document of a store.

    Args:
        path: Folder of the store; its own metadata may be damaged.
        expect: Called once with the number of label maps to read.
        advance: Called with the number of label maps just read.

    Raises:
        LabelStoreError: The folder is not a label store at all, or cannot be listed.
    """
    path = as_path(path)
    try:
        return _verify(path, expect=expect, advance=advance)
    except LabelStoreError:
        raise
    except OSError as error:
        raise LabelStoreError(
            f"the store cannot be read: {error.strerror}",
            where=error.filename or path.absolute(),
            remedy="grant read permission there, or see to the disk, and run it again",
        ) from error


Documents = dict[Path, Json | LabelStoreError]
"""By folder, the groups' documents, or why they cannot be read."""


def _verify(path: Path, *, expect: Advance, advance: Advance) -> VerifyReport:
    tree = list(groups(path)) if path.is_dir() else []
    documents: Documents = {group.folder: _document(group.folder) for group in tree}
    expected = _reference(path, documents)
    if expected is None and not any(group.arrays for group in tree):
        raise _no_store(path, documents.get(path))
    checks = [check_array(path, group.folder, name) for group in tree for name in group.arrays]
    expect(sum(len(check.committed) for check in checks))
    found = [list(check.metadata) for check in checks]
    for position, findings in _shards(checks, advance):
        found[position] += findings
    strays = [path for part in tree for path in part.strays]
    strays += (path for check in checks for path in check.strays)
    left = [orphan for orphan in orphans(path) if not _has_owner(orphan) and orphan.exists()]
    of_arrays = (finding for findings in found for finding in findings)
    return VerifyReport(
        path=path,
        frames=len({(check.shown, frame) for check in checks for frame in check.committed}),
        maps=sum(len(check.committed) for check in checks),
        findings=(*_check_groups(documents, expected), *of_arrays),
        strays=tuple(sorted(stray for stray in strays if not is_orphan(stray.name))),
        rewritten=tuple(folder / DOCUMENT for folder in documents if _is_rewritten(folder)),
        orphans=tuple(sorted(left)),
    )


def _no_store(path: Path, document: Json | LabelStoreError | None) -> LabelStoreError:
    # Of a newer version, which is no damage.
    if isinstance(document, LabelStoreError) and not isinstance(document, CorruptLabelsError):
        return document
    return LabelStoreError(
        "there is no label store here",
        expected="a folder made by xd-pipeline segment",
        where=path.absolute(),
        remedy="check --store",
    )


def _document(folder: Path) -> Json | LabelStoreError:
    try:
        return read_document(folder)
    except LabelStoreError as error:
        return error


def _reference(path: Path, documents: Documents) -> bytes | None:
    """The document that every group must have: the root's, else that of most groups."""
    stores = {f: seal(d) for f, d in documents.items() if isinstance(d, dict) and is_store_group(d)}
    if path in stores:
        return stores[path]
    ranked = Counter(stores.values()).most_common(2)
    level = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return None if level or not ranked else ranked[0][0]


def _check_groups(documents: Documents, expected: bytes | None) -> Iterator[Finding]:
    """Every group holds a copy of the root's document, so that each can be restored."""
    for folder, document in documents.items():
        reason = "the metadata is not that of a group"
        kind: Kind = "metadata"
        if isinstance(document, LabelStoreError):
            reason = document.headline
        elif is_store_group(document):
            if seal(document) == expected:
                continue
            # Its labels may be another teacher's, which nothing here may take for this one's.
            reason, kind = "belongs to another store", "foreign"
        finding = Finding(kind=kind, path=folder, reason=reason, document=expected)
        lost = kind == "foreign" or finding.obstacle is not None
        yield replace(finding, document=None) if lost else finding


def _is_rewritten(folder: Path) -> bool:
    try:
        return seal(read_document(folder)) != disk.read_bytes(folder / DOCUMENT)
    except OSError:
        return False


def _shards(
    checks: Sequence[ArrayCheck], advance: Advance
) -> Iterator[tuple[int, tuple[Finding, ...]]]:
    """The findings of every shard with the position of its array, in order, on all cores."""
    # Threads are enough: reading, decompression and counting release the interpreter.
    tasks = ((position, number) for position, c in enumerate(checks) for number in c.shards)
    waiting: deque[tuple[int, int, Future[tuple[Finding, ...]]]] = deque()
    with ThreadPoolExecutor(usable_cores()) as pool:
        for position, number in tasks:
            waiting.append((position, number, pool.submit(checks[position].shard, number)))
            if len(waiting) == AHEAD * usable_cores():
                yield _next(waiting, checks, advance)
        while waiting:
            yield _next(waiting, checks, advance)


def _next(
    waiting: deque[tuple[int, int, Future[tuple[Finding, ...]]]],
    checks: Sequence[ArrayCheck],
    advance: Advance,
) -> tuple[int, tuple[Finding, ...]]:
    position, number, future = waiting.popleft()
    findings = future.result()
    advance(len(checks[position].by_shard[number]))
    return position, findings


def _has_owner(orphan: Path) -> bool:
    """Whether a living writer holds the lease of the shard that a file belongs to."""
    shard = shard_of(orphan)
    return shard is not None and is_held(*shard)
