"""Scores of predicted disparities over the frames of a split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.evaluation.depth_model import Disparity
from xdistill.train.evaluation.predictions import require_disparity
from xdistill.train.evaluation.protocols import METRICS, EvaluationError, Protocol, Vector
from xdistill.train.evaluation.truth_file import read_depth


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The scores of one prediction on the frames of a split."""

    frames: tuple[Frame, ...]
    """The frames, in the split's order."""
    per_image: Vector
    """Metrics (frames, 7)."""
    ratios: Vector
    """Scale ratios (frames,): median of the truth over median of the prediction."""

    @property
    def means(self) -> dict[str, float]:
        """Each metric's mean over the images, as in the published tables."""
        return dict(zip(METRICS, self.per_image.mean(axis=0).tolist(), strict=True))

    @property
    def ratio_median(self) -> float:
        """Median of the scale ratios; 1 for a prediction in metres."""
        return float(np.median(self.ratios))

    @property
    def ratio_spread(self) -> float:
        """Standard deviation of the ratios over their median: how far the scale drifts."""
        return float(np.std(self.ratios / self.ratio_median))

    def as_json(self) -> dict[str, Any]:
        """Means, per-image scores and scale ratios as plain values."""
        rows = zip(self.frames, self.per_image.tolist(), self.ratios.tolist(), strict=True)
        return {
            "metrics": self.means,
            "scale_ratio": {"median": self.ratio_median, "spread": self.ratio_spread},
            "per_image": [
                {"frame": str(frame), **dict(zip(METRICS, row, strict=True)), "ratio": ratio}
                for frame, row, ratio in rows
            ],
        }


def evaluate(
    disparities: Iterable[Disparity],
    frames: Sequence[Frame],
    ground_truth: Path,
    *,
    protocol: Protocol,
) -> Evaluation:
    """Score one disparity map for each frame.

    Args:
        disparities: Scaled disparity (h, w) of each frame, in the frames' order.
        frames: The frames of the split.
        ground_truth: File with their depth.
        protocol: Which pixels count and how predictions are scaled.

    Raises:
        EvaluationError: A prediction is not finite and positive, or a frame has no depth that
            counts; the frame is named.
        GroundTruthError: The depth of a frame is missing or damaged.
    """
    scores = []
    for frame, disparity in zip(frames, disparities, strict=True):
        require_disparity(
            disparity, frame, where=None, remedy="check the network: it may have diverged"
        )
        truth = read_depth(ground_truth, frame)
        try:
            scores.append(protocol.score(disparity, truth))
        except EvaluationError as error:
            raise EvaluationError(f"frame {frame}: {error}") from error
    return Evaluation(
        frames=tuple(frames),
        per_image=np.array([metrics for metrics, _ in scores]),
        ratios=np.array([ratio for _, ratio in scores]),
    )
