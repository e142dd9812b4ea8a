"""Verification: read everything again and compare it with its checksums.

Nothing here raises for damage and nothing writes; the report says what is wrong, and for metadata
also what it must be, where the rest of the store tells.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from xdistill.pipeline.store.description import COMMIT_SUFFIX, COUNTS_SUFFIX
from xdistill.pipeline.store.errors import LabelStoreError
from xdistill.pipeline.store.metadata import DOCUMENT, group_document, read_document
from xdistill.pipeline.store.report import Finding, VerifyReport
from xdistill.pipeline.store.sweep import folder_names, orphans
from xdistill.pipeline.store.verify_array import verify_array

Advance = Callable[[int], object]


def verify_store(path: Path, *, progress: Advance | None = None) -> VerifyReport:
    """Check every frame, commit record and document of a store.

    Args:
        path: Folder of the store; its own metadata may be damaged.
        progress: Called with the number of frames just read.

    Raises:
        LabelStoreError: The folder is no label store at all.
    """
    group = _reference(path)
    tree = list(_groups(path))
    if group is None and not any(bases for _, bases in tree):
        raise LabelStoreError(
            "no label store",
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
            checked = verify_array(path, folder, base, advance=progress or (lambda count: None))
            findings += checked.findings
            strays += checked.strays
            frames += checked.frames
    left = set(orphans(path))
    return VerifyReport(
        path=path,
        frames=frames,
        findings=tuple(findings),
        strays=tuple(sorted(set(strays) - left)),
        orphans=tuple(sorted(left)),
    )


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
    """Every group carries a copy of the root's document, so that each can be restored."""
    try:
        document = group_document(read_document(folder)["attributes"])
        reason = None if document == expected else "the metadata of another store"
    except LabelStoreError as error:
        reason = str(error).splitlines()[0]
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
    # Companions that hold nothing and have no array: their creation was interrupted.
    yield path, sorted(base for base in bases if base in names or _has_chunks(path, base))
    for name in sorted(names - bases):
        if not name.endswith((COMMIT_SUFFIX, COUNTS_SUFFIX)):
            yield from _groups(path / name)


def _has_chunks(folder: Path, base: str) -> bool:
    companions = (folder / (base + suffix) for suffix in (COMMIT_SUFFIX, COUNTS_SUFFIX))
    return any(any(companion.glob("c.*")) for companion in companions)


def _all_folders(path: Path) -> Iterator[Path]:
    yield path
    for name in folder_names(path):
        yield from _all_folders(path / name)


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry) for entry in entries if not entry.is_dir()]
