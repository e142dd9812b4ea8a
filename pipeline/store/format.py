"""The zarr.json documents of a store: what its groups and arrays are, and how they are sealed.

Every document is written in one fixed JSON form with its own sha256 among the attributes. A read
compares the bytes with what this module would write, so that any change shows, even in white
space. To zarr these are plain zarr v3 documents.

A label array such as ``classes`` has two companions, ``classes_commit`` and ``classes_counts``.
All three documents hold the whole description, so that any one of them restores the others.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdistill.grouping.classes import IGNORE_INDEX

DOCUMENT = "zarr.json"
CHECKSUM = "xdistill_sha256"
"""Attribute that holds the checksum; a document without it was written by another program."""
CONSOLIDATED = "consolidated_metadata"
"""Key of a group's document that zarr-python adds."""
FORMAT_VERSION = 1
"""Raised when an older xdistill could not read the store correctly."""
SHARD_FRAMES = 64
"""Frames in one shard file, the unit of work of one task."""
ZSTD_LEVEL = 3
MOST_PIXELS = 1 << 28
"""In one frame; no image is larger, and no damaged size asks for more memory."""
LEVEL = "zstd_level"
"""Attribute of an array that is compressed at another level."""
IMAGES = "images"
"""Name of the arrays that hold resized images, not labels."""
COMMIT_SUFFIX = "_commit"
COUNTS_SUFFIX = "_counts"

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What determines the documents of one label array and of its two companions."""

    name: str
    """Name of the array: ``classes``, ``confidence``, ``groups_4``."""
    length: int
    """T, the highest frame number + 1."""
    size: tuple[int, int]
    """Height and width in pixels."""
    values: int
    """Labels are 0 to ``values`` - 1, or 255."""
    attributes: Json = field(default_factory=dict)
    """The caller's own: the grouping table, the source's fingerprint."""

    def __post_init__(self) -> None:
        numbers = (self.length, *self.size, self.values)
        # Not isinstance, for which true is a whole number.
        if not all(type(number) is int for number in numbers) or min(numbers) < 1:
            raise ValueError(f"{numbers} are not whole numbers from 1 on")
        if self.size[0] * self.size[1] > MOST_PIXELS or self.values > IGNORE_INDEX:
            raise ValueError(f"frames of {self.size} with {self.values} values")
        if type(self.name) is not str or type(self.attributes) is not dict:
            raise ValueError(f"name {self.name!r}, attributes {self.attributes!r}")

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.length // SHARD_FRAMES)

    @property
    def level(self) -> int:
        """Level of zstd."""
        return int(self.attributes.get(LEVEL, ZSTD_LEVEL))


def documents(sequence: Path, array: Description) -> dict[Path, bytes]:
    """Folders and documents of an array and its companions, in order of creation.

    The array comes last: wherever it exists, its companions exist and are long enough.
    """
    return {
        sequence / (array.name + COUNTS_SUFFIX): counts_document(array),
        sequence / (array.name + COMMIT_SUFFIX): commit_document(array),
        sequence / array.name: label_document(array),
    }


def label_document(array: Description) -> bytes:
    """The document of (T, H, W) uint8, one frame an inner chunk, 64 frames a shard."""
    inner = [1, *array.size]
    codecs = [
        {"name": "bytes"},
        {"name": "zstd", "configuration": {"level": array.level, "checksum": False}},
        {"name": "crc32c"},
    ]
    sharding = {
        "chunk_shape": inner,
        "codecs": codecs,
        "index_codecs": _LITTLE_CRC32C,
        "index_location": "end",
    }
    return _array_document(
        shape=[array.length, *array.size],
        chunk=[SHARD_FRAMES, *array.size],
        data_type="uint8",
        fill_value=IGNORE_INDEX,
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        dimensions=["frame", "row", "column"],
        attributes={**array.attributes, "values": array.values},
    )


def commit_document(array: Description) -> bytes:
    """The document of ``<array>_commit``, (T,) uint64."""
    return _array_document(
        shape=[array.length],
        chunk=[SHARD_FRAMES],
        data_type="uint64",
        fill_value=0,
        codecs=_LITTLE_CRC32C,
        dimensions=["frame"],
        attributes=_about(array),
    )


def counts_document(array: Description) -> bytes:
    """The document of ``<array>_counts``, (T, values + 1) uint32."""
    return _array_document(
        shape=[array.length, array.values + 1],
        chunk=[SHARD_FRAMES, array.values + 1],
        data_type="uint32",
        fill_value=0,
        codecs=_LITTLE_CRC32C,
        dimensions=["frame", "value"],
        attributes=_about(array),
    )


def group_document(attributes: Mapping[str, Any]) -> bytes:
    """The document of a group; every group of a store holds a copy of the root's."""
    return seal({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


_LITTLE_CRC32C: list[Json] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]


def _about(array: Description) -> Json:
    return {
        "array": array.name,
        "size": list(array.size),
        "values": array.values,
        "attributes": array.attributes,
    }


def _array_document(
    *,
    shape: Sequence[int],
    chunk: Sequence[int],
    data_type: str,
    fill_value: int,
    codecs: Sequence[Json],
    dimensions: Sequence[str],
    attributes: Mapping[str, Any],
) -> bytes:
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        # Chunk files lie flat in the array's folder, so that one fsync of it secures a rename.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill_value,
        "codecs": list(codecs),
        "dimension_names": list(dimensions),
        "storage_transformers": [],
        "attributes": dict(attributes),
    }
    return seal(document)


