"""The root of a store: the document that names its teacher, which every group repeats."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdistill.grouping.classes import cityscapes
from xdistill.manifests import disk
from xdistill.manifests.nearby import above
from xdistill.pipeline.store import place
from xdistill.pipeline.store.errors import CorruptLabelsError, LabelStoreError
from xdistill.pipeline.store.format import (
    DOCUMENT,
    FORMAT_VERSION,
    group_document,
    is_store_group,
    plain,
)
from xdistill.pipeline.store.leases import disk_errors
from xdistill.pipeline.store.metadata import read_document, repair_remedy


def create_root(path: Path, teacher: Mapping[str, Any], fingerprint: str) -> None:
    """Create a store's folder with its root document; another writer's is kept.

    Raises:
        LabelStoreError: The disk is full or read-only.
    """
    document = root_document(teacher, fingerprint)
    with disk_errors(path):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        # If another writer creates the same store, its folder is kept and compared next.
        disk.create_folder(path.absolute(), {DOCUMENT: document})


def root_document(teacher: Mapping[str, Any], fingerprint: str) -> bytes:
    """The document of every group of a store that this teacher makes."""
    attributes = {
        "format_version": FORMAT_VERSION,
        "classes": list(cityscapes().names),
        "teacher": plain(teacher),
        "fingerprint": fingerprint,
    }
    return group_document(attributes)


def require_outermost(path: Path) -> None:
    """Check that a path does not lie in a label store.

    Raises:
        LabelStoreError: It does; the message names the store.
    """
    if outer := above(path, DOCUMENT, place.MARK):
        raise place.inside(path, outer)


def root_attributes(path: Path) -> Mapping[str, Any]:
    """The attributes of a store's root.

    Raises:
        LabelStoreError: There is no label store, it is damaged, or of a newer version.
    """
    require_outermost(path)
    if not (path / DOCUMENT).is_file():
        place.require_none_below(path)
        missing = f"{path} is a file" if path.is_file() else "the label store does not exist"
        raise LabelStoreError(
            "there is no label store here" if path.is_dir() else missing,
            expected=f"a folder with a {DOCUMENT}, made by xd-pipeline segment",
            where=path.absolute(),
            remedy="give --store another path; segment takes a new one or an empty folder"
            + (f"; if this was a label store, {repair_remedy(path)}" if path.is_dir() else ""),
        )
    try:
        document = read_document(path)
        reason = None if is_store_group(document) else f"the {DOCUMENT} is not that of a store"
    except CorruptLabelsError as error:
        reason = error.headline
    if reason is not None:
        raise CorruptLabelsError(
            f"the folder holds no label store, or a damaged one: {reason}",
            expected=f"a {DOCUMENT} as xd-pipeline segment writes it",
            where=path.absolute(),
            remedy="give --store another path; if this is a label store, " + repair_remedy(path),
        )
    return dict(document["attributes"])


def other_teacher(
    path: Path, attributes: Mapping[str, Any], teacher: Mapping[str, Any], fingerprint: str
) -> LabelStoreError:
    """The error about labels of another teacher, with the differences of the records."""
    stored = attributes["teacher"]
    offered = plain(teacher)
    differing = sorted(k for k in {*stored, *offered} if stored.get(k) != offered.get(k))
    lines = (
        f"\n    {k}: {stored.get(k)!r} in the store, {offered.get(k)!r} now" for k in differing
    )
    return LabelStoreError(
        f"the teacher has fingerprint {fingerprint}",
        expected=f"the store's teacher, {attributes['fingerprint']}{''.join(lines)}",
        where=path.absolute(),
        remedy="use the store's own teacher, or give another --store",
    )
