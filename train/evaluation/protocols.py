"""Evaluation protocols: which pixels count, how a prediction is scaled, and the metrics."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.velodyne import DepthConvention

Vector = NDArray[np.float64]

METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "d1", "d2", "d3")
"""In the order of every table: four errors, then three accuracies."""
DELTA = 1.25
"""d1, d2, d3 count the pixels within this factor, its square and its cube."""


class EvaluationError(XDistillError, ValueError):
    """Predictions or ground truth that cannot be scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """How depth is scored against LiDAR, with median scaling for every image."""

    name: str
    """The published tables' name of it."""
    split: str
    """The published split whose numbers the tables hold."""
    depth: DepthConvention
    """Which coordinate of a LiDAR point is its depth."""
    min_depth: float
    """Metres; truth must be farther, predictions are raised to it."""
    max_depth: float
    """Metres; truth must be nearer, predictions are lowered to it."""
    crop: tuple[float, float, float, float]
    """Top, bottom, left and right border as fractions of the height and the width."""

    def valid_pixels(self, truth: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Mask (height, width) of the pixels that count."""
        height, width = truth.shape
        # Truncated, not rounded, as for the published numbers.
        top, bottom = int(self.crop[0] * height), int(self.crop[1] * height)
        left, right = int(self.crop[2] * width), int(self.crop[3] * width)
        inside = np.zeros(truth.shape, np.bool_)
        inside[top:bottom, left:right] = True
        return inside & (truth > self.min_depth) & (truth < self.max_depth)

    def score(
        self, disparity: NDArray[np.floating], truth: NDArray[np.float32]
    ) -> tuple[Vector, float]:
        """Score one image.

        Args:
            disparity: Scaled disparity (h, w) of any size and scale, positive.
            truth: True depth (height, width) in metres, 0 where there is none.

        Returns:
            The metrics (7,) and the scale ratio: median of the truth over median of the prediction.

        Raises:
            EvaluationError: No pixel of the truth counts, or a score is not finite.
        """
        valid = self.valid_pixels(truth)
        if not valid.any():
            raise EvaluationError(
                "no LiDAR point counts",
                expected=f"depth of {self.min_depth} to {self.max_depth} m within the crop",
                remedy="check the scan and the calibration of this frame",
            )
        height, width = truth.shape
        expected = truth[valid]
        # What leaves the range of single precision is refused below, by its scores.
        with np.errstate(all="ignore"):
            # Disparity is resized, not depth, as for the published numbers.
            depth = 1 / cv2.resize(disparity.astype(np.float32), (width, height))[valid]
            ratio = np.median(expected) / np.median(depth)
            scaled = np.clip(depth * ratio, self.min_depth, self.max_depth)
            metrics = depth_metrics(expected, scaled)
        if not (np.isfinite(metrics).all() and 0 < ratio < np.inf):
            raise EvaluationError(
                f"disparities of {disparity.min():.3g} to {disparity.max():.3g} give scores that "
                "are not finite",
                expected="disparities, and depths of 1 / disparity, that float32 can hold",
                remedy="multiply all predictions by one factor: scores do not depend on it",
            )
        return metrics, float(ratio)


EIGEN = Protocol(
    name="eigen",
    split="kitti-eigen-test",
    depth="velodyne_x",
    min_depth=1e-3,
    max_depth=80.0,
    crop=(0.40810811, 0.99189189, 0.03594771, 0.96405229),
)
"""The protocol of Eigen et al., NIPS 2014, with the crop of Garg et al., ECCV 2016."""
PROTOCOLS = {protocol.name: protocol for protocol in (EIGEN,)}


def depth_metrics(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> Vector:
    """Compare predicted with true depths, in the precision of the arrays.

    Args:
        truth: True depths (N,), metres, positive; float32 gives the published numbers to the bit.
        predicted: Predicted depths (N,) of the same points, metres, positive.

    Returns:
        The metrics (7,) in the order of ``METRICS``. Sq_rel and rmse are in metres; rmse_log uses
        natural logarithms.

    Source: section 4, Eigen et al., NIPS 2014.
    """
    error = truth - predicted
    factor = np.maximum(truth / predicted, predicted / truth)
    return np.array(
        [
            np.mean(np.abs(error) / truth),
            np.mean(error**2 / truth),
            np.sqrt(np.mean(error**2)),
            np.sqrt(np.mean((np.log(truth) - np.log(predicted)) ** 2)),
            *(np.mean(factor < DELTA**power) for power in (1, 2, 3)),
        ]
    )


def score_depth(depth: ArrayLike, truth: ArrayLike, *, protocol: str = "eigen") -> dict[str, float]:
    """Score a predicted depth map against a true one, as ``xd-eval`` scores an image.

    Args:
        depth: Predicted depth (h, w), positive, of any size and scale: it is resized to the
            truth's size and multiplied by the scale ratio.
        truth: True depth (height, width) in metres, 0 where there is none.
        protocol: ``eigen``: Garg crop, 1 mm to 80 m, median scaling.

    Returns:
        abs_rel, sq_rel, rmse, rmse_log, d1, d2, d3, and ``scale_ratio``: median of the truth over
        median of the prediction.

    Raises:
        EvaluationError: An unknown protocol, an array that is not a depth map, or no pixel counts.
    """
    if protocol not in PROTOCOLS:
        raise EvaluationError(
            f"protocol {protocol!r} does not exist",
            expected=f"one of {', '.join(PROTOCOLS)}",
            remedy="check the spelling",
        )
    predicted, expected = _depth_map(depth, "prediction"), _depth_map(truth, "truth")
    if not ((predicted > 0) & np.isfinite(predicted)).all():
        raise EvaluationError(
            "the prediction has values that are not finite and positive",
            expected="depth above 0 in every pixel",
            remedy="fill the holes of the prediction, or pass 1 / disparity",
        )
    with np.errstate(over="ignore"):
        disparity = 1 / predicted
    metrics, ratio = PROTOCOLS[protocol].score(disparity, expected)
    return {**dict(zip(METRICS, metrics.tolist(), strict=True)), "scale_ratio": ratio}


def _depth_map(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or 0 in array.shape:
        raise EvaluationError(
            f"the {name} is {array.dtype} of shape {array.shape}",
            expected="a depth map: numbers of shape (height, width)",
            remedy="pass one image, without batch and channel dimensions",
        )
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
