"""The training loop: optimiser steps, their log, and what is written between them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from tqdm import tqdm

from xdistill.manifests.progress import note, progress
from xdistill.pipeline.kitti.images import write_png
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.checkpoint import save_checkpoint
from xdistill.train.data.augment import NOTHING
from xdistill.train.data.dataset import Batch, batch_keys, read_batches
from xdistill.train.divergence import diverged
from xdistill.train.job import Job
from xdistill.train.model import Terms
from xdistill.train.picture import draw
from xdistill.train.run import METRICS_FILE, JsonLines
from xdistill.train.training import (
    Training,
    d2s_weight,
    learning_rate,
    reduction,
    reproducible,
)
from xdistill.train.validation import log_validation

PICTURES = "pictures"
LOGGED = ("loss", "loss_photometric", "loss_smoothness", "loss_d2s")


def never() -> bool:
    """Never ask to stop."""
    return False


def train(training: Training, job: Job, *, stop_requested: Callable[[], bool] = never) -> None:
    """Train from the step that was reached to ``job.stop``.

    Args:
        training: Advanced step by step.
        job: Frames, length and run folder.
        stop_requested: Asked after each step; True ends the training with a checkpoint.

    Raises:
        TrainingError: The loss is not finite, or a checkpoint cannot be written; the last good
            checkpoint is kept.
        XDistillError: A frame cannot be read.
    """
    keys = batch_keys(
        len(job.dataset.frames),
        seed=training.recipe.seed,
        batch_size=training.recipe.batch_size,
        start=training.step,
        stop=job.stop,
    )
    training.model.train()
    with (
        reproducible(training.recipe, device=training.device),
        JsonLines(job.run / METRICS_FILE) as log,
        progress(total=job.stop - training.step, unit="step") as bar,
    ):
        for batch in read_batches(job.dataset, keys, device=training.device):
            values = optimise(training, batch, job)
            log.write(values)
            bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
            bar.update()
            stopping = stop_requested()
            _report(training, values, bar, job)
            _look(training, bar, job)
            if stopping or _is_due(training, job, training.recipe.checkpoint_interval):
                # The checkpoint counts on the lines before it.
                log.sync()
                save_checkpoint(job.run, training)
            if stopping:
                break


def optimise(training: Training, batch: Batch, job: Job) -> dict[str, float | int]:
    """Take one optimiser step; returns its line of the log.

    Raises:
        TrainingError: The loss, a motion or a camera matrix is not finite; the parameters stay as
            they were.
    """
    recipe, step, length = training.recipe, training.step + 1, job.schedule_length
    rate = learning_rate(recipe, step, length=length)
    weight = d2s_weight(recipe, step, length=length)
    terms: Terms = training.model(
        batch,
        d2s_weight=weight,
        reduction=reduction(recipe, step, length=length),
        generator=training.generator,
    )
    values = torch.stack([terms.total, terms.photometric, terms.smoothness, terms.d2s]).tolist()
    named = dict(zip(LOGGED, values, strict=True))
    # Before the backward pass, which ends the process where a motion is not a number.
    if not all(map(math.isfinite, values)) or not _finite(terms.motions, batch.intrinsics):
        raise diverged(step, named, terms, batch=batch, checkpoint=job.run / CHECKPOINT_FILE)
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    training.optimiser.zero_grad(set_to_none=True)
    terms.total.backward()  # type: ignore[no-untyped-call]
    training.optimiser.step()
    training.step = step
    return {"step": step, **named, "weight_d2s": weight, "lr": rate}


def _finite(*tensors: torch.Tensor) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _is_due(training: Training, job: Job, interval: int) -> bool:
    """Whether the step is a multiple of the interval, or the last."""
    return training.step % interval == 0 or training.step == job.stop


def _look(training: Training, bar: "tqdm[Any]", job: Job) -> None:
    """Validate after each epoch; draw the first frame every ``picture_interval`` steps."""
    if job.validation is not None and _is_due(training, job, job.steps_per_epoch):
        bar.clear()
        log_validation(training, job.validation, run=job.run, stop=job.stop)
    if _is_due(training, job, training.recipe.picture_interval):
        folder = job.run / PICTURES
        folder.mkdir(exist_ok=True)
        batch = job.dataset.sample(0, NOTHING).to(training.device)
        write_png(folder / f"step_{training.step:07d}.png", draw(training.model, batch))


def _report(training: Training, values: dict[str, float | int], bar: "tqdm[Any]", job: Job) -> None:
    """Print a permanent line every ``log_interval`` steps."""
    if not _is_due(training, job, training.recipe.log_interval):
        return
    shown = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if key != "step")
    bar.clear()
    note(f"step {training.step}/{job.stop}  {shown}")
