"""The published results: rows of the paper's tables, as printed."""

from dataclasses import dataclass
from typing import Any

from xdistill.manifests import loader
from xdistill.train.evaluation.protocols import METRICS

MAIN_TABLES = ("2", "8")
"""Tables of results; Tables 5-7 are ablations."""
USUAL_RESOLUTION = "640x192"
NOT_STATED = "NA"


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
            metrics = tuple(line[name] for name in METRICS)
            row = Row(
                method=line["method"],
                backbone=line["backbone"],
                resolution=line["resolution"],
                metrics=metrics,
                semantic=line["semantic_dagger"] == "1",
                note=_note(line),
                table=line["table"],
            )
            rows.setdefault((row.backbone, row.resolution, *metrics), row)
    return list(rows.values())


def _note(line: dict[str, str]) -> str | None:
    key = ("table", "method", "backbone", "resolution")
    for note in loader.load_table("published", "notes"):
        if all(note[name] == line[name] for name in key):
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
