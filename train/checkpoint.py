"""A run's checkpoint, written in one step, and the weights that a training starts from."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xdistill.manifests import disk
from xdistill.manifests.errors import WeightsError
from xdistill.manifests.progress import note
from xdistill.manifests.weights import listed, load_strictly, read_weights
from xdistill.train.model import Model
from xdistill.train.networks import checkpoints
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import Training, TrainingError

FILE_NAME = "checkpoint.pt"
FORMAT = 1
NETWORKS = ("depth", "pose", "d2s")
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's, by their keys in its state."""
RANDOM = "note: {part} starts from random weights: {folder} has none for it"


def save_checkpoint(run: Path, training: Training) -> Path:
    """Write the run's checkpoint in one step: after a crash it is the old one or the new one.

    Raises:
        TrainingError: A weight or the optimiser's state is not finite, or the file cannot be
            written; the previous checkpoint is kept.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "step": training.step,
        "optimiser": training.optimiser.state_dict(),
        "random_states": {training.device.type: training.generator.get_state()},
    }
    for name, network in _networks(training.model).items():
        content[name] = network.state_dict()
    if training.scaler.is_enabled():
        content["scaler"] = training.scaler.state_dict()
    path = run / FILE_NAME
    # A step whose gradient was infinite shows here before the next loss shows it.
    if lost := next(_not_finite(content), None):
        raise TrainingError(
            f"{lost} is not finite after step {training.step}",
            expected="finite weights; the previous checkpoint is kept",
            where=run,
            remedy="continue from the previous checkpoint with --resume, or lower lr",
        )
    try:
        with disk.replacing(path) as aside, aside.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"the checkpoint of step {training.step} cannot be written: {error}",
            where=path,
            remedy="free space or make the folder writable, then continue with --resume",
        ) from error
    return path


def load_checkpoint(run: Path, training: Training) -> None:
    """Set networks, optimiser, step and random state to those of the run's checkpoint.

    Raises:
        WeightsError: The file is damaged or does not fit the recipe.
    """
    path = run / FILE_NAME
    content = read_checkpoint(run)
    for name, network in _networks(training.model).items():
        load_strictly(network, part(content, name, run), where=path)
    _load_optimiser(training.optimiser, part(content, "optimiser", run), path)
    if training.scaler.is_enabled():
        _load_scaler(training.scaler, part(content, "scaler", run), path)
    training.step = _step(content, path)
    states = part(content, "random_states", run)
    if training.device.type not in states:
        # A device of another type draws other numbers anyway.
        training.generator.manual_seed(training.recipe.seed + training.step)
        return
    try:
        training.generator.set_state(states[training.device.type])
    except (RuntimeError, TypeError) as error:
        raise _unfit(path, "its random state is no generator's") from error


def _load_optimiser(optimiser: torch.optim.Adam, state: dict[str, Any], path: Path) -> None:
    """Load Adam's moments, which PyTorch takes unseen: of any shape, finite or not."""
    try:
        optimiser.load_state_dict(state)
        fits = all(
            moments[name].shape == parameter.shape
            for parameter, moments in optimiser.state.items()
            for name in MOMENTS
        )
        lost = next(_not_finite(state, ("optimiser",)), None)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    # Of another optimiser's state PyTorch raises whatever its parts do.
    except Exception as error:
        raise _unfit(path, "its optimiser is not of these networks") from error
    if not fits:
        raise _unfit(path, "its optimiser is not of these networks")
    if lost:
        raise _unfit(path, f"{lost} is not finite")
    for parameter, moments in optimiser.state.items():
        for name in MOMENTS:
            # The fused Adam goes through both in the order of memory, whatever their layouts.
            moments[name] = torch.empty_like(parameter).copy_(moments[name])


def _load_scaler(scaler: torch.amp.GradScaler, state: dict[str, Any], path: Path) -> None:
    try:
        scaler.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise _unfit(path, "its scale of gradients is not one") from error


def _step(content: Mapping[str, Any], path: Path) -> int:
    step = content.get("step")
    if not isinstance(step, int) or step < 0:
        raise _unfit(path, f"its step is {step!r}")
    return step


def _unfit(path: Path, found: str) -> WeightsError:
    return WeightsError(
        f"the checkpoint does not continue this run: {found}",
        expected="the checkpoint that xd-train wrote for the run's own recipe",
        where=path,
        remedy="restore the run's own checkpoint, or start a new run",
    )


