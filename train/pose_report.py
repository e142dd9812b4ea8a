"""How well learned motions agree with the recorded ones, beside motions that nobody had to learn.

The direction of the translation proves nothing: a car goes forward, so a constant is right to two
degrees. What a pose network has learned shows in what varies from frame to frame.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline import console
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.oxts import camera_motion
from xdistill.train.augment import NOTHING
from xdistill.train.batch import collate, unit_images
from xdistill.train.checkpoint import load_checkpoint
from xdistill.train.data import TripletDataset
from xdistill.train.recipe_file import load_run_recipe
from xdistill.train.training import Training, new_training
from xdistill.train.triplets import Selection, find_triplets

Floats = NDArray[np.float64]

BATCH_SIZE = 8
LEAST_SPREAD = 0.1
"""Motions that vary by less than this share of the true spread are called constant."""
FEWEST = 3
"""Frames from which a correlation can be told."""
AXES = {"yaw": "degrees", "pitch": "degrees", "speed": "m a frame"}


class PoseReportError(XDistillError, ValueError):
    """Motions that cannot be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One component of the motion from each frame to the next."""

    unit: str
    """Of all values."""
    learned: Floats
    """(N,) as predicted; speed has the true median."""
    recorded: Floats
    """(N,) from oxts."""
    trivial: float
    """What the trivial motion has for every frame: no turn, or the median speed."""

    @property
    def correlation(self) -> float | None:
        """Pearson's, None where one side does not vary."""
        if min(self.learned.std(), self.recorded.std()) < np.finfo(np.float32).eps:
            return None
        return float(np.corrcoef(self.learned, self.recorded)[0, 1])

    @property
    def spread_ratio(self) -> float:
        """Standard deviation of the learned values over that of the recorded ones."""
        return float(self.learned.std() / max(self.recorded.std(), 1e-12))

    def as_json(self) -> dict[str, Any]:
        """Figures, and the pairs (recorded, learned) themselves."""
        pairs = np.column_stack([self.recorded, self.learned]).round(5)
        return {
            "unit": self.unit,
            "correlation": self.correlation,
            "error": float(np.abs(self.learned - self.recorded).mean()),
            "trivial_error": float(np.abs(self.trivial - self.recorded).mean()),
            "spread_ratio": self.spread_ratio,
            "pairs": pairs.tolist(),
        }


def components(motions: Floats) -> Floats:
    """Yaw and pitch in degrees and length of the translation of rigid motions.

    Args:
        motions: T(target -> later source) (N, 4, 4), camera axes: right, down, forward.

    Returns:
        (N, 3). Yaw turns about the axis that points down, pitch about the one to the right.
    """
    yaw = np.degrees(np.arctan2(motions[:, 0, 2], motions[:, 2, 2]))
    pitch = np.degrees(np.arcsin(np.clip(-motions[:, 1, 2], -1, 1)))
    return np.column_stack([yaw, pitch, np.linalg.norm(motions[:, :3, 3], axis=1)])


def compare(learned: Floats, recorded: Floats) -> dict[str, Axis]:
    """Yaw, pitch and speed of motions (N, 4, 4), learned beside recorded.

    Raises:
        PoseReportError: Fewer motions than a correlation needs.
    """
    if len(recorded) < FEWEST:
        raise PoseReportError(
            f"{len(recorded)} frames",
            expected=f"at least {FEWEST}",
            remedy="give a larger split",
        )
    found, truth = components(learned), components(recorded)
    median = float(np.median(truth[:, 2]))
    found[:, 2] *= median / max(float(np.median(found[:, 2])), 1e-12)
    trivial = (0.0, 0.0, median)
    return {
        name: Axis(unit=unit, learned=found[:, n], recorded=truth[:, n], trivial=trivial[n])
        for n, (name, unit) in enumerate(AXES.items())
    }


def failures(axes: dict[str, Axis]) -> list[str]:
    """What must not be overlooked, in words: motions that do not vary from frame to frame."""
    return [
        f"FAILURE: the learned {name} is constant: its spread over the frames is "
        f"{axis.spread_ratio:.1%} of the true one. The pose network has not learned {name}."
        for name, axis in axes.items()
        if axis.spread_ratio < LEAST_SPREAD
    ]


def learned_motions(training: Training, data: Path, frames: Sequence[Frame]) -> Floats:
    """T(target -> later source) (N, 4, 4) of frames by a run's pose network.

    Raises:
        PoseReportError: The run was trained with recorded poses.
        XDistillError: An image cannot be read.
    """
    if training.model.pose is None:
        raise PoseReportError(
            "the run has no pose network",
            expected='a run of a recipe with pose = "network"',
            remedy="there is nothing to compare: it was trained with recorded poses",
        )
    dataset = TripletDataset(data, frames, recipe=training.recipe, labels=None)
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
    """Learned beside recorded motions on the frames of a split.

    Raises:
        XDistillError: The run, a frame or a recorded pose cannot be read.
    """
    training = new_training(load_run_recipe(run), device=torch.device("cpu"))
    load_checkpoint(run, training)
    frames = find_triplets(data, Selection(split=split)).frames
    learned = learned_motions(training, data, frames)
    recorded = np.stack([camera_motion(data, f, f.neighbour(1)) for f in frames])
    axes = compare(learned, recorded)
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
        shown = "none" if axis["correlation"] is None else f"{axis['correlation']:.2f}"
        lines.append(
            f"{name + ', ' + axis['unit']:<22}{shown:>12}{axis['error']:>9.3f}"
            f"{axis['trivial_error']:>9.3f}{axis['spread_ratio']:>13.2f}"
        )
    lines.append("trivial: no yaw, no pitch, one speed for all; speed has the true median")
    return "\n".join([*lines, *content["failures"]])


@click.command("pose-report", cls=console.Command)
@click.option("--run", type=click.Path(path_type=Path), required=True, help="Run folder.")
@console.data_option
@click.option("--split", required=True, help="Split file or name.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write every number.")
@console.examples(
    "python -m xdistill.train.pose_report --run runs/street-1 --data street "
    "--split street/splits/test.txt",
)
def main(run: Path, data: Path, split: str, out: Path | None) -> None:
    """Compare the motions that a run has learned with the recorded ones."""
    content = report(run, data, split)
    click.echo(text(content))
    if out is not None:
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        click.echo(f"wrote {out}")
    click.echo(f"next: xd-eval --run {run} --data {data} --split {split}")


if __name__ == "__main__":
    main()
