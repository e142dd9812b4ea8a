"""From what the user asked for to a training that is ready to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from xdistill.grouping.scheme import load_scheme
from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.oxts import forward_motions
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.checkpoint import load_checkpoint, load_initial_networks
from xdistill.train.data.dataset import TripletDataset
from xdistill.train.data.labels import LabelSource, find_labels
from xdistill.train.data.triplets import Selection, Triplets, find_triplets
from xdistill.train.loop import Job
from xdistill.train.metrics_log import METRICS_FILE, VALIDATION_FILE, truncate
from xdistill.train.pose_agreement import FEWEST, Floats
from xdistill.train.recipe.file import load_recipe, load_run_recipe, override
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.recipe.schedule import schedule_length
from xdistill.train.run import read_record, require_empty, resume_run, resumed_recipe, start_run
from xdistill.train.training import Training, TrainingError, load_initial_encoders, new_training

NOT_DETERMINISTIC = (
    "bilinear sampling has no deterministic gradient on CUDA: equal runs agree to rounding only"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to train, on what, and where to write."""

    recipe: Recipe
    """Resolved."""
    run: Path
    """The run folder."""
    data: Path
    """KITTI raw root."""
    selection: Selection
    """Training frames."""
    validation_split: str | None
    """Split of the validation after each epoch."""
    store: Path
    """Label store; not opened by a recipe without distillation."""
    device: torch.device
    """Where to train."""
    steps: int | None
    """Optimiser steps in total; None trains to the end of the schedules."""
    resumed: bool
    """Whether the run folder holds a run to go on with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A training that is ready to run, and what to say about it."""

    training: Training
    """At the step that was reached."""
    job: Job
    """What to do."""
    notes: tuple[str, ...]
    """What was found and assumed, line by line."""


