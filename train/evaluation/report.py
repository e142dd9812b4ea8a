"""What an evaluation tells: the table with its footnotes as text, and every number as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xdistill.manifests import loader
from xdistill.manifests.download import sha256_of
from xdistill.train.evaluation.evaluate import Evaluation
from xdistill.train.evaluation.ground_truth import read_source
from xdistill.train.evaluation.metrics import METRICS
from xdistill.train.evaluation.protocols import Protocol
from xdistill.train.evaluation.published import NOT_STATED, Row, format_table, matching_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What was evaluated."""

    name: str
    """The method column of its row."""
    backbone: str | None
    """Encoder as the published tables name it; None if it is not known."""
    resolution: str
    """Width and height of its disparities: ``640x192``."""
    facts: Mapping[str, str]
    """What else the report says about it, by heading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """An evaluation with all that is needed to read it."""

    subject: Subject
    """What was evaluated."""
    scores: Evaluation
    """Its scores."""
    protocol: Protocol
    """How it was scored."""
    split: str
    """The split as the user named it."""
    split_file: Path
    """The split's file."""
    ground_truth: Path
    """File with the depth it was scored against."""

    def text(self) -> str:
        """The table, our row under the published ones, and what one must know to compare them."""
        published, compromise = self._published()
        scores, count = self.scores, len(self.scores.frames)
        drives = len({frame.drive for frame in scores.frames})
        facts = {
            "split": f"{self.split}, {count} images, {drives} drive" + "s" * (drives != 1),
            "truth": f"{self.ground_truth} (LiDAR, {self.protocol.depth}, "
            f"from {read_source(self.ground_truth)['data']})",
            **self.subject.facts,
            "scale": f"ratio truth / prediction: median {scores.ratio_median:.3f}, "
            f"spread {scores.ratio_spread:.3f}; removed in each image",
        }
        width = max(map(len, facts)) + 2
        lines = [f"{heading + ':':{width}}{fact}" for heading, fact in facts.items()]
        warnings = [f"note: {text}" for text in (compromise, self._other_frames()) if text]
        return "\n".join([format_table(published, self._row()), "", *lines, *warnings])

    def as_json(self) -> dict[str, Any]:
        """Means, per-image scores, the published rows, and how the numbers came about."""
        published, compromise = self._published()
        return {
            "method": self.subject.name,
            "backbone": self.subject.backbone,
            "resolution": self.subject.resolution,
            **self.scores.as_json(),
            "published": [row.as_json() for row in published],
            "split": {
                "name": self.split,
                "frames": len(self.scores.frames),
                "sha256": sha256_of(self.split_file),
            },
            "protocol": asdict(self.protocol),
            "ground_truth": {"file": str(self.ground_truth), **read_source(self.ground_truth)},
            "subject": dict(self.subject.facts),
            "notes": [text for text in (compromise, self._other_frames()) if text],
        }

    def _row(self) -> Row:
        means = self.scores.means
        return Row(
            method=self.subject.name,
            backbone=self.subject.backbone or NOT_STATED,
            resolution=self.subject.resolution,
            metrics=tuple(f"{means[name]:.3f}" for name in METRICS),
        )

    def _published(self) -> tuple[list[Row], str | None]:
        return matching_rows(
            self.protocol.name, backbone=self.subject.backbone, resolution=self.subject.resolution
        )

    def _other_frames(self) -> str | None:
        """What stands in the way of comparing with the published rows; None if nothing does."""
        manifest = loader.load("splits", self.protocol.split)
        if sha256_of(self.split_file) == manifest["sha256"]:
            return None
        return (
            f"the published rows are of the {manifest['count']} images of {self.protocol.split}, "
            f"ours of the {len(self.scores.frames)} of {self.split}: not comparable"
        )
