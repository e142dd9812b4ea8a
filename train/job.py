"""A training job: what to train on, how far and where, checked before anything is built."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from xdistill.grouping.scheme import load_scheme
from xdistill.manifests.disk import as_path
from xdistill.manifests.memory import MORE_MEMORY, memory_reported
from xdistill.manifests.progress import note
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.checkpoint import load_checkpoint, load_initial_weights
from xdistill.train.data.cameras import camera_notes
from xdistill.train.data.dataset import TripletDataset
from xdistill.train.data.images import find_images
from xdistill.train.data.labels import LabelSource, find_labels
from xdistill.train.data.readers import (
    SHARED_MEMORY,
    free_shared_memory,
    needed_shared_memory,
    shared_memory_is_short,
)
from xdistill.train.data.triplets import Selection, Triplets, find_triplets
from xdistill.train.networks.depth import require_networks
from xdistill.train.recipe.file import load_recipe, load_run_recipe, override
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import (
    RECORD_FILE,
    RunError,
    read_record,
    require_empty,
    resume_run,
    resumed_recipe,
    start_run,
)
from xdistill.train.training import (
    Training,
    TrainingError,
    choose_device,
    new_training,
    require_precision,
)
from xdistill.train.validation import Validation, find_validation

NOT_DETERMINISTIC = (
    "bilinear sampling has no deterministic gradient on CUDA: equal runs agree to rounding only"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to train on, how far, and where to write."""

    run: Path
    """The run folder."""
    dataset: TripletDataset
    """Training frames, their labels and the recipe."""
    validation: Validation | None = None
    """What to validate on after each epoch."""
    steps: int | None = None
    """Optimiser steps in total, counted from the start; None trains to the end of the schedules."""
    device: torch.device = torch.device("cpu")
    """Where to train."""
    resumed: bool = False
    """Whether the run folder holds a run to resume."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What the run folder keeps beside the recipe: what was asked for and what was found."""

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.dataset.recipe

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the frames."""
        return len(self.dataset.frames) // self.recipe.step_size

    @property
    def schedule_length(self) -> int:
        """Optimiser steps over which the schedules run: schedule_steps if set, else the epochs."""
        return self.recipe.schedule_steps or self.recipe.epochs * self.steps_per_epoch

    @property
    def stop(self) -> int:
        """Number of the last optimiser step, counted from the start."""
        return self.steps or self.schedule_length


def prepare(
    recipe: Recipe,
    *,
    run: str | Path,
    data: str | Path,
    store: str | Path,
    selection: Selection,
    images: str | Path | None = None,
    validation_split: str | None = None,
    steps: int | None = None,
    device: str | torch.device | None = None,
    resumed: bool = False,
) -> Job:
    """Find and check everything a training needs; nothing is built or written yet.

    Args:
        recipe: Resolved.
        run: Run folder; new or empty unless ``resumed``.
        data: KITTI raw root.
        store: Label store; not opened by a recipe without distillation.
        selection: Training frames.
        images: Cache of resized images; None decodes and resizes them at every read.
        validation_split: Split file or name to validate on after each epoch.
        steps: Optimiser steps in total; None trains to the end of the schedules.
        device: ``cpu`` or ``cuda``; None takes CUDA if available.
        resumed: Whether the run folder holds a run to resume.

    Raises:
        XDistillError: The run folder is not empty, or frames, labels or recordings are missing.
    """
    if not resumed:
        require_empty(Path(run))
    require_networks(recipe)
    used = choose_device(device)
    require_precision(recipe, used)
    dataset, found = _training_data(recipe, Path(data), store=Path(store), selection=selection)
    if images is not None:
        dataset.images = find_images(
            as_path(images),
            dataset.frames,
            size=recipe.size,
            command=_caching(recipe, data, images, selection),
        )
    validation = find_validation(recipe, Path(data), validation_split) if validation_split else None
    kept = None if images is None else str(as_path(images).absolute())
    made = {"images": kept, "device": str(used), "recipe": asdict(recipe)}
    return Job(
        run=Path(run),
        dataset=dataset,
        validation=validation,
        steps=steps,
        device=used,
        resumed=resumed,
        record=_asked(data, store, selection, validation_split) | found | made,
    )


def start(job: Job) -> Training:
    """Build the networks, give them their weights, and open the run folder.

    Returns:
        The training at the step that was reached.

    Raises:
        XDistillError: Weights are missing or do not fit, the run folder belongs to other frames or
            labels, or it cannot be written.
    """
    training = _networks(job)
    _open_run(job, step=training.step)
    return training


def _networks(job: Job) -> Training:
    """The networks as the run left them, or as the recipe starts them."""
    with memory_reported("the recipe's networks", options=("a smaller network", MORE_MEMORY)):
        training = new_training(job.recipe, device=job.device)
    # A link to a disk that is not there is a checkpoint too, though one that cannot be read.
    if job.resumed and os.path.lexists(job.run / CHECKPOINT_FILE):
        load_checkpoint(job.run, training)
    else:
        if job.resumed:
            note(f"note:    {job.run} has no checkpoint: its training starts again at step 0")
        load_initial_weights(training)
    return training


def _open_run(job: Job, *, step: int) -> None:
    """The run folder, new or resumed at the step that was reached."""
    if job.resumed:
        resume_run(job.run, job.recipe, job.record, step=step)
    else:
        start_run(job.run, job.recipe, job.record)


def recorded(run: Path, *, recipe: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """The arguments of ``prepare`` that resume an earlier run.

    Args:
        run: The run folder.
        recipe: Name or path given by the user; None takes the run's own.
        overrides: ``key=value`` texts.

    Raises:
        RunError: The folder holds no run, or the recipe differs from the run's.
        ManifestError: A recipe cannot be read.
    """
    record = read_record(run)
    if recipe is None:
        wanted = override(load_run_recipe(run), overrides)
    else:
        wanted = load_recipe(recipe, overrides=overrides)
    chosen = resumed_recipe(run, wanted)
    try:
        return {
            "recipe": chosen,
            "run": run,
            "resumed": True,
            "data": Path(record["data"]),
            "store": Path(record["store"]),
            "selection": Selection(
                split=record["split"], drives=tuple(record["drives"]), camera=record["camera"]
            ),
            "validation_split": record["validation_split"],
            # Not in the record of runs that are older than the cache.
            "images": record.get("images"),
        }
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{RECORD_FILE} does not say what the run trains on ({error})",
            expected="the file as xd-train wrote it",
            where=run.absolute(),
            remedy="restore the file, or start a new run",
        ) from error


def describe(job: Job) -> list[str]:
    """What was found for a job and what it assumes, line by line."""
    recipe, record, labels = job.recipe, job.record, job.dataset.labels
    left_out = f" ({record['frames_left_out']} without both neighbours left out)"
    lines = [
        f"frames:  {record['frames']} triplets{left_out if record['frames_left_out'] else ''}, "
        f"{job.steps_per_epoch} steps of {recipe.step_size} in an epoch",
        f"images:  {recipe.width}x{recipe.height}, {recipe.encoder}, on {job.device}",
        f"poses:   {recipe.pose_source}",
    ]
    if isinstance(labels, LabelSource):
        lines.append(f"labels:  {labels.describe()}")
        lines.append(f"store:   {labels.store}, teacher {labels.fingerprint[:12]}")
    if job.dataset.images is not None:
        lines.append(f"cache:   {job.dataset.images.path}")
    lines += [f"note:    {text}" for text in camera_notes(job.dataset)]
    if shared_memory_is_short(recipe):
        lines.append(f"note:    {_short_of_shared_memory(recipe)}")
    if recipe.deterministic and job.device.type == "cuda":
        lines.append(f"note:    {NOT_DETERMINISTIC}")
    if job.validation is not None and job.validation.not_compared is not None:
        lines.append(f"note:    learned poses are not compared: {job.validation.not_compared}")
    return lines


def _short_of_shared_memory(recipe: Recipe) -> str:
    free, needed = free_shared_memory() / 2**20, needed_shared_memory(recipe) / 2**20
    return (
        f"{SHARED_MEMORY} has {free:.3g} of {needed:.3g} MiB for the batches read ahead: they come "
        "through pipes instead, a little slower (containers: docker run --shm-size=1g)"
    )


def _training_data(
    recipe: Recipe, root: Path, *, store: Path, selection: Selection
) -> tuple[TripletDataset, dict[str, Any]]:
    """The training frames with their labels, and what the record says of them."""
    triplets = find_triplets(root, selection)
    _require_full_batch(triplets, recipe)
    labels = None
    if recipe.distillation != "none":
        labels = _labels(recipe, root, triplets, store=store, selection=selection)
    dataset = TripletDataset(root, triplets.frames, recipe=recipe, labels=labels)
    dataset.require_recordings()
    return dataset, {
        "frames": len(triplets.frames),
        "frames_left_out": triplets.left_out,
        "frames_sha256": triplets.digest,
        "poses": recipe.pose_source,
        "store_fingerprint": None if labels is None else labels.fingerprint,
        "labels": None if labels is None else labels.describe(),
    }


def _require_full_batch(triplets: Triplets, recipe: Recipe) -> None:
    found = len(triplets.frames)
    if found < recipe.step_size:
        raise TrainingError(
            f"{found} frames do not fill {_a_step(recipe)}",
            expected="at least one full step of frames that have both neighbours",
            remedy=f"give more frames, or --set batch_size={max(1, found)}"
            + (" --set accumulate=1" if recipe.accumulate > 1 else ""),
        )


def _a_step(recipe: Recipe) -> str:
    one = f"a batch of {recipe.batch_size}"
    if recipe.accumulate == 1:
        return one
    return f"a step of {recipe.accumulate} batches of {recipe.batch_size}"


def _labels(
    recipe: Recipe, root: Path, triplets: Triplets, *, store: Path, selection: Selection
) -> LabelSource:
    """The teacher's labels of the training frames."""
    paths = f"--data {shlex.quote(str(root))} --store {shlex.quote(str(store))}"
    return find_labels(
        store,
        triplets.frames,
        scheme=load_scheme(recipe.scheme),
        segment=f"xd-pipeline segment {paths}{selection.options}",
        min_confidence=recipe.min_confidence,
    )


def _caching(recipe: Recipe, data: str | Path, images: str | Path, selection: Selection) -> str:
    """The command that caches a training's images."""
    size = f"--size {recipe.width}x{recipe.height}"
    paths = f"--data {shlex.quote(str(data))} --out {shlex.quote(str(images))}"
    return f"xd-pipeline cache-images {paths} {size}{selection.options}"


def _asked(
    data: str | Path, store: str | Path, selection: Selection, validation_split: str | None
) -> dict[str, Any]:
    """What a run was asked for, for its record: paths that mean the same in every folder."""
    return {
        "xdistill": version("xdistill"),
        "torch": torch.__version__,
        "data": str(Path(data).absolute()),
        "store": str(Path(store).absolute()),
        "split": _absolute(selection.split),
        "drives": list(selection.drives),
        "camera": selection.camera,
        "validation_split": _absolute(validation_split),
    }


def _absolute(split: str | None) -> str | None:
    """A split file by its absolute path; a name stays a name."""
    return str(as_path(split).absolute()) if split and as_path(split).is_file() else split
