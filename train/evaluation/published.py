"""The published results: rows of the paper's tables, as printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xdistill.manifests import loader
from xdistill.manifests.errors import ManifestError
from xdistill.train.evaluation.protocols import METRICS

MAIN_TABLES = ("2", "8")
"""Tables of results; Tables 5-7 are ablations."""
USUAL_RESOLUTION = "640x192"
NOT_STATED = "NA"
REFERENCE = ("table", "method", "backbone", "resolution")
"""Columns that name a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a results table."""

    method: str
    """Name of the method; in our own row, of the run or file."""
    backbone: str
    """Encoder as the tables name it (RN50); NA where it is not stated."""
    resolution: str
    """Width and height of the network's images: 640x192."""
    metrics: tuple[str, ...]
    """The seven metrics as printed."""
    semantic: bool = False
    """Whether the method uses semantic labels: the dagger of the tables."""
    note: str | None = None
    """What looks wrong with the printed values."""
    table: str | None = None
    """Number of the table that prints it; None for our own row."""

    def as_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return {
            "method": self.method,
            "backbone": self.backbone,
            "resolution": self.resolution,
            "table": self.table,
            "semantic": self.semantic,
            **{name: float(text) for name, text in zip(METRICS, self.metrics, strict=True)},
            "note": self.note,
        }


def published_rows(protocol: str) -> list[Row]:
    """Rows of Tables 2 and 8 (Cai et al. 2021) under a protocol, without repetitions."""
    rows: dict[tuple[str, ...], Row] = {}
    for line in loader.load_table("published", "published_results"):
        if line["protocol"] == protocol and line["table"] in MAIN_TABLES:
            row = _row(line)
            rows.setdefault((row.backbone, row.resolution, *row.metrics), row)
    return list(rows.values())


def published_row(reference: str) -> Row:
    """The row that a recipe names: table, method, backbone, resolution.

    Raises:
        ManifestError: The tables have no such row.
    """
    for line in loader.load_table("published", "published_results"):
        if reference == " ".join(line[key] for key in REFERENCE):
            return _row(line)
    raise ManifestError(
        f"no published table has the row {reference!r}",
        expected="a table's number, method, backbone and resolution as printed there",
        remedy=f"correct {reference!r} in the recipe",
    )


def _row(line: Mapping[str, str]) -> Row:
    return Row(
        method=line["method"],
        backbone=line["backbone"],
        resolution=line["resolution"],
        metrics=tuple(line[name] for name in METRICS),
        semantic=line["semantic_dagger"] == "1",
        note=_note(line),
        table=line["table"],
    )


def _note(line: Mapping[str, str]) -> str | None:
    for note in loader.load_table("published", "notes"):
        if all(note[name] == line[name] for name in REFERENCE):
            return note["note"]
    return None


def matching_rows(
    protocol: str, *, backbone: str | None, resolution: str
) -> tuple[list[Row], str | None]:
    """Published rows to compare with, and how they differ from the wanted ones.

    Args:
        protocol: Name of the protocol in the tables.
        backbone: Encoder as the tables name it; None if it is not known.
        resolution: Width and height of the network's images: ``640x192``.
    """
    rows = published_rows(protocol)
    backbones = (None,) if backbone is None else (backbone, None)
    wanted = [(name, size) for name in backbones for size in (resolution, USUAL_RESOLUTION)]
    for name, size in wanted:
        found = [row for row in rows if name in (None, row.backbone) and row.resolution == size]
        if found:
            break
    if (name, size) == wanted[0]:
        return found, None
    asked = f"{backbone} at {resolution}" if backbone else resolution
    shown = f"{name} at {size}" if name else f"any backbone at {size}"
    return found, f"no published row of {asked}; shown are those of {shown}"
