"""The validation after each epoch: its losses, and how learned motions agree with recorded ones."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import note
from xdistill.pipeline.kitti.oxts import forward_motions
from xdistill.train.data.dataset import TripletDataset, plain_keys
from xdistill.train.data.readers import read_batches
from xdistill.train.data.triplets import Selection, find_triplets
from xdistill.train.model import Terms
from xdistill.train.pose_agreement import FEWEST, Floats, compare, failures
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import VALIDATION_FILE, JsonLines
from xdistill.train.training import Training


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """What a training is validated on."""

    dataset: TripletDataset
    """The frames, without labels: photometric loss alone judges the depth."""
    recorded_motions: Floats | None = None
    """Recorded motions to each next frame, (N, 4, 4), to compare learned ones with."""
    not_compared: str | None = None
    """Why learned motions are not compared; None where they are, or where there are none."""


def find_validation(recipe: Recipe, root: Path, split: str) -> Validation:
    """The frames of a validation split, and recorded motions for a recipe with a pose network.

    Records that are missing are no error: they judge the pose network and train nothing.

    Raises:
        XDistillError: The split, a frame or a calibration is missing.
    """
    frames = find_triplets(root, Selection(split=split)).frames
    dataset = TripletDataset(root, frames, recipe=recipe, labels=None)
    dataset.require_recordings()
    if recipe.pose != "network":
        return Validation(dataset=dataset)
    if len(frames) < FEWEST:
        reason = f"{len(frames)} validation frames, a correlation needs {FEWEST}"
        return Validation(dataset=dataset, not_compared=reason)
    try:
        return Validation(dataset=dataset, recorded_motions=forward_motions(root, frames))
    except XDistillError as error:
        return Validation(dataset=dataset, not_compared=str(error).splitlines()[0])


def validate(training: Training, dataset: TripletDataset) -> tuple[dict[str, float], Floats]:
    """Photometric and smoothness loss over the validation frames, in evaluation mode.

    The automask's noise comes from a generator seeded anew each time: validating changes nothing
    in the training, and two validations differ by the networks alone.

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
            motions.append(terms.motions[:, 1].double().cpu().numpy())
    training.model.train()
    means = (sums / len(dataset.frames)).tolist()
    named = dict(zip(("loss_photometric", "loss_smoothness", "reprojected"), means, strict=True))
    return named, np.concatenate(motions)


def log_validation(training: Training, validation: Validation, *, run: Path, stop: int) -> None:
    """Validate, then log and print the losses and how the learned motions agree.

    Args:
        training: At the step to validate.
        validation: What to validate on.
        run: Run folder, for ``validation.jsonl``.
        stop: Number of the last optimiser step, for the printed line.
    """
    losses, learned = validate(training, validation.dataset)
    # JSON has no NaN, and a diverged pose network has no photometric loss.
    values = {name: value if math.isfinite(value) else None for name, value in losses.items()}
    recorded = validation.recorded_motions
    axes = {} if recorded is None else compare(learned, recorded)
    for name, axis in axes.items():
        values[f"{name}_correlation"] = axis.correlation
    with JsonLines(run / VALIDATION_FILE) as log:
        log.write({"step": training.step, **values})
    shown = "  ".join(
        f"{key} {'none' if value is None else f'{value:.4g}'}" for key, value in values.items()
    )
    for line in (shown, *failures(axes)):
        note(f"validation, step {training.step}/{stop}  {line}")
