"""A store's zarr.json documents: the root's, which names the teacher; reading; damage."""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdistill.grouping.classes import cityscapes
from xdistill.manifests import disk
from xdistill.manifests.nearby import above
from xdistill.pipeline.store import place
from xdistill.pipeline.store.errors import CorruptLabelsError, LabelStoreError
from xdistill.pipeline.store.format import (
    CHECKSUM,
    CONSOLIDATED,
    DOCUMENT,
    FORMAT_VERSION,
    IMAGES,
    Description,
    Json,
    canonical,
    described,
    group_document,
    is_store_group,
    plain,
    seal,
)
from xdistill.pipeline.store.leases import disk_errors


def _unseal(data: bytes, where: Path) -> Json:
    """Parse a document written by ``seal``."""
    try:
        document = json.loads(data)
        version = document["attributes"].get("format_version", 1)
        # zarr.consolidate_metadata writes a group's document again, in its own form, with copies
        # of all that lie below. Those are never read; the rest must still have its checksum.
        rewritten = document.pop(CONSOLIDATED, None) is not None
        intact = seal(document) == (canonical(document) if rewritten else data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        version, intact = 1, False
    # First, because a newer version may seal its documents in another way.
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise LabelStoreError(
            f"the label store has format version {version}",
            expected=f"version {FORMAT_VERSION} at most",
            where=where,
            remedy="update xdistill",
        )
    if not intact:
        raise CorruptLabelsError(
            "the metadata does not match its checksum",
            expected="the bytes that xdistill wrote",
            where=where,
            remedy=repair_remedy(store_around(where)),
        )
    return dict(document)


def read_document(folder: Path) -> Json:
    """Read the document of one group or array.

    Raises:
        CorruptLabelsError: It is missing, unreadable or changed.
        LabelStoreError: A newer version wrote it.
    """
    path = folder / DOCUMENT
    try:
        return _unseal(disk.read_bytes(path), path)
    except LabelStoreError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        if folder.is_dir():
            raise CorruptLabelsError(
                "the folder has no metadata",
                expected=f"a file {DOCUMENT}",
                where=folder,
                remedy=repair_remedy(store_around(folder)),
            ) from error
        raise CorruptLabelsError(
            "the array or folder does not exist",
            expected=f"a folder with a file {DOCUMENT}",
            where=folder,
            remedy="check the path; xd-pipeline info lists the arrays of a store",
        ) from error
    except OSError as error:
        raise CorruptLabelsError(
            f"the metadata cannot be read: {error.strerror}",
            where=path,
            remedy=repair_remedy(store_around(path)),
        ) from error


def read_description(folder: Path) -> Description:
    """Read what a label array is from its own document, or from a companion's.

    Raises:
        CorruptLabelsError: It is missing, damaged, or not a label array of this format.
    """
    description = described(read_document(folder), folder)
    if description is None:
        raise CorruptLabelsError(
            "the metadata is not that of this array",
            expected="(frames, rows, columns) of uint8 and its companions, as xdistill wrote them",
            where=folder,
            remedy=repair_remedy(store_around(folder)),
        )
    return description


def repair_remedy(store: Path) -> str:
    """What to do about damage in a store: the command that repairs it."""
    return (
        f"run xd-pipeline verify --store {shlex.quote(str(store))} --repair "
        "to find the damage and redo only that"
    )


def label_remedy(store: Path, name: str) -> str:
    """What to do about frames that lack labels in array ``name``: the command that makes them."""
    if name == IMAGES:
        return f"run xd-pipeline cache-images --out {shlex.quote(str(store))}"
    scheme = name.removeprefix("groups_")
    command = "segment" if scheme == name else f"regroup --scheme {shlex.quote(scheme)}"
    return f"run xd-pipeline {command} --store {shlex.quote(str(store))}"


def store_around(path: Path) -> Path:
    """The store that a file or folder belongs to: its outermost folder with a sealed document."""
    folder = path if path.is_dir() else path.parent
    inside = [outer for outer in (folder, *folder.parents) if is_sealed(outer / DOCUMENT)]
    return inside[-1] if inside else folder


def is_sealed(path: Path) -> bool:
    """Whether a document is this store's rather than another program's, also if it is damaged."""
    try:
        return f'"{CHECKSUM}"'.encode() in disk.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def folder_names(folder: Path) -> list[str]:
    """Names of the finished folders in a folder, sorted; none if it does not exist."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not disk.final_name(e.name) and _is_folder(e))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether this is a folder, and no link to one that it lies in."""
    try:
        if not entry.is_symlink():
            return entry.is_dir()
        target = Path(entry).resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_dir() and not Path(entry).parent.resolve().is_relative_to(target)


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
