"""The training loop: optimiser steps, their log, and what is written between them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from xdistill.manifests.progress import note, progress
from xdistill.pipeline.kitti.images import write_png
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.checkpoint import save_checkpoint
from xdistill.train.data.augment import NOTHING
from xdistill.train.data.batch import Batch
from xdistill.train.data.dataset import TripletDataset, batch_keys, plain_keys, read_batches
from xdistill.train.metrics_log import METRICS_FILE, VALIDATION_FILE, JsonLines
from xdistill.train.model import Terms
from xdistill.train.picture import draw
from xdistill.train.pose_agreement import Floats, compare, failures
from xdistill.train.recipe.schedule import d2s_weight, learning_rate, reduction, schedule_length
from xdistill.train.training import Training, TrainingError, reproducible

PICTURES = "pictures"
LOGGED = ("loss", "loss_photometric", "loss_smoothness", "loss_d2s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to train on, how far, and where to write."""

    run: Path
    """The run folder."""
    dataset: TripletDataset
    """Training frames."""
    validation: TripletDataset | None
    """Frames of the validation after each epoch."""
    recorded_motions: Floats | None = None
    """Recorded motions to each next frame of the validation, (N, 4, 4), to compare learned ones
    with; None without a pose network or without records."""
    stop: int
    """Optimiser steps in total, counted from the start."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the frames."""
        return len(self.dataset.frames) // self.dataset.recipe.batch_size


def never() -> bool:
    """Nobody asks to stop."""
    return False


def train(training: Training, job: Job, *, stop_requested: Callable[[], bool] = never) -> None:
    """Train from the step that was reached to ``job.stop``.

    Args:
        training: Advanced step by step.
        job: What to do.
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
    """One optimiser step; returns its line of the log.

    Raises:
        TrainingError: The loss is not finite; the parameters are left as they were.
    """
    recipe, step = training.recipe, training.step + 1
    length = schedule_length(recipe, steps_per_epoch=job.steps_per_epoch)
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
    if not all(math.isfinite(value) for value in values):
        raise _not_finite(step, named, batch, job.run)
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    training.optimiser.zero_grad(set_to_none=True)
    terms.total.backward()  # type: ignore[no-untyped-call]
    training.optimiser.step()
    training.step = step
    return {"step": step, **named, "weight_d2s": weight, "lr": rate}


def validate(training: Training, dataset: TripletDataset) -> tuple[dict[str, float], Floats]:
    """Photometric and smoothness loss over the validation frames, in evaluation mode.

    The auto-mask's noise is drawn from a generator of its own, the same each time: validating
    changes nothing in the training, and two validations differ by the networks alone.

    Returns:
        The losses, and the motions to each next frame that they were made with, (N, 4, 4).
    """
    generator = torch.Generator(training.device).manual_seed(training.recipe.seed)
    keys = plain_keys(len(dataset.frames), batch_size=training.recipe.batch_size)
    sums = torch.zeros(3, dtype=torch.float64)
    motions = []
    training.model.eval()
    with torch.no_grad():
        for batch in read_batches(dataset, keys, device=training.device):
            terms: Terms = training.model(batch, d2s_weight=0.0, generator=generator)
            found = torch.stack([terms.photometric, terms.smoothness, terms.reprojected])
            sums += len(batch.frames) * found.double().cpu()
            motions.append(terms.forward_motions.double().cpu().numpy())
    training.model.train()
    means = (sums / len(dataset.frames)).tolist()
    named = dict(zip(("loss_photometric", "loss_smoothness", "reprojected"), means, strict=True))
    return named, np.concatenate(motions)


def _is_due(training: Training, job: Job, interval: int) -> bool:
    """At every multiple of the interval, and at the end."""
    return training.step % interval == 0 or training.step == job.stop


def _look(training: Training, bar: "tqdm[Any]", job: Job) -> None:
    """The validation after an epoch, and the picture of the first frame."""
    step = training.step
    if job.validation is not None and _is_due(training, job, job.steps_per_epoch):
        bar.clear()
        _validate(training, job, job.validation)
    if _is_due(training, job, training.recipe.picture_interval):
        folder = job.run / PICTURES
        folder.mkdir(exist_ok=True)
        batch = job.dataset.sample(0, NOTHING).to(training.device)
        write_png(folder / f"step_{step:07d}.png", draw(training.model, batch))


def _validate(training: Training, job: Job, dataset: TripletDataset) -> None:
    """Log and say the losses of the validation and how the learned motions agree."""
    losses, learned = validate(training, dataset)
    values: dict[str, float | None] = {**losses}
    axes = {} if job.recorded_motions is None else compare(learned, job.recorded_motions)
    for name, axis in axes.items():
        values[f"{name}_correlation"] = axis.correlation
    with JsonLines(job.run / VALIDATION_FILE) as log:
        log.write({"step": training.step, **values})
    shown = "  ".join(
        f"{key} {'none' if value is None else f'{value:.4g}'}" for key, value in values.items()
    )
    note(f"validation, step {training.step}/{job.stop}  {shown}")
    for failure in failures(axes):
        note(f"validation, step {training.step}/{job.stop}  {failure}")


def _report(training: Training, values: dict[str, float | int], bar: "tqdm[Any]", job: Job) -> None:
    """A line that stays, every ``log_interval`` steps."""
    if not _is_due(training, job, training.recipe.log_interval):
        return
    shown = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if key != "step")
    bar.clear()
    note(f"step {training.step}/{job.stop}  {shown}")


def _not_finite(step: int, terms: dict[str, float], batch: Batch, run: Path) -> TrainingError:
    kept = run / CHECKPOINT_FILE
    return TrainingError(
        f"the loss of step {step} is not finite: "
        + ", ".join(f"{name} {value}" for name, value in terms.items()),
        expected="finite loss terms",
        where=f"frames {'; '.join(batch.frames)}",
        remedy=(
            f"the last good checkpoint is kept ({kept}): go on with --resume, and look at these "
            "frames or lower lr"
            if kept.exists()
            else "look at these frames, or lower lr; no checkpoint was written so far"
        ),
    )
