"""The zarr.json documents of a store: canonical bytes under a checksum, so that no flip is silent.

Every document carries the sha256 of itself in its attributes and is written in one fixed JSON
form. Reading compares the bytes with what this module would write, so that any change, also in
white space, is seen. To zarr these are plain zarr v3 documents.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdistill.pipeline.store.errors import REPAIR, CorruptLabelsError, LabelStoreError

DOCUMENT = "zarr.json"
CHECKSUM = "xdistill_sha256"
"""Attribute with the checksum; a document without it is another program's."""
FORMAT_VERSION = 1
"""Raised when an older xdistill could not read the store correctly."""
Json = dict[str, Any]


def seal(document: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a document, with its checksum among the attributes."""
    attributes = {k: v for k, v in document["attributes"].items() if k != CHECKSUM}
    bare = {**document, "attributes": attributes}
    digest = hashlib.sha256(_canonical(bare)).hexdigest()
    return _canonical({**bare, "attributes": {**attributes, CHECKSUM: digest}})


def _canonical(document: Mapping[str, Any]) -> bytes:
    # Line breaks by the separator: indent would take json's slow path, 0.4 ms a document.
    text = json.dumps(document, sort_keys=True, separators=(",\n", ": "), allow_nan=False)
    return (text + "\n").encode()


def plain(value: Mapping[str, Any]) -> Json:
    """The value as JSON gives it back: tuples as lists, keys as text."""
    return dict(json.loads(json.dumps(value, allow_nan=False)))


def unseal(data: bytes, where: Path) -> Json:
    """Parse a document written by ``seal``.

    Raises:
        CorruptLabelsError: The bytes are not exactly what was written.
        LabelStoreError: Written by a newer version.
    """
    try:
        document = json.loads(data)
        version = document["attributes"].get("format_version", 1)
        intact = seal(document) == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        version, intact = 1, False
    # First, because a newer version may seal its documents in another way.
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise LabelStoreError(
            f"label store of format version {version}",
            expected=f"version {FORMAT_VERSION} at most",
            where=where,
            remedy="update xdistill",
        )
    if not intact:
        raise CorruptLabelsError(
            "metadata that does not match its checksum",
            expected="the bytes as this store wrote them",
            where=where,
            remedy=REPAIR,
        )
    return dict(document)


def read_document(folder: Path) -> Json:
    """Read the document of one group or array.

    Raises:
        CorruptLabelsError: Absent, unreadable or changed.
    """
    path = folder / DOCUMENT
    try:
        return unseal(path.read_bytes(), path)
    except LabelStoreError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorruptLabelsError(
            "a folder without metadata" if folder.is_dir() else "no such array or folder",
            expected=f"a file {DOCUMENT}",
            where=folder,
            remedy=REPAIR if folder.is_dir() else "check the path; xd-pipeline info lists arrays",
        ) from error
    except OSError as error:
        raise CorruptLabelsError(
            f"metadata that cannot be read: {error.strerror}", where=path, remedy=REPAIR
        ) from error


def group_document(attributes: Mapping[str, Any]) -> bytes:
    """The document of a group. All groups of a store carry the same one, as copies of the root."""
    return seal({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})
