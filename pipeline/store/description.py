"""What a label array and its two companions are, and the zarr documents that say so.

Beside ``classes`` lie ``classes_commit`` and ``classes_counts``. Each document repeats the whole
description, so that any one of the three restores the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.pipeline.store.errors import REPAIR, CorruptLabelsError
from xdistill.pipeline.store.metadata import CHECKSUM, Json, read_document, seal

SHARD_FRAMES = 64
"""Frames in one shard file, which is what one task writes."""
ZSTD_LEVEL = 3
COMMIT_SUFFIX = "_commit"
COUNTS_SUFFIX = "_counts"


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What fixes the documents of one label array and of its two companions."""

    name: str
    """Name of the array: ``classes``, ``confidence``, ``groups_4``."""
    length: int
    """T, the highest frame number + 1."""
    size: tuple[int, int]
    """Height and width in pixels."""
    values: int
    """Labels are 0 to ``values`` - 1, or 255."""
    attributes: Json = field(default_factory=dict)
    """The user's own: the grouping table, the source's fingerprint."""

    def __post_init__(self) -> None:
        if min(self.length, *self.size) < 1 or not 1 <= self.values <= IGNORE_INDEX:
            raise ValueError(f"array of {self.length} frames, {self.size}, {self.values} values")

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.length // SHARD_FRAMES)


def documents(sequence: Path, array: Description) -> dict[Path, bytes]:
    """Folders and documents of an array and its companions, in the order of their creation.

    The array comes last: where there is an array, its companions are there and long enough.
    """
    return {
        sequence / (array.name + COUNTS_SUFFIX): counts_document(array),
        sequence / (array.name + COMMIT_SUFFIX): commit_document(array),
        sequence / array.name: label_document(array),
    }


def read_description(folder: Path) -> Description:
    """Read what a label array is from its own document.

    Raises:
        CorruptLabelsError: Absent, damaged, or no label array of this format.
    """
    document = read_document(folder)
    description = described(document, folder.name)
    if description is None or label_document(description) != seal(document):
        raise CorruptLabelsError(
            "no label array of this format",
            expected="(frames, rows, columns) of uint8 as xd-pipeline writes it",
            where=folder,
            remedy=REPAIR,
        )
    return description


def described(document: Mapping[str, Any], name: str) -> Description | None:
    """The description a label array's document stands for; None where it stands for none."""
    try:
        length, *size = document["shape"]
        attributes = dict(document["attributes"])
        values = attributes.pop("values")
        attributes.pop(CHECKSUM, None)
        height, width = size
        return Description(
            name=name, length=length, size=(height, width), values=values, attributes=attributes
        )
    except (KeyError, TypeError, ValueError):
        return None


def told_by_companion(document: Mapping[str, Any]) -> Description | None:
    """The description that a companion's document repeats; None where it repeats none."""
    try:
        about = document["attributes"]
        height, width = about["size"]
        return Description(
            name=about["array"],
            length=document["shape"][0],
            size=(height, width),
            values=about["values"],
            attributes=about["attributes"],
        )
    except (KeyError, TypeError, ValueError):
        return None


def label_document(array: Description) -> bytes:
    """The document of (T, H, W) uint8, one frame an inner chunk, 64 frames a shard."""
    inner = [1, *array.size]
    codecs = [
        {"name": "bytes"},
        {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
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
