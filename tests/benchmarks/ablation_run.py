"""One training of the ablation, scored on drives it never saw."""

import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from ablation_labels import SpoiltLabels, exact_labels, own, shuffled
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from xdistill.grouping.scheme import load_scheme, remap
from xdistill.pipeline.demo.pictures import exact_depth
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.splits import read_split
from xdistill.pipeline.street.record.folder import SPLITS
from xdistill.train.checkpoint import save_checkpoint
from xdistill.train.data.dataset import Batch, TripletDataset
from xdistill.train.evaluation.depth_model import DepthModel
from xdistill.train.evaluation.ground_truth import prepare_ground_truth
from xdistill.train.evaluation.predictions import predict_frames
from xdistill.train.evaluation.protocols import EIGEN, METRICS
from xdistill.train.evaluation.truth_file import read_depth
from xdistill.train.job import Job
from xdistill.train.loop import train
from xdistill.train.model import Model
from xdistill.train.recipe.file import load_recipe
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import start_run
from xdistill.train.training import Training, new_training

VARIANTS = ("baseline", "distilled", "shuffled", "stopped")
GROUPS = ("thin objects", "people and vehicles", "background", "ground")
"""Groups of scheme 4 in the order of their ids; abs_rel is reported for each."""
SCORES = "scores.json"
CPU = torch.device("cpu")


class StoppedModel(Model):
    """D2S learns from the depth but passes no gradient back: the control of the bookkeeping."""

    def distillation(
        self, disparities: list[Float[Tensor, "batch 1 _ _"]], batch: Batch
    ) -> Float[Tensor, ""]:
        return super().distillation([disparity.detach() for disparity in disparities], batch)


def streams(seed: int) -> dict[str, int]:
    """Seeds of initialisation, data order (with augmentation) and the teacher's mistakes."""
    names = ("initialisation", "order", "teacher")
    numbers = np.random.SeedSequence(seed).generate_state(len(names))
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}


def settings(recipe: str, variant: str, changes: list[str]) -> Recipe:
    """The recipe of a variant; all but the baseline distil."""
    name = f"{recipe}-baseline" if variant == "baseline" else recipe
    return load_recipe(name, overrides=[*changes, "num_workers=0", "picture_interval=1000000"])


def new_run(recipe: Recipe, variant: str, seeds: dict[str, int]) -> Training:
    """Networks from the initialisation stream; everything else from the order stream."""
    training = new_training(replace(recipe, seed=seeds["initialisation"]), device=CPU)
    if variant == "stopped":
        training.model.__class__ = StoppedModel
    training.recipe = replace(recipe, seed=seeds["order"])
    return training


def run(
    folder: Path,
    *,
    street: Path,
    recipe: str,
    variant: str,
    seed: int,
    split: str,
    changes: list[str],
) -> dict[str, Any]:
    """Train, score, and write ``scores.json``, which marks the run as finished."""
    torch.set_num_threads(1)
    seeds = streams(seed)
    chosen = settings(recipe, variant, changes)
    training = new_run(chosen, variant, seeds)
    labels = None
    frames = read_split(street / SPLITS / "train.txt")
    if variant != "baseline":
        giver = shuffled(frames, seed=seeds["teacher"]) if variant == "shuffled" else own(frames)
        labels = SpoiltLabels(
            street=street, scheme=load_scheme("4"), seed=seeds["teacher"], giver=giver
        )
    dataset = TripletDataset(street, frames, recipe=training.recipe, labels=labels)
    start_run(folder, training.recipe, {"variant": variant, "seed": seed, "streams": seeds})
    start = time.process_time()
    assert training.recipe.schedule_steps is not None
    train(training, Job(run=folder, dataset=dataset))
    save_checkpoint(folder, training)
    content = {
        "settings": full_settings(chosen, variant=variant, seed=seed, split=split),
        "cpu_seconds": time.process_time() - start,
        "depth_digest": depth_digest(training), **score(training, street, split, folder),
    }  # fmt: skip
    (folder / SCORES).write_text(json.dumps(content) + "\n")
    return content


def full_settings(recipe: Recipe, *, variant: str, seed: int, split: str) -> dict[str, Any]:
    """What decides a run's numbers, as recorded in ``scores.json``."""
    return {"variant": variant, "seed": seed, "split": split, "recipe": asdict(recipe)}


def depth_digest(training: Training) -> str:
    """SHA-256 of all depth weights, equal only if every bit is."""
    digest = hashlib.sha256()
    for name, values in training.model.depth.state_dict().items():
        digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()


def score(training: Training, street: Path, split: str, folder: Path) -> dict[str, Any]:
    """LiDAR metrics of each frame, and abs_rel against exact depth over each group's pixels."""
    frames = read_split(street / SPLITS / f"{split}.txt")
    truth_file = prepare_ground_truth(
        street, frames, depth=EIGEN.depth, path=folder / "ground_truth.h5"
    )
    model = DepthModel(network=training.model.depth.eval(), recipe=training.recipe, device=CPU)
    rows = []
    for frame, disparity in zip(frames, predict_frames(model, street, frames), strict=True):
        metrics, ratio = EIGEN.score(disparity, read_depth(truth_file, frame))
        rows.append([*metrics.tolist(), *by_group(street, frame, disparity, ratio)])
    return {
        "drives": [frame.drive for frame in frames],
        "names": [*METRICS, *(f"abs_rel, {group}" for group in GROUPS)],
        "values": rows,
    }


def by_group(
    street: Path, frame: Frame, disparity: NDArray[np.float32], ratio: float
) -> list[float | None]:
    """abs_rel over each group's pixels inside the crop; None for a group without pixels."""
    truth = exact_depth(street, frame)
    groups = remap(exact_labels(street, frame), load_scheme("4"))
    depth = ratio / cv2.resize(disparity, (truth.shape[1], truth.shape[0]))
    counted = EIGEN.valid_pixels(truth)
    error = np.abs(depth - truth)[counted] / truth[counted]
    members = [groups[counted] == number for number in range(len(GROUPS))]
    return [float(error[m].mean()) if m.any() else None for m in members]
