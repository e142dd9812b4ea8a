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
LEAST_CORRELATION = 0.3
"""A yaw that agrees less with the recorded one, or runs against it, is noise or has a wrong sign.
Yaw alone: it is large where roads bend; pitch and speed vary little and may well be lost in noise.
"""
LEAST_STD = float(np.finfo(np.float32).eps)
"""What varies by less (in the axis' own unit) is constant up to rounding."""
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
    """(N,) as predicted; speed has the true median. NaN where either motion is no number."""
    recorded: Floats
    """(N,) from oxts; NaN in the same frames."""
    trivial: float
    """What the trivial motion has for every frame: no turn, or the median speed."""

    @property
    def unusable(self) -> int:
        """Frames without a finite value; with any, no figure can be told."""
        return int(np.isnan(self.learned).sum())

    @property
    def correlation(self) -> float | None:
        """Pearson's, None where one side does not vary or a frame is unusable."""
        if self.unusable or min(self.learned.std(), self.recorded.std()) < LEAST_STD:
            return None
        return float(np.corrcoef(self.learned, self.recorded)[0, 1])

    @property
    def spread_ratio(self) -> float | None:
        """Standard deviation of the learned values over that of the recorded ones.

        None where the recorded ones do not vary or a frame is unusable.
        """
        if self.unusable or self.recorded.std() < LEAST_STD:
            return None
        return float(self.learned.std() / self.recorded.std())

    def as_json(self) -> dict[str, Any]:
        """Figures, and the pairs (recorded, learned) themselves; None for what is no number."""
        pairs = np.column_stack([self.recorded, self.learned]).round(5).astype(object)
        pairs[np.isnan(self.learned)] = None
        return {
            "unit": self.unit,
            "correlation": self.correlation,
            "error": self._mean_error(self.learned),
            "trivial_error": self._mean_error(self.trivial),
            "spread_ratio": self.spread_ratio,
            "pairs": pairs.tolist(),
        }

    def _mean_error(self, values: Floats | float) -> float | None:
        return None if self.unusable else float(np.abs(values - self.recorded).mean())


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
    usable = np.isfinite(learned).all(axis=(1, 2)) & np.isfinite(recorded).all(axis=(1, 2))
    found, truth = np.full((2, len(recorded), len(AXES)), np.nan)
    found[usable], truth[usable] = components(learned[usable]), components(recorded[usable])
    median = 0.0
    if usable.any():
        median = float(np.median(truth[usable, 2]))
        found[:, 2] *= median / max(float(np.median(found[usable, 2])), 1e-12)
    trivial = (0.0, 0.0, median)
    return {
        name: Axis(unit=unit, learned=found[:, n], recorded=truth[:, n], trivial=trivial[n])
        for n, (name, unit) in enumerate(AXES.items())
    }


def failures(axes: dict[str, Axis]) -> list[str]:
    """What must not be overlooked, in words; the first that holds of each axis.

    Values that are no numbers, motions that do not vary from frame to frame, and a yaw that does
    not follow the recorded one.
    """
    told = ((name, _failure(name, axis)) for name, axis in axes.items())
    return [f"FAILURE: the learned {name} {reason}" for name, reason in told if reason]


def _failure(name: str, axis: Axis) -> str | None:
    if axis.unusable:
        return f"is no finite number in {axis.unusable} of {len(axis.learned)} frames."
    spread, correlation = axis.spread_ratio, axis.correlation
    if spread is not None and spread < LEAST_SPREAD:
        return (
            f"is constant: its spread over the frames is {spread:.1%} of the true one. "
            f"The pose network has not learned {name}."
        )
    if name == "yaw" and correlation is not None and correlation < LEAST_CORRELATION:
        kind = "runs against" if correlation < 0 else "does not follow"
        return f"{kind} the recorded one: their correlation is {correlation:.2f}."
    return None


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
        lines.append(
            f"{name + ', ' + axis['unit']:<22}{_shown(axis['correlation'], 2):>12}"
            f"{_shown(axis['error'], 3):>9}{_shown(axis['trivial_error'], 3):>9}"
            f"{_shown(axis['spread_ratio'], 2):>13}"
        )
    lines.append("trivial: no yaw, no pitch, one speed for all; speed has the true median")
    return "\n".join([*lines, *content["failures"]])


def _shown(value: float | None, decimals: int) -> str:
    return "none" if value is None else f"{value:.{decimals}f}"


def require_places(run: Path, out: Path | None) -> None:
    """Refuse a run that is not there and a file that cannot be written, before the work is done.

    Raises:
        PoseReportError: No such run folder, or no folder to write into.
    """
    if not run.is_dir():
        raise PoseReportError(
            f"no such run folder: {run}",
            expected="a folder that xd-train wrote",
            where=run.absolute(),
            remedy="give the --out of its training",
        )
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise PoseReportError(
            f"--json {out} cannot be written ({'a folder' if out.is_dir() else 'no such folder'})",
            expected="a file in an existing folder",
            where=out.absolute().parent,
            remedy="create the folder, or give another file",
        )


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
    require_places(run, out)
    content = report(run, data, split)
    click.echo(text(content))
    if out is not None:
        out.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        click.echo(f"wrote {out}")
    click.echo(f"next: xd-eval --run {run} --data {data} --split {split}")


if __name__ == "__main__":
    main()