def load_initial_weights(training: Training) -> None:
    """Give the networks the weights the recipe starts from: ``init``, else ``encoder_weights``.

    Raises:
        TrainingError: The folder of ``init`` does not exist.
        WeightsError: A file is missing, damaged or of another architecture.
        FetchError: The ImageNet weights are not available.
        RecipeError: The encoder has no published weights.
    """
    recipe = training.recipe
    if recipe.init is not None:
        load_initial_networks(training.model, Path(recipe.init))
    else:
        load_initial_encoders(training.model, recipe)


def load_initial_networks(model: Model, folder: Path) -> None:
    """Start from another run, or from Monodepth2's published files.

    The depth network is required; pose and D2S networks are taken if present.

    Raises:
        TrainingError: The folder does not exist.
        WeightsError: The folder holds no networks, or those of another architecture.
    """
    if not folder.is_dir():
        raise TrainingError(
            "the folder of init does not exist",
            expected="a run folder, or one with encoder.pth and depth.pth",
            where=folder.absolute(),
            remedy="correct init in the recipe, or with --set init=FOLDER",
        )
    if checkpoints.is_peer_folder(folder):
        _load_peer(model, folder)
        return
    content = read_checkpoint(folder)
    for name, network in _networks(model).items():
        if name == "depth" or name in content:
            load_strictly(network, part(content, name, folder), where=folder / FILE_NAME)
        else:
            note(RANDOM.format(part=f"the {name} network", folder=folder))


def _load_peer(model: Model, folder: Path) -> None:
    """Start from Monodepth2's files, and say what they lack."""
    lacking = [
        f"the disparity head of scale {scale}"
        for scale in checkpoints.load_peer_depth(model.depth, folder)
    ]
    if model.pose is not None and not (
        isinstance(model.pose, PoseNetwork) and checkpoints.load_peer_pose(model.pose, folder)
    ):
        lacking.append("the pose network")
    for part in lacking:
        note(RANDOM.format(part=part, folder=folder))


def load_initial_encoders(model: Model, recipe: Recipe) -> None:
    """Start the encoders from ImageNet weights or from files.

    Raises:
        RecipeError: The encoder has no published weights.
        FetchError: The ImageNet weights are not available.
        WeightsError: The file does not fit the encoder.
    """
    if recipe.encoder_weights != "none":
        model.depth.encoder.start_from(recipe.encoder_weights)
    if isinstance(model.pose, PoseNetwork) and recipe.pose_weights != "none":
        model.pose.encoder.start_from(recipe.pose_weights)


def _networks(model: Model) -> dict[str, nn.Module]:
    """The recipe's networks by their key in the checkpoint."""
    found = {name: getattr(model, name) for name in NETWORKS}
    return {name: network for name, network in found.items() if network is not None}


def read_checkpoint(run: Path) -> dict[str, Any]:
    """The content of a run's checkpoint, if this version knows its format.

    Raises:
        WeightsError: There is none, or it is damaged, something else or of another format.
    """
    path = run / FILE_NAME
    if not os.path.exists(path):
        raise checkpoints.no_networks(run, FILE_NAME)
    content = read_weights(path)
    if content.get("format") != FORMAT:
        known = "format" in content
        raise WeightsError(
            f"the checkpoint has format {content['format']}"
            if known
            else f"{FILE_NAME} is no run's checkpoint; its entries: {listed([*map(str, content)])}",
            expected=f"format {FORMAT}",
            where=path,
            remedy="read it with the version of xdistill that wrote it"
            if known
            else "give a folder that xd-train wrote",
        )
    return content


def part(content: Mapping[str, Any], name: str, run: Path) -> dict[str, Any]:
    """One of the checkpoint's dictionaries.

    Raises:
        WeightsError: The checkpoint has none of this name.
    """
    if not isinstance(content.get(name), dict):
        raise WeightsError(
            f"the checkpoint has no {name}",
            expected=f"the checkpoint of a recipe with {name}",
            where=run / FILE_NAME,
            remedy="check that the recipe is the run's own",
        )
    return dict(content[name])


def _not_finite(content: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Where nested dictionaries hold a tensor with numbers that are not finite."""
    if isinstance(content, Mapping):
        for key, part in content.items():
            yield from _not_finite(part, (*path, str(key)))
    elif isinstance(content, torch.Tensor) and not content.isfinite().all():
        yield ".".join(path)
