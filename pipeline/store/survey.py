"""What lies where in a store's folder: its groups, its label arrays, and what is not of it.

People and programs leave things in folders: ``.DS_Store``, ``Thumbs.db``, half a transfer, an array
of their own. They are named, never read, and never changed.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xdistill.manifests import disk
from xdistill.pipeline.store.chunks import SHARD_NAME
from xdistill.pipeline.store.errors import LabelStoreError
from xdistill.pipeline.store.format import CHECKSUM, COMMIT_SUFFIX, COUNTS_SUFFIX, DOCUMENT
from xdistill.pipeline.store.metadata import folder_names, read_description, read_document

SUFFIXES = (COMMIT_SUFFIX, COUNTS_SUFFIX)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """One group of a store, the root among them."""

    folder: Path
    """Its folder."""
    arrays: tuple[str, ...]
    """Names of the label arrays in it, sorted, however little is left of them."""
    strays: tuple[Path, ...]
    """Files and folders in it that are not of a store."""


def groups(folder: Path) -> Iterator[Group]:
    """The groups of a store from a folder on, each before those below it."""
    folders = folder_names(folder)
    arrays = _arrays(folder, folders)
    parts = {name + suffix for name in arrays for suffix in ("", *SUFFIXES)}
    # Intact companions that hold nothing and lack their array come from an interrupted creation.
    parts |= {name for name in folders if name.endswith(SUFFIXES)}
    below = [name for name in folders if name not in parts and _is_ours(folder / name)]
    known = {DOCUMENT, *parts, *below}
    strays = (name for name in sorted(os.listdir(folder)) if name not in known)
    yield Group(
        folder=folder,
        arrays=tuple(arrays),
        strays=tuple(folder / name for name in strays if not disk.final_name(name)),
    )
    for name in below:
        yield from groups(folder / name)


def holds_store(folder: Path) -> bool:
    """Whether a folder holds anything of a label store, itself or below."""
    return any(group.arrays for group in groups(folder))


def _arrays(folder: Path, folders: list[str]) -> list[str]:
    """Names of the label arrays in a folder, also where only one of their three parts is left."""
    names = os.listdir(folder)
    bases = {name.removesuffix(s) for name in names for s in SUFFIXES if name.endswith(s)}
    alone = {name for name in set(folders) - bases if _is_alone(folder / name)}
    return sorted(
        base
        for base in bases - {""}
        if base in names or has_chunks(folder, base) or _is_damaged(folder, base)
    ) + sorted(name for name in alone if not name.endswith(SUFFIXES))


def _is_alone(folder: Path) -> bool:
    """Whether a folder without companions is a label array all the same."""
    if _is_foreign(folder / DOCUMENT):
        return False
    if any(SHARD_NAME.fullmatch(name) for name in os.listdir(folder)):
        return True
    try:
        return not folder_names(folder) and read_document(folder).get("node_type") == "array"
    except LabelStoreError:
        return False


def has_chunks(folder: Path, base: str) -> bool:
    """Whether the companions of array ``base`` in a sequence's folder hold anything."""
    return any(any(companion.glob("c.*")) for companion in _companions(folder, base))


def _is_damaged(folder: Path, base: str) -> bool:
    """Whether a companion cannot be read, which would stop every writer."""
    try:
        for companion in _companions(folder, base):
            if os.path.lexists(companion):
                read_description(companion)
    except LabelStoreError:
        return True
    return False


def _companions(folder: Path, base: str) -> list[Path]:
    return [folder / (base + suffix) for suffix in SUFFIXES]


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a group of a store: by its document or by what lies below."""
    document = folder / DOCUMENT
    return (os.path.lexists(document) and not _is_foreign(document)) or holds_store(folder)


def _is_foreign(document: Path) -> bool:
    """Whether another program wrote a zarr.json: zarr's form, without our checksum."""
    try:
        found = json.loads(disk.read_bytes(document))
        return "zarr_format" in found and CHECKSUM not in found.get("attributes", {})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return False
