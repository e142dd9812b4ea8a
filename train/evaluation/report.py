"""The report of an evaluation: a table with footnotes as text, and every number as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xdistill.manifests import loader
from xdistill.manifests.download import sha256_of
from xdistill.train.evaluation.predictions import Predictions
from xdistill.train.evaluation.protocols import METRICS, Protocol
from xdistill.train.evaluation.published import NOT_STATED, Row, matching_rows
from xdistill.train.evaluation.published_splits import published_name
from xdistill.train.evaluation.scores import Evaluation
from xdistill.train.evaluation.truth_file import read_source


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """An evaluation, with everything a reader needs to judge it."""

    predictions: Predictions
    """What was scored."""
    scores: Evaluation
    """Their scores."""
    protocol: Protocol
    """How they were scored."""
    split: str
    """The split, as the user named it."""
    split_file: Path
    """The split's file."""
    ground_truth: Path
    """File with the depth they were scored against."""

    def text(self) -> str:
        """The table, with our row under the published ones, and what a comparison must consider."""
        published, compromise = self._published()
        scores, count = self.scores, len(self.scores.frames)
        drives = len({frame.drive for frame in scores.frames})
        facts = {
            "split": f"{self.split}, {count} images, {drives} drive" + "s" * (drives != 1),
            "truth": f"{self.ground_truth} (LiDAR, {self.protocol.depth}, "
            f"from {read_source(self.ground_truth).data})",
            **self.predictions.facts,
            "scale": f"ratio truth / prediction: median {scores.ratio_median:.3f}, "
            f"spread {scores.ratio_spread:.3f}; removed in each image",
        }
        width = max(map(len, facts)) + 2
        lines = [f"{heading + ':':{width}}{fact}" for heading, fact in facts.items()]
        warnings = [f"note: {text}" for text in (compromise, self._other_frames()) if text]
        return "\n".join([format_table(published, self._row()), "", *lines, *warnings])

    def as_json(self) -> dict[str, Any]:
        """Means, per-image scores, the published rows, and how the numbers were made."""
        published, compromise = self._published()
        return {
            "method": self.predictions.name,
            "backbone": self.predictions.backbone,
            "resolution": self.predictions.resolution,
            **self.scores.as_json(),
            "published": [row.as_json() for row in published],
            "split": {
                "name": self.split,
                "frames": len(self.scores.frames),
                "sha256": sha256_of(self.split_file),
            },
            "protocol": asdict(self.protocol),
            "ground_truth": {
                "file": str(self.ground_truth),
                **asdict(read_source(self.ground_truth)),
            },
            "subject": dict(self.predictions.facts),
            "notes": [text for text in (compromise, self._other_frames()) if text],
        }

    def _row(self) -> Row:
        means = self.scores.means
        return Row(
            method=self.predictions.name,
            backbone=self.predictions.backbone or NOT_STATED,
            resolution=self.predictions.resolution,
            metrics=tuple(f"{means[name]:.3f}" for name in METRICS),
        )

    def _published(self) -> tuple[list[Row], str | None]:
        return matching_rows(
            self.protocol.name,
            backbone=self.predictions.backbone,
            resolution=self.predictions.resolution,
        )

    def _other_frames(self) -> str | None:
        """Why the published rows are not comparable; None if they are."""
        if published_name(self.scores.frames) == self.protocol.split:
            return None
        manifest = loader.load("splits", self.protocol.split)
        return (
            f"the published rows are of the {manifest['count']} images of {self.protocol.split}, "
            f"ours of the {len(self.scores.frames)} of {self.split}: not comparable"
        )


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
