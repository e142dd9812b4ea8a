"""The trained depth network in a folder: a run's, or published files."""

from dataclasses import replace
from pathlib import Path

import torch

from xdistill.manifests.weights import load_strictly
from xdistill.train.checkpoint import FILE_NAME, part, read_checkpoint
from xdistill.train.networks import checkpoints
from xdistill.train.networks.depth import DepthNetwork, depth_network
from xdistill.train.recipe.file import load_recipe, load_run_recipe
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import choose_device


def load_depth_network(
    run: str | Path, *, device: str | torch.device | None = None
) -> tuple[DepthNetwork, Recipe]:
    """Load the depth network of a run, or of Monodepth2's or HR-Depth's encoder.pth and depth.pth.

    Args:
        run: Run folder, or a folder with the published files.
        device: ``cpu`` or ``cuda``; None takes CUDA if available.

    Returns:
        The network in evaluation mode, and the recipe that trained it. For published files the
        recipe is Monodepth2's, with their networks and size.

    Raises:
        WeightsError: A file is missing, damaged, or does not fit the recipe.
        ManifestError: The run's recipe cannot be read or is incomplete.
        TrainingError: The device is not available.
    """
    run, place = Path(run), choose_device(device)
    if checkpoints.is_peer_folder(run):
        encoder, width, height = checkpoints.peer_settings(run)
        hr_depth = checkpoints.has_hr_depth(run)
        recipe = replace(
            load_recipe("monodepth2-rn18"),
            name=run.absolute().name,
            encoder=encoder,
            decoder="hr-depth" if hr_depth else "monodepth2",
            pose_encoder=encoder,
            width=width,
            height=height,
        )
        network = depth_network(recipe)
        checkpoints.load_peer_depth(network, run)
    else:
        content = read_checkpoint(run)
        recipe = load_run_recipe(run)
        network = depth_network(recipe)
        load_strictly(network, part(content, "depth", run), where=run / FILE_NAME)
    # The layout that it was trained in: another would round another way.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().to(place), recipe
