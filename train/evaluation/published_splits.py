"""Published splits as lists of frames, whatever file they come in, and what they are scored by."""

import hashlib
from collections.abc import Iterable

from xdistill.manifests import loader
from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.evaluation.protocols import EIGEN, EvaluationError

ANNOTATED = "annotated"
"""Depth that a split's manifest names where its numbers stand for the improved ground truth."""


def frames_sha256(frames: Iterable[Frame]) -> str:
    """sha256 of the frames written as a split file, in their order."""
    return hashlib.sha256("".join(f"{frame}\n" for frame in frames).encode()).hexdigest()


def published_name(frames: Iterable[Frame]) -> str | None:
    """The published split of exactly these frames, in any order; None if there is none."""
    digest = frames_sha256(sorted(frames))
    for name in loader.names("splits"):
        if loader.load("splits", name)["frames_sha256"] == digest:
            return name
    return None


def require_lidar(split: str | None) -> None:
    """Check that a split's numbers stand for raw LiDAR, which is what xd-eval scores against.

    Args:
        split: Name of a published split; any other split is taken as meant for LiDAR.

    Raises:
        EvaluationError: The split stands for the improved ground truth.
    """
    if split not in loader.names("splits"):
        return
    if loader.load("splits", split).get("depth") == ANNOTATED:
        raise EvaluationError(
            f"{split} stands for the improved ground truth (Uhrig et al., 3DV 2017): scores "
            "against raw LiDAR would not compare with any published ones",
            expected="a split that is scored against raw LiDAR; annotated depth (KITTI's "
            "data_depth_annotated.zip) is not read yet",
            where=f"split {split}",
            remedy=f"score {EIGEN.split}, which stands for raw LiDAR",
        )
