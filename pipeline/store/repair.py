"""Repair: restore what the rest of a store determines, and retract what must be labelled again.

No label is invented: metadata and counts are computed from intact data, and frames that do not
match their commit lose it, so that ``segment`` and ``regroup`` label them again.
"""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from xdistill.manifests import disk
from xdistill.pipeline.store.errors import CorruptLabelsError
from xdistill.pipeline.store.format import DOCUMENT
from xdistill.pipeline.store.leases import Leases, disk_errors
from xdistill.pipeline.store.metadata import repair_remedy
from xdistill.pipeline.store.store import LabelStore
from xdistill.pipeline.store.survey import has_chunks
from xdistill.pipeline.store.verify import VerifyReport
from xdistill.pipeline.store.verify_array import Finding


def repair_metadata(path: Path, report: VerifyReport) -> tuple[Finding, ...]:
    """Restore every document that the rest of the store determines.

    Companions of an array that was never finished are removed where nothing describes them.

    Args:
        path: Folder of the store.
        report: From ``verify_store``.

    Returns:
        The findings whose metadata is lost.

    Raises:
        CorruptLabelsError: Something stands where a file or folder of the store belongs, or a group
            is another store's; nothing was changed.
        LabelStoreError: The disk is full or read-only.
    """
    _refuse_obstacles(path, report)
    findings = [finding for finding in report.findings if finding.kind == "metadata"]
    lost = [finding for finding in findings if finding.document is None]
    if any(finding.path == path for finding in lost):
        return tuple(lost)
    with disk_errors(path):
        for finding in findings:
            # Before the lock, which is on this file.
            if finding.path == path and finding.document is not None:
                _restore(path, finding.document)
        with Leases("required").metadata(path / DOCUMENT):
            for finding in findings:
                if finding.path != path and finding.document is not None:
                    _restore(finding.path, finding.document)
                elif _was_never_used(finding):
                    _remove(finding.path)
    return tuple(finding for finding in lost if finding.path.exists())


def _refuse_obstacles(path: Path, report: VerifyReport) -> None:
    """Refuse to repair what would first need something moved that may be the user's."""
    moves = {f.obstacle: f.reason for f in report.findings if f.obstacle is not None}
    if moves:
        raise CorruptLabelsError(
            f"{len(moves)} files or folders stand where the store's own belong",
            expected="regular files, in folders",
            where=next(iter(moves)),
            remedy=_move_away(path, moves),
        )
    foreign = [finding.path for finding in report.findings if finding.kind == "foreign"]
    if foreign:
        tops = [folder for folder in foreign if not {*folder.parents} & {*foreign}]
        raise CorruptLabelsError(
            f"{len(foreign)} groups belong to another store, whose labels may be another teacher's",
            expected="groups with the same record as the store",
            where=tops[0],
            remedy=_move_away(path, tops),
        )


def _move_away(path: Path, moves: Iterable[Path | None]) -> str:
    named = " ".join(shlex.quote(str(move)) for move in moves)
    return f"move {named} to a place outside the store; then {repair_remedy(path)}"


def _remove(folder: Path) -> None:
    """Remove a document, and its folder unless something else is in it."""
    disk.discard(folder / DOCUMENT)
    if not any(folder.iterdir()):
        disk.discard(folder)


def _was_never_used(finding: Finding) -> bool:
    sequence = finding.path.parent
    array = sequence / finding.array
    known = finding.document is not None or not finding.array
    return not (known or array.is_dir() or has_chunks(sequence, finding.array))


def lost_metadata(path: Path, lost: Sequence[Finding]) -> CorruptLabelsError:
    """The error about documents that nothing can restore.

    Args:
        path: Folder of the store.
        lost: From ``repair_metadata``, at least one.
    """
    moves = dict.fromkeys(shlex.quote(str(_to_move(path, finding))) for finding in lost)
    return CorruptLabelsError(
        f"every copy of {len(lost)} zarr.json is lost, the first in {lost[0].path}",
        expected="one of an array's three, or any group's, to restore the others from",
        where=path.absolute(),
        remedy=f"move away {' '.join(moves)}, then run xd-pipeline segment and regroup "
        f"with --store {shlex.quote(str(path))} to make their labels again",
    )


def _to_move(path: Path, finding: Finding) -> Path:
    """The folder without which the rest of the store is consistent."""
    if not finding.array:
        return path
    # What was derived from lost labels goes with them.
    derived = finding.array.startswith("groups_")
    return finding.path if derived else path / finding.sequence


def _restore(folder: Path, document: bytes) -> None:
    if folder.is_dir():
        disk.write(folder / DOCUMENT, [document])
    else:
        disk.create_folder(folder, {DOCUMENT: document})


def repair_labels(
    store: LabelStore, report: VerifyReport
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Retract the commits of damaged frames and recompute damaged counts.

    Args:
        store: Opened for writing, its metadata intact.
        report: From ``verify_store``.

    Returns:
        Frames to label again, by sequence and array.

    Raises:
        LabelStoreError: Another process is writing the store, or the disk is full or read-only.
    """
    redo = report.redo()
    for (sequence, name), frames in redo.items():
        store.array(sequence, name).retract(frames)
    for finding in report.findings:
        if finding.kind == "counts" and finding.shard is not None:
            store.array(finding.sequence, finding.array).recount(finding.shard)
    return redo
