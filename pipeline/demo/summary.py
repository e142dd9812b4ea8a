"""The demo's numbers, gathered from the files its steps wrote: the content of report.json."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xdistill.manifests import disk
from xdistill.manifests.progress import usable_cores
from xdistill.pipeline.demo.stages import BASELINE, DISTILLED, RUNS, TRIVIAL, DemoSettings
from xdistill.pipeline.demo.step import DemoError, Stage
from xdistill.train.recipe.file import load_run_recipe
from xdistill.train.run import METRICS_FILE, VALIDATION_FILE

ERRORS = ("abs_rel", "sq_rel", "rmse", "rmse_log")
"""Metrics to minimise; the others are to maximise."""
MUST_BEAT = 0.2
"""Share by which the baseline's abs_rel must be below that of each trivial baseline."""
CURVE_POINTS = 100
"""Points of a loss curve."""
LOSSES = ("loss", "loss_photometric", "loss_d2s")
YAW = "yaw_correlation"


def summarise(
    settings: DemoSettings, stages: Sequence[Stage], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Gather scores, differences, poses and curves.

    Args:
        settings: What decides the numbers.
        stages: The finished stages.
        seconds: Duration of each stage by its name.

    Raises:
        DemoError: A result is missing or damaged.
    """
    scores = {name: _read(settings.scores(name)) for name in (*TRIVIAL, *RUNS)}
    metrics = {name: dict(score["metrics"]) for name, score in scores.items()}
    return {
        "version": version("xdistill"),
        "machine": {
            "cores": usable_cores(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "settings": {
            "recipe": settings.recipe,
            "drives": settings.drives,
            "frames": settings.frames,
            "size": settings.size,
            "steps": settings.steps,
            "seed": settings.seed,
            "teacher": settings.teacher,
            "changes": list(settings.changes),
        },
        "recipe": asdict(load_run_recipe(settings.run(DISTILLED))),
        "test_frames": len(scores[BASELINE]["per_image"]),
        "metrics": metrics,
        "difference": difference(metrics[BASELINE], metrics[DISTILLED]),
        "gain_over_trivial": gain_over_trivial(metrics),
        "poses": {name: _read(settings.poses(name)) for name in RUNS},
        "curves": {name: loss_curves(settings.run(name) / METRICS_FILE) for name in RUNS},
        "validation_yaw": {name: yaw_curve(settings.run(name) / VALIDATION_FILE) for name in RUNS},
        "commands": [step.text for stage in stages for step in stage.steps],
        "seconds": dict(seconds),
    }


def gain_over_trivial(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Share by which the baseline's abs_rel is below that of each trivial baseline."""
    baseline = metrics[BASELINE]["abs_rel"]
    return {name: 1 - baseline / metrics[name]["abs_rel"] for name in TRIVIAL}


def difference(
    baseline: Mapping[str, float], distilled: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Distilled minus baseline of each metric, its percentage, and whether it is better."""
    result = {}
    for name, value in baseline.items():
        change = distilled[name] - value
        result[name] = {
            "absolute": change,
            "percent": 100 * change / value,
            "better": (change < 0) == (name in ERRORS) and change != 0,
        }
    return result


def loss_curves(log: Path, *, points: int = CURVE_POINTS) -> dict[str, list[float]]:
    """Means of the losses over equal spans of steps: ``step`` and each of ``LOSSES``.

    Raises:
        DemoError: The log is missing or damaged.
    """
    lines = _read_lines(log)
    span = max(1, -(-len(lines) // points))
    groups = [lines[start : start + span] for start in range(0, len(lines), span)]
    curves = {"step": [float(group[-1]["step"]) for group in groups]}
    for key in LOSSES:
        curves[key] = [sum(line[key] for line in group) / len(group) for group in groups]
    return curves


def yaw_curve(log: Path) -> list[list[float]]:
    """Step of every validation, and the correlation of the learned with the recorded yaw there.

    Empty with recorded poses, and 0 where the learned yaw does not vary.

    Raises:
        DemoError: The log is missing or damaged.
    """
    lines = [line for line in _read_lines(log) if YAW in line]
    return [[line["step"], line[YAW] or 0.0] for line in lines]


def _read_lines(log: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in disk.read_text(log).splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(log, error) from error


def _read(path: Path) -> Any:
    try:
        return json.loads(disk.read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DemoError:
    return DemoError(
        f"{path.name} cannot be read: {error}",
        where=path.absolute(),
        remedy="run the demo again with a new --out",
    )
