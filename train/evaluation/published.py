"""The published results, and the table that puts a run under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdistill.manifests import loader
from xdistill.train.evaluation.metrics import METRICS

MAIN_TABLES = ("2", "8")
"""Results in their own right; Tables 5-7 vary one choice each."""
USUAL_RESOLUTION = "640x192"
NOT_STATED = "NA"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a results table."""

    method: str
    """Method's name; for our own row the run or the file."""
    backbone: str
    """Encoder as the tables name it (RN50); NA where it is not stated."""
    resolution: str
    """Width and height of the network's images: 640x192."""
    metrics: tuple[str, ...]
    """The seven metrics as printed."""
    semantic: bool = False
    """Whether the method uses semantic labels: the dagger of the tables."""
    note: str | None = None
    """What looks wrong about the printed values."""
    table: str | None = None
    """Number of the table it is printed in; None for our own row."""

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
    """Rows of Tables 2 and 8 (Cai et al. 2021) under a protocol; a repeated row comes once."""
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
    """Published rows to compare with, and what had to be given up to find any.

    Args:
        protocol: Name of the protocol, as in the tables.
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


def format_table(published: Sequence[Row], ours: Row) -> str:
    """Aligned text: the published rows, ours under them, then the footnotes."""
    notes = [row.note for row in published if row.note]
    numbers = {note: f" [{number}]" for number, note in enumerate(dict.fromkeys(notes), start=1)}
    header = ["method", "backbone", "resolution", *METRICS]
    lines = [header] + [
        [
            row.method + (" †" if row.semantic else "") + numbers.get(row.note or "", ""),
            "-" if row.backbone == NOT_STATED else row.backbone,
            row.resolution,
            *row.metrics,
        ]
        for row in (*published, ours)
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [_aligned(line, widths) for line in lines]
    rule = "-" * len(text[0])
    footnotes = [f"{number.strip()} {note}" for note, number in numbers.items()]
    if any(row.semantic for row in published):
        footnotes.insert(0, "† uses semantic labels")
    return "\n".join([text[0], rule, *text[1:-1], rule, text[-1], "", *footnotes]).rstrip()


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    names = len(line) - len(METRICS)
    cells = [
        text.ljust(width) if position < names else text.rjust(width)
        for position, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells)
