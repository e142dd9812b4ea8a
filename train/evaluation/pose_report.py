"""The motions that a run has learned, compared with the recorded ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.oxts import forward_motions
from xdistill.pipeline.kitti.rectified import require_rectified
from xdistill.train.checkpoint import load_checkpoint
from xdistill.train.data.augment import NOTHING
from xdistill.train.data.dataset import TripletDataset, collate, unit_images
from xdistill.train.data.triplets import Selection, find_triplets
from xdistill.train.pose_agreement import Floats, PoseReportError, compare, failures
from xdistill.train.recipe.file import load_run_recipe
from xdistill.train.training import Training, new_training

BATCH_SIZE = 8
"""Frames in one forward pass; no motion depends on it."""


def learned_motions(training: Training, data: Path, frames: Sequence[Frame]) -> Floats:
    """T(target -> later source) (N, 4, 4) of frames, predicted by a run's pose network.

    Raises:
        PoseReportError: The run was trained with recorded poses.
        XDistillError: An image cannot be read.
    """
    if training.model.pose is None:
        raise PoseReportError(
            "the run has no pose network: it was trained with recorded poses",
            expected='a run of a recipe with pose = "network"',
            remedy="name another run: this one learned no motions that could be compared",
        )
    dataset = TripletDataset(data, frames, recipe=training.recipe, labels=None)
    require_rectified(data, frames)
    dataset.require_recordings()
    training.model.eval()
    result = []
    for start in range(0, len(frames), BATCH_SIZE):
        members = range(start, min(start + BATCH_SIZE, len(frames)))
        batch = collate([dataset.sample(n, NOTHING) for n in members]).to(training.device)
        with torch.inference_mode():
            later = training.model.motions(batch, unit_images(batch.originals))[1]
        result.append(later.cpu().double().numpy())
    return np.concatenate(result)


def report(run: Path, data: Path, split: str) -> dict[str, Any]:
    """Compare learned with recorded motions on the frames of a split.

    Raises:
        XDistillError: The run, a frame or a recorded pose cannot be read.
    """
    training = new_training(load_run_recipe(run), device=torch.device("cpu"))
    load_checkpoint(run, training)
    frames = find_triplets(data, Selection(split=split)).frames
    learned = learned_motions(training, data, frames)
    axes = compare(learned, forward_motions(data, frames))
    return {
        "run": str(run),
        "frames": len(frames),
        "poses": training.recipe.pose_source,
        "failures": failures(axes),
        "axes": {name: axis.as_json() for name, axis in axes.items()},
    }


def text(content: dict[str, Any]) -> str:
    """The report as a table, failures last."""
    lines = [f"{content['frames']} frames, {content['poses']}"]
    lines.append(f"{'':<22}{'correlation':>12}{'error':>9}{'trivial':>9}{'spread/true':>13}")
    for name, axis in content["axes"].items():
        lines.append(
            f"{name + ', ' + axis['unit']:<22}{_shown(axis['correlation'], 2):>12}"
            f"{_shown(axis['error'], 3):>9}{_shown(axis['trivial_error'], 3):>9}"
            f"{_shown(axis['spread_ratio'], 2):>13}"
        )
    lines.append(
        "trivial: no yaw, no pitch, one speed for all frames; speed is scaled to the true median"
    )
    return "\n".join([*lines, *content["failures"]])


def _shown(value: float | None, decimals: int) -> str:
    return "none" if value is None else f"{value:.{decimals}f}"
