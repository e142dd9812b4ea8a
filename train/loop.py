"""The training loop: optimiser steps, their log, and what is written between them."""

import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import islice
from statistics import fmean
from typing import Any

import torch
from tqdm import tqdm

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.memory import MORE_MEMORY, memory_reported
from xdistill.manifests.progress import note, progress
from xdistill.manifests.stopping import Stopped, deferred
from xdistill.pipeline.kitti.images import write_png
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.checkpoint import save_checkpoint
from xdistill.train.data.augment import NOTHING
from xdistill.train.data.dataset import Batch, SampleKey, batch_keys
from xdistill.train.data.readers import read_batches, readers_reported
from xdistill.train.divergence import diverged
from xdistill.train.job import Job
from xdistill.train.model import Terms
from xdistill.train.picture import draw
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import METRICS_FILE, JsonLines
from xdistill.train.training import (
    Training,
    TrainingError,
    d2s_weight,
    learning_rate,
    reduction,
    reproducible,
)
from xdistill.train.validation import log_validation

PICTURES = "pictures"
Line = Mapping[str, float | int]
"""One step of the log."""
LOGGED = ("loss", "loss_photometric", "loss_smoothness", "loss_d2s", "reprojected")
WATCHED_STEPS = 50
"""Steps over which the share of pixels with a gradient, and the loss, are averaged."""
SMALLEST_SHARE, SMALLEST_LOSS = 0.2, 0.02
"""Below both there is nothing to learn. From random weights over 50 steps: real drives have a share
of 0.38-0.51 and a photometric loss of 0.13, the street 0.7-0.8 and 0.05-0.08, a standing camera
0.09 and 0.0008 with sensor noise, 0.003 and 0.00001 without."""
NOTHING_TO_LEARN = """\
warning: {share:.1%} of the pixels carried a gradient in the last {steps} steps
  expected: a third or more; at the others a source frame fits best as it is (automask), here with
    a photometric loss of {loss:.1g} where moving cameras have about 0.1
  likely: the camera stands still, or frames were written twice
  what to do: leave such frames out, with a split of your own (--split FILE)"""


def train(training: Training, job: Job) -> None:
    """Train from the step that was reached to ``job.stop``.

    Whatever ends it early, the steps that are done are in the checkpoint, except where the
    training itself went wrong: then the last good checkpoint is kept.

    Args:
        training: Advanced step by step.
        job: Frames, length and run folder.

    Raises:
        TrainingError: The loss is not finite, or a checkpoint cannot be written; the last good
            checkpoint is kept.
        XDistillError: A frame cannot be read, or a process that reads them died.
        Stopped: A signal asked to stop.
    """
    keys = batch_keys(
        len(job.dataset.frames),
        seed=training.recipe.seed,
        batch_size=training.recipe.step_size,
        start=training.step,
        stop=job.stop,
    )
    training.model.train()
    with (
        _memory_reported(training.recipe),
        reproducible(training.recipe, device=training.device),
        JsonLines(job.run / METRICS_FILE) as log,
        progress(total=job.stop - training.step, unit="step") as bar,
        closing(_steps(training, job, keys)) as steps,
        _steps_kept(training, job, log),
        readers_reported(),
    ):
        watched: deque[Line] = deque(maxlen=WATCHED_STEPS)
        for batches in steps:
            with deferred("stopping after this step"):
                watched.append(_step(training, batches, job, log=log, bar=bar))
                if _nothing_to_learn(watched, bar):
                    watched = deque(maxlen=0)


def _steps(training: Training, job: Job, keys: Iterator[list[SampleKey]]) -> Generator[list[Batch]]:
    """The batches of each optimiser step."""
    size, count = training.recipe.batch_size, training.recipe.accumulate
    split = (step[first : first + size] for step in keys for first in range(0, len(step), size))
    with closing(read_batches(job.dataset, split, device=training.device)) as batches:
        while step := list(islice(batches, count)):
            yield step


def _nothing_to_learn(watched: deque[Line], bar: "tqdm[Any]") -> bool:
    """Warn where hardly a pixel carries a gradient; returns whether it did."""
    if not watched or len(watched) < WATCHED_STEPS:
        return False
    share = fmean(line["reprojected"] for line in watched)
    loss = fmean(line["loss_photometric"] for line in watched)
    if share >= SMALLEST_SHARE or loss >= SMALLEST_LOSS:
        return False
    bar.clear()
    note(NOTHING_TO_LEARN.format(share=share, loss=loss, steps=len(watched)))
    return True


