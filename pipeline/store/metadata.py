"""Reading a store's zarr.json documents and folders, and what to do where they are damaged."""

import json
import os
import shlex
from pathlib import Path

from xdistill.manifests import disk
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
    seal,
)


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
