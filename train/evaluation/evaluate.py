"""Evaluation of predicted disparities on the frames of a split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.evaluation.ground_truth import read_depth
from xdistill.train.evaluation.metrics import METRICS, Vector
from xdistill.train.evaluation.protocols import EvaluationError, Protocol

Disparity = NDArray[np.float32]


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
        """Each metric's mean over the images, as the published tables print it."""
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
        if bad := _bad_values(disparity):
            raise _not_positive(frame, bad, disparity.size, where=None)
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


def read_predictions(path: Path, frames: Sequence[Frame]) -> NDArray[Any]:
    """Open a file of predictions: scaled disparity (frames, h, w) in the split's order.

    Monodepth2 saves this form with ``--save_pred_disps``. The file is mapped, not loaded.

    Raises:
        EvaluationError: Missing, no such file, another shape, or values that are no disparity.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _no_predictions(path, f"the predictions cannot be read ({error})") from error
    if not isinstance(values, np.ndarray):
        values.close()
        raise _no_predictions(path, "an archive of several arrays")
    if values.ndim != 3 or values.dtype.kind != "f" or 0 in values.shape[1:]:
        raise _no_predictions(path, f"{values.dtype} of shape {values.shape}")
    if len(values) != len(frames):
        raise EvaluationError(
            f"predictions of {len(values)} images",
            expected=f"{len(frames)}, one for each frame of the split in its order",
            where=path,
            remedy="predict this split, or name the split that was predicted with --split",
        )
    for frame, disparity in zip(frames, values, strict=True):
        if bad := _bad_values(disparity):
            raise _not_positive(frame, bad, disparity.size, where=path)
    return values


def _bad_values(disparity: NDArray[Any]) -> int:
    """How many values are no disparity: not finite or not positive."""
    return int(disparity.size - np.count_nonzero((disparity > 0) & np.isfinite(disparity)))


def _not_positive(frame: Frame, bad: int, size: int, *, where: Path | None) -> EvaluationError:
    return EvaluationError(
        f"{bad} of {size} disparities of frame {frame} are not finite and positive",
        expected="scaled disparity: 1 / depth, above 0 everywhere",
        where=where,
        remedy="check the network that made them; it may have diverged"
        if where is None
        else "save scaled disparity, neither depth nor the logarithm of anything",
    )


def _no_predictions(path: Path, found: str) -> EvaluationError:
    return EvaluationError(
        found,
        expected="a .npy file of floating-point disparities of shape (frames, height, width)",
        where=path,
        remedy="save them with numpy.save",
    )