def _memory_reported(recipe: Recipe) -> AbstractContextManager[None]:
    """Say which smaller batch to try where memory runs out."""
    smaller = "a smaller network or image"
    if recipe.batch_size > 1:
        smaller = (
            f"--set batch_size={recipe.batch_size // 2} to a new run (with --set "
            f"accumulate={2 * recipe.accumulate} a step has as many triplets as before)"
        )
    size = f"{recipe.width}x{recipe.height}"
    work = f"a step of {recipe.encoder} on {recipe.batch_size} triplets of {size}"
    return memory_reported(work, options=(smaller, MORE_MEMORY))


@contextmanager
def _steps_kept(training: Training, job: Job, log: JsonLines) -> Iterator[None]:
    """Write a checkpoint where the training ends between two of them."""
    first = training.step
    try:
        yield
    except TrainingError:
        raise
    except Stopped as stop:
        if training.step > first and not training.updating:
            _save(training, job, log)
        stop.kept = f"step {training.step} of {job.stop} is in {job.run}" if training.step else None
        raise
    except Exception:
        # The error in hand matters more than one that comes of it, such as a full disk.
        with suppress(XDistillError, OSError):
            if training.step > first and not training.updating:
                _save(training, job, log)
                note(f"step {training.step} of {job.stop} is in {job.run}, for --resume")
        raise


def _save(training: Training, job: Job, log: JsonLines) -> None:
    # The checkpoint counts on the lines before it.
    log.sync()
    save_checkpoint(job.run, training)


def _step(
    training: Training, batches: Sequence[Batch], job: Job, *, log: JsonLines, bar: "tqdm[Any]"
) -> Line:
    """One optimiser step, and what comes between it and the next; returns its line of the log."""
    values = optimise(training, batches, job, log=log)
    bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
    bar.update()
    _report(training, values, bar, job)
    _look(training, bar, job)
    if _is_due(training, job, training.recipe.checkpoint_interval):
        _save(training, job, log)
    return values


def optimise(training: Training, batches: Sequence[Batch], job: Job, *, log: JsonLines) -> Line:
    """Take one optimiser step and log it, wholly or not at all; returns its line of the log.

    Raises:
        TrainingError: The loss, a motion or a camera matrix is not finite; the training stays as it
            was.
        Stopped: A second signal came; the training stays as it was.
    """
    recipe, step, length = training.recipe, training.step + 1, job.schedule_length
    rate = learning_rate(recipe, step, length=length)
    weight = d2s_weight(recipe, step, length=length)
    with _noise_taken_back(training):
        training.optimiser.zero_grad(set_to_none=True)
        found = [_gradient(training, batch, job, weight=weight) for batch in batches]
    means = {name: fmean(values[name] for values in found) for name in LOGGED}
    line = {"step": step, **means, "weight_d2s": weight, "lr": rate}
    with deferred():
        training.updating = True
        for group in training.optimiser.param_groups:
            group["lr"] = rate
        training.scaler.step(training.optimiser)
        training.scaler.update()
        training.step = step
        log.write(line)
        training.updating = False
    return line


def _gradient(training: Training, batch: Batch, job: Job, *, weight: float) -> dict[str, float]:
    """Add the gradient of one of the step's batches to those before; returns its losses.

    Raises:
        TrainingError: The loss, a motion or a camera matrix is not finite.
    """
    recipe, step = training.recipe, training.step + 1
    terms: Terms = training.model(
        batch,
        d2s_weight=weight,
        reduction=reduction(recipe, step, length=job.schedule_length),
        generator=training.generator,
    )
    parts = (terms.total, terms.photometric, terms.smoothness, terms.d2s, terms.reprojected)
    values = torch.stack(parts).tolist()
    named = dict(zip(LOGGED, values, strict=True))
    # Before the backward pass, which ends the process where a motion is not a number.
    if not all(map(math.isfinite, values)) or not _finite(terms.motions, batch.intrinsics):
        raise diverged(step, named, terms, batch=batch, checkpoint=job.run / CHECKPOINT_FILE)
    training.scaler.scale(terms.total / recipe.accumulate).backward()  # type: ignore[no-untyped-call]
    return named


@contextmanager
def _noise_taken_back(training: Training) -> Iterator[None]:
    """Draw the automask's noise again for a step that is broken off."""
    before = training.generator.get_state()
    try:
        yield
    except BaseException:
        training.generator.set_state(before)
        raise


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


def _report(training: Training, values: Line, bar: "tqdm[Any]", job: Job) -> None:
    """Print a permanent line every ``log_interval`` steps."""
    if not _is_due(training, job, training.recipe.log_interval):
        return
    shown = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if key != "step")
    bar.clear()
    note(f"step {training.step}/{job.stop}  {shown}")
