"""A run's checkpoint, written in one step, and the weights that a training starts from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xdistill.manifests import disk
from xdistill.manifests.weights import WeightsError, load_strictly, read_weights
from xdistill.train.model import Model, depth_network
from xdistill.train.networks import checkpoints
from xdistill.train.networks.checkpoints import load_encoder
from xdistill.train.networks.depth import DepthNetwork
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.recipe.file import load_recipe, load_run_recipe
from xdistill.train.recipe.recipe import Recipe, RecipeError
from xdistill.train.training import Training, TrainingError, choose_device

FILE_NAME = "checkpoint.pt"
FORMAT = 1
NETWORKS = ("depth", "pose", "d2s")


def save_checkpoint(run: Path, training: Training) -> Path:
    """Write the run's checkpoint in one step: after a crash it is the old one or the new one.

    Raises:
        TrainingError: A parameter is not finite, or the file cannot be written; the previous
            checkpoint is kept.
    """
    _require_finite(training, run)
    content: dict[str, Any] = {
        "format": FORMAT,
        "step": training.step,
        "optimiser": training.optimiser.state_dict(),
        "random_states": {training.device.type: training.generator.get_state()},
    }
    for name, network in _networks(training.model).items():
        content[name] = network.state_dict()
    path = run / FILE_NAME
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
    content = _read(path)
    for name, network in _networks(training.model).items():
        load_strictly(network, _part(content, name, path), where=path)
    training.optimiser.load_state_dict(_part(content, "optimiser", path))
    training.step = int(content["step"])
    states = _part(content, "random_states", path)
    if training.device.type in states:
        training.generator.set_state(states[training.device.type])
    else:
        # A device of another type draws other numbers anyway.
        training.generator.manual_seed(training.recipe.seed + training.step)


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
    elif recipe.encoder_weights != "none":
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
        checkpoints.load_peer_depth(model.depth, folder)
        if isinstance(model.pose, PoseNetwork):
            checkpoints.load_peer_pose(model.pose, folder)
        return
    content = _read(folder / FILE_NAME)
    for name, network in _networks(model).items():
        if name == "depth" or name in content:
            load_strictly(network, _part(content, name, folder), where=folder / FILE_NAME)


def load_initial_encoders(model: Model, recipe: Recipe) -> None:
    """Start the encoders from ImageNet weights or from a torchvision state dict.

    Raises:
        RecipeError: The encoder has no published weights.
        FetchError: The ImageNet weights are not available.
        WeightsError: The file does not fit the encoder.
    """
    encoder = model.depth.encoder
    if not isinstance(encoder, ResNetEncoder):
        raise RecipeError(
            f"encoder_weights is {recipe.encoder_weights!r}, but there are no published weights of "
            f"{recipe.encoder}",
            expected="encoder_weights none",
            where=f"recipe {recipe.name!r}",
            remedy="train from random weights with --set encoder_weights=none",
        )
    load_encoder(encoder, recipe.encoder_weights, name=recipe.encoder)
    if isinstance(model.pose, PoseNetwork):
        load_encoder(model.pose.encoder, recipe.encoder_weights, name=recipe.pose_encoder)


def load_depth_network(
    run: str | Path, *, device: str | torch.device | None = None
) -> tuple[DepthNetwork, Recipe]:
    """Load the depth network of a run, or of Monodepth2's encoder.pth and depth.pth.

    Args:
        run: Run folder, or a folder with the published files.
        device: ``cpu`` or ``cuda``; None takes CUDA if available.

    Returns:
        The network in evaluation mode, and the recipe that trained it. For published files the
        recipe is Monodepth2's, with their encoder and size.

    Raises:
        WeightsError: A file is missing, damaged, or does not fit the recipe.
        ManifestError: The run's recipe cannot be read or is incomplete.
        TrainingError: The device is not available.
    """
    run, place = Path(run), choose_device(device)
    if checkpoints.is_peer_folder(run):
        encoder, width, height = checkpoints.peer_settings(run)
        recipe = replace(
            load_recipe("monodepth2-rn18"),
            name=run.absolute().name,
            encoder=encoder,
            pose_encoder=encoder,
            width=width,
            height=height,
        )
        network = depth_network(recipe)
        checkpoints.load_peer_depth(network, run)
    else:
        path = run / FILE_NAME
        content = _read(path)
        recipe = load_run_recipe(run)
        network = depth_network(recipe)
        load_strictly(network, _part(content, "depth", path), where=path)
    return network.eval().to(place), recipe


def _networks(model: Model) -> dict[str, nn.Module]:
    """The recipe's networks by their key in the checkpoint."""
    found = {name: getattr(model, name) for name in NETWORKS}
    return {name: network for name, network in found.items() if network is not None}


def _read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint whose format this version knows."""
    if not path.is_file():
        raise WeightsError(
            "the folder holds no checkpoint",
            expected=f"{FILE_NAME} of a run, or Monodepth2's encoder.pth and depth.pth",
            where=path.parent.absolute(),
            remedy="give a folder that xd-train wrote, or train first",
        )
    content = read_weights(path)
    if content.get("format") != FORMAT:
        raise WeightsError(
            f"the checkpoint has format {content.get('format')}",
            expected=f"format {FORMAT}",
            where=path,
            remedy="read it with the version of xdistill that wrote it",
        )
    return content


def _part(content: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    if not isinstance(content.get(name), dict):
        raise WeightsError(
            f"the checkpoint has no {name}",
            expected=f"the checkpoint of a recipe with {name}",
            where=path,
            remedy="check that the recipe is the run's own",
        )
    return dict(content[name])


def _require_finite(training: Training, run: Path) -> None:
    """Catch a step with infinite gradients before the next loss shows it."""
    for name, parameter in training.model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise TrainingError(
                f"parameter {name} is not finite after step {training.step}",
                expected="finite parameters; the previous checkpoint is kept",
                where=run,
                remedy="continue from the previous checkpoint with --resume, or lower lr",
            )
