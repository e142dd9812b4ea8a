"""Verification: read everything again and compare it with its checksums.

Damage raises nothing, and nothing is written: the report says what is wrong and, where the rest of
the store determines it, what damaged metadata must be.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xdistill.manifests.disk import PathLike, as_path
from xdistill.manifests.progress import Advance, unshown
from xdistill.pipeline.store.errors import LabelStoreError
from xdistill.pipeline.store.format import (
    COMMIT_SUFFIX,
    COUNTS_SUFFIX,
    DOCUMENT,
    folder_names,
    group_document,
    read_document,
)
from xdistill.pipeline.store.leases import is_held, is_orphan, orphans, shard_of
from xdistill.pipeline.store.verify_array import Finding, verify_array


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """Everything that verification of a store found."""

    path: Path
    """Folder of the store."""
    frames: int
    """Committed frames that were read, over all arrays."""
    findings: tuple[Finding, ...]
    """What is damaged."""
    strays: tuple[Path, ...]
    """Harmless files and folders that do not belong to a store, left alone."""
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
        yield from (f"{path}: left by an interrupted run" for path in self.orphans)
        redo = sum(map(len, self.redo().values()))
        state = "all as written" if self.ok else f"{len(self.findings)} damaged, {redo} to redo"
        yield f"{self.path}: {self.frames} frames read, {state}"


def verify_store(path: PathLike, *, advance: Advance = unshown) -> VerifyReport:
    """Check every frame, commit record and document of a store.

    Args:
        path: Folder of the store; its own metadata may be damaged.
        advance: Called with the number of frames just read.

    Raises:
        LabelStoreError: The folder is not a label store at all.
    """
    path = as_path(path)
    group = _reference(path)
    tree = list(_groups(path))
    if group is None and not any(bases for _, bases in tree):
        raise LabelStoreError(
            "there is no label store here",
            expected="a folder made by xd-pipeline segment",
            where=path.absolute(),
            remedy="check --store",
        )
    findings: list[Finding] = []
    strays: list[Path] = []
    frames = 0
    for folder, bases in tree:
        findings += _check_group(folder, group)
        strays += (file for file in _files(folder) if file.name != DOCUMENT)
        for base in bases:
            checked = verify_array(path, folder, base, advance=advance)
            findings += checked.findings
            strays += checked.strays
            frames += checked.frames
    left = [orphan for orphan in orphans(path) if not _has_owner(orphan) and orphan.exists()]
    return VerifyReport(
        path=path,
        frames=frames,
        findings=tuple(findings),
        strays=tuple(sorted(stray for stray in strays if not is_orphan(stray.name))),
        orphans=tuple(sorted(left)),
    )


def _has_owner(orphan: Path) -> bool:
    """Whether a living writer holds the lease of the shard that a file belongs to."""
    shard = shard_of(orphan)
    return shard is not None and is_held(*shard)


def _reference(path: Path) -> bytes | None:
    """The document that every group must have: the root's, else that of most groups."""
    found: Counter[bytes] = Counter()
    for folder in _all_folders(path):
        try:
            document = read_document(folder)
        except LabelStoreError:
            continue
        if document.get("node_type") == "group":
            if folder == path:
                return group_document(document["attributes"])
            found[group_document(document["attributes"])] += 1
    return found.most_common(1)[0][0] if found else None


def _check_group(folder: Path, expected: bytes | None) -> Iterator[Finding]:
    """Every group holds a copy of the root's document, so that each can be restored."""
    try:
        document = group_document(read_document(folder)["attributes"])
        reason = None if document == expected else "belongs to another store"
    except LabelStoreError as error:
        reason = error.headline
    if reason is not None:
        yield Finding(kind="metadata", path=folder, reason=reason, document=expected)


def _groups(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """All group folders, root first, each with the names of its label arrays."""
    names = set(folder_names(path))
    companions = {
        name.removesuffix(suffix)
        for name in names
        for suffix in (COMMIT_SUFFIX, COUNTS_SUFFIX)
        if name.endswith(suffix)
    }
    alone = {name for name in names - companions if any((path / name).glob("c.*.0.0"))}
    bases = companions | alone
    # Intact companions that hold nothing and lack their array come from an interrupted creation.
    yield (
        path,
        sorted(b for b in bases if b in names or has_chunks(path, b) or _is_damaged(path, b)),
    )
    for name in sorted(names - bases):
        if not name.endswith((COMMIT_SUFFIX, COUNTS_SUFFIX)):
            yield from _groups(path / name)


def has_chunks(folder: Path, base: str) -> bool:
    """Whether the companions of array ``base`` in a sequence's folder hold anything."""
    return any(any(companion.glob("c.*")) for companion in _companions(folder, base))


def _is_damaged(folder: Path, base: str) -> bool:
    """Whether a companion cannot be read, which would stop every writer."""
    try:
        for companion in _companions(folder, base):
            if companion.is_dir():
                read_document(companion)
    except LabelStoreError:
        return True
    return False


def _companions(folder: Path, base: str) -> list[Path]:
    return [folder / (base + suffix) for suffix in (COMMIT_SUFFIX, COUNTS_SUFFIX)]


def _all_folders(path: Path) -> Iterator[Path]:
    yield path
    for name in folder_names(path):
        yield from _all_folders(path / name)


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry) for entry in entries if not entry.is_dir()]