def recorded_request(run: Path, *, recipe: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """The request of an earlier run as keyword arguments of ``Request``.

    Args:
        run: The run folder.
        recipe: Name or path given by the user; None takes the run's own.
        overrides: ``key=value`` texts.

    Raises:
        RunError: The folder holds no run, or the recipe is another one.
        ManifestError: A recipe cannot be read.
    """
    record = read_record(run)
    if recipe is None:
        wanted = override(load_run_recipe(run), overrides)
    else:
        wanted = load_recipe(recipe, overrides=overrides)
    return {
        "recipe": resumed_recipe(run, wanted),
        "data": Path(record["data"]),
        "store": Path(record["store"]),
        "selection": Selection(
            split=record["split"], drives=tuple(record["drives"]), camera=record["camera"]
        ),
        "validation_split": record["validation_split"],
    }


def prepare(request: Request) -> Session:
    """Check everything that can be checked, build or load the networks, open the run folder.

    Raises:
        XDistillError: Frames, labels, weights or the run folder are not as they must be. Nothing
            was written then.
    """
    recipe = request.recipe
    if not request.resumed:
        require_empty(request.run)
    triplets = find_triplets(request.data, request.selection)
    _require_full_batch(triplets, recipe)
    labels = _labels(request, triplets)
    dataset = TripletDataset(request.data, triplets.frames, recipe=recipe, labels=labels)
    validation = _validation(request)
    for used in filter(None, (dataset, validation)):
        used.require_recordings()
    recorded, uncompared = _recorded_motions(validation)
    training = new_training(recipe, device=request.device)
    record = _record(request, triplets, labels)
    _initialise(training, request, record)
    length = schedule_length(recipe, steps_per_epoch=len(triplets.frames) // recipe.batch_size)
    job = Job(
        run=request.run,
        dataset=dataset,
        validation=validation,
        recorded_motions=recorded,
        stop=request.steps or length,
    )
    notes = _notes(request, triplets, labels, job)
    return Session(training=training, job=job, notes=(*notes, *uncompared))


def _initialise(training: Training, request: Request, record: Mapping[str, Any]) -> None:
    """The networks as the run left them, or as the recipe starts them; then the run folder."""
    recipe, run = request.recipe, request.run
    if request.resumed:
        resume_run(run, recipe, record)
        if (run / CHECKPOINT_FILE).exists():
            load_checkpoint(run, training)
        else:
            # Stopped before its first checkpoint: the same start again.
            _load_initial(training)
        for file in (METRICS_FILE, VALIDATION_FILE):
            truncate(run / file, step=training.step)
        return
    _load_initial(training)
    start_run(run, recipe, record)


def _load_initial(training: Training) -> None:
    if training.recipe.init is None:
        load_initial_encoders(training)
    else:
        load_initial_networks(training, training.recipe.init)


def _require_full_batch(triplets: Triplets, recipe: Recipe) -> None:
    if len(triplets.frames) < recipe.batch_size:
        raise TrainingError(
            f"{len(triplets.frames)} frames for a batch of {recipe.batch_size}",
            expected="at least one full batch of frames that have both neighbours",
            remedy=f"give more frames, or --set batch_size={max(1, len(triplets.frames))}",
        )


def _labels(request: Request, triplets: Triplets) -> LabelSource | None:
    """The teacher's labels of the training frames; None without distillation."""
    if request.recipe.distillation == "none":
        return None
    command = f"xd-pipeline segment --data {request.data} --store {request.store}"
    return find_labels(
        request.store,
        triplets.frames,
        scheme=load_scheme(request.recipe.scheme),
        segment=command + request.selection.options,
        min_confidence=request.recipe.min_confidence,
    )


def _validation(request: Request) -> TripletDataset | None:
    """The validation's frames, without labels: it judges the depth by photometric loss alone."""
    if request.validation_split is None:
        return None
    triplets = find_triplets(request.data, Selection(split=request.validation_split))
    return TripletDataset(request.data, triplets.frames, recipe=request.recipe, labels=None)


def _recorded_motions(validation: TripletDataset | None) -> tuple[Floats | None, tuple[str, ...]]:
    """What learned motions of the validation are compared with, and why they are not.

    No error without records: they judge the pose network and are no part of its training.
    """
    if validation is None or validation.recipe.pose != "network":
        return None, ()
    if len(validation.frames) < FEWEST:
        reason = f"{len(validation.frames)} validation frames, a correlation needs {FEWEST}"
        return None, (f"note:    learned poses are not compared: {reason}",)
    try:
        return forward_motions(validation.root, validation.frames), ()
    except XDistillError as error:
        return None, (f"note:    learned poses are not compared: {str(error).splitlines()[0]}",)


def _record(request: Request, triplets: Triplets, labels: LabelSource | None) -> dict[str, Any]:
    """What the run folder says about itself beside the recipe."""
    selection = request.selection
    return {
        "xdistill": version("xdistill"),
        "torch": torch.__version__,
        "device": str(request.device),
        "data": str(request.data.absolute()),
        "split": _absolute(selection.split),
        "drives": list(selection.drives),
        "camera": selection.camera,
        "validation_split": _absolute(request.validation_split),
        "frames": len(triplets.frames),
        "frames_left_out": triplets.left_out,
        "frames_sha256": triplets.digest,
        "poses": request.recipe.pose_source,
        "store": str(request.store.absolute()),
        "store_fingerprint": None if labels is None else labels.fingerprint,
        "labels": None if labels is None else labels.describe(),
    }


def _absolute(split: str | None) -> str | None:
    """A split file by its absolute path; a name stays a name."""
    return str(Path(split).absolute()) if split and Path(split).is_file() else split


def _notes(
    request: Request, triplets: Triplets, labels: LabelSource | None, job: Job
) -> tuple[str, ...]:
    recipe = request.recipe
    left_out = f" ({triplets.left_out} without both neighbours left out)"
    lines = [
        f"frames:  {len(triplets.frames)} triplets{left_out if triplets.left_out else ''}, "
        f"{job.steps_per_epoch} steps of {recipe.batch_size} in an epoch",
        f"images:  {recipe.width}x{recipe.height}, {recipe.encoder}, on {request.device}",
        f"poses:   {recipe.pose_source}",
    ]
    if labels is not None:
        lines.append(f"labels:  {labels.describe()}")
        lines.append(f"store:   {request.store}, teacher {labels.fingerprint[:12]}")
    if recipe.deterministic and request.device.type == "cuda":
        lines.append(f"note:    {NOT_DETERMINISTIC}")
    return tuple(lines)
