"""Evaluation protocols: which pixels count, and how a prediction is scaled before it is scored."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.velodyne import DepthConvention
from xdistill.train.evaluation.metrics import Vector, depth_metrics


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
        # Truncated, not rounded: so the published numbers were made.
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
            EvaluationError: No pixel of the truth counts.
        """
        valid = self.valid_pixels(truth)
        if not valid.any():
            raise EvaluationError(
                "no LiDAR point counts",
                expected=f"depth of {self.min_depth} to {self.max_depth} m within the crop",
                remedy="check the scan and the calibration of this frame",
            )
        height, width = truth.shape
        # Disparity is resized, not depth: so the published numbers were made.
        depth = 1 / cv2.resize(disparity.astype(np.float32), (width, height))[valid]
        expected = truth[valid]
        ratio = np.median(expected) / np.median(depth)
        scaled = np.clip(depth * ratio, self.min_depth, self.max_depth)
        return depth_metrics(expected, scaled), float(ratio)


EIGEN = Protocol(
    name="eigen",
    split="kitti-eigen-test",
    depth="velodyne_x",
    min_depth=1e-3,
    max_depth=80.0,
    crop=(0.40810811, 0.99189189, 0.03594771, 0.96405229),
)
"""The Eigen protocol with the crop of Garg et al., ECCV 2016."""
