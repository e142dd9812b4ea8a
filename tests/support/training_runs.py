"""Trainings of a few steps on the small drive, and what they log."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training_tree import FRAMES

from xdistill.train.job import Job
from xdistill.train.loop import train
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import Training

RECIPE = Recipe(
    name="test",
    width=64,
    height=64,
    batch_size=2,
    epochs=3,
    lr_drop_epoch=2,
    distillation="d2s",
    encoder_weights="none",
    num_workers=0,
    d2s_weight=0.5,
)
STEPS_PER_EPOCH = (FRAMES - 2) // 2
Lines = list[dict[str, float]]


@dataclass(frozen=True)
class Started:
    """A job and its training."""

    training: Training
    job: Job


Start = Callable[..., Started]


def finish(started: Started) -> Lines:
    train(started.training, started.job)
    return lines(started.job.run)


def lines(run: Path, name: str = "metrics.jsonl") -> Lines:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]