def described(document: Mapping[str, Any], folder: Path) -> Description | None:
    """What an array's or companion's document says of the array; None for any other document.

    Args:
        document: From ``read_document``.
        folder: Where it was read, which says whether it must be the array's or a companion's.
    """
    try:
        for suffix, form in COMPANIONS.items():
            if folder.name.endswith(suffix):
                found = _described_by_companion(document)
                own = found.name + suffix == folder.name
                return found if own and form(found) == seal(document) else None
        found = _described_by_itself(document, folder.name)
        return found if label_document(found) == seal(document) else None
    except (LookupError, TypeError, ValueError):
        return None


def _described_by_itself(document: Mapping[str, Any], name: str) -> Description:
    length, height, width = document["shape"]
    own = {k: v for k, v in document["attributes"].items() if k not in (CHECKSUM, "values")}
    values = document["attributes"]["values"]
    return Description(
        name=name, length=length, size=(height, width), values=values, attributes=own
    )


def _described_by_companion(document: Mapping[str, Any]) -> Description:
    about = document["attributes"]
    height, width = about["size"]
    return Description(
        name=about["array"],
        length=document["shape"][0],
        size=(height, width),
        values=about["values"],
        attributes=about["attributes"],
    )


COMPANIONS: Mapping[str, Callable[[Description], bytes]] = {
    COMMIT_SUFFIX: commit_document,
    COUNTS_SUFFIX: counts_document,
}
"""The forms of the documents beside a label array's own, by the ending of their folder's name."""


def is_store_group(document: Mapping[str, Any]) -> bool:
    """Whether a document is that of a group of some label store."""
    about = document["attributes"]
    kinds = {"classes": list, "teacher": dict, "fingerprint": str}
    return document.get("node_type") == "group" and all(
        isinstance(about.get(key), kind) for key, kind in kinds.items()
    )


def plain(value: Mapping[str, Any]) -> Json:
    """The value as it returns from JSON: tuples as lists, keys as text."""
    return dict(json.loads(json.dumps(value, allow_nan=False)))


def seal(document: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a document, with its checksum among the attributes."""
    attributes = {k: v for k, v in document["attributes"].items() if k != CHECKSUM}
    bare = {**document, "attributes": attributes}
    digest = hashlib.sha256(canonical(bare)).hexdigest()
    return canonical({**bare, "attributes": {**attributes, CHECKSUM: digest}})


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one form in which documents are written."""
    # Line breaks by the separator: indent would take json's slow path, 0.4 ms a document.
    text = json.dumps(document, sort_keys=True, separators=(",\n", ": "), allow_nan=False)
    return (text + "\n").encode()
