"""Repair: restore what the rest of a store tells, and make room for what must be done again.

No label is invented: metadata and counts are computed from what is intact, and frames that do not
match their commit lose it, so that ``segment`` and ``regroup`` make them again.
"""

from pathlib import Path

from xdistill.pipeline import atomic
from xdistill.pipeline.store.errors import writing
from xdistill.pipeline.store.metadata import DOCUMENT
from xdistill.pipeline.store.report import Finding, VerifyReport
from xdistill.pipeline.store.store import LabelStore


def repair_metadata(path: Path, report: VerifyReport) -> tuple[Finding, ...]:
    """Write every document that the rest of the store tells; no one else may write meanwhile.

    Args:
        path: Folder of the store.
        report: From ``verify_store``.

    Returns:
        The findings whose metadata is lost.

    Raises:
        LabelStoreError: The disk is full or read-only.
    """
    findings = [finding for finding in report.findings if finding.kind == "metadata"]
    with writing(path):
        for finding in findings:
            if finding.document is not None:
                _restore(finding.path, finding.document)
    return tuple(finding for finding in findings if finding.document is None)


def _restore(folder: Path, document: bytes) -> None:
    if folder.is_dir():
        atomic.write(folder / DOCUMENT, [document])
    else:
        atomic.create_folder(folder, {DOCUMENT: document})


def repair_labels(
    store: LabelStore, report: VerifyReport
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Take back the commits of damaged frames and count again where counts are damaged.

    Args:
        store: Opened for writing, its metadata intact.
        report: From ``verify_store``.

    Returns:
        Frames to make again, by sequence and array.

    Raises:
        LabelStoreError: Another process writes the store, or the disk is full or read-only.
    """
    redo = report.redo()
    for (sequence, name), frames in redo.items():
        store.array(sequence, name).retract(frames)
    for finding in report.findings:
        if finding.kind == "counts" and finding.shard is not None:
            store.array(finding.sequence, finding.array).recount(finding.shard)
    return redo
