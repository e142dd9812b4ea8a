"""The state of a training: networks, optimiser, step, random state."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from xdistill.manifests.errors import XDistillError
from xdistill.train.model import Model
from xdistill.train.networks.checkpoints import load_encoder
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.recipe.recipe import Recipe


class TrainingError(XDistillError, RuntimeError):
    """A training that cannot start or go on."""


@dataclass(kw_only=True, slots=True)
class Training:
    """What one optimiser step changes."""

    recipe: Recipe
    """Never changes."""
    model: Model
    """Depth, pose and D2S networks."""
    optimiser: torch.optim.Adam
    """Over all their parameters."""
    generator: torch.Generator
    """Source of the auto-mask's noise, on the model's device."""
    device: torch.device
    """Where the networks are."""
    step: int = 0
    """Optimiser steps done."""


def new_training(recipe: Recipe, *, device: torch.device) -> Training:
    """A training with random weights, seeded by the recipe; nobody else's random state changes."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        # On the CPU, so that every device starts from the same weights.
        model = Model(recipe).to(device)
    return Training(
        recipe=recipe,
        model=model,
        optimiser=torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True),
        generator=torch.Generator(device).manual_seed(recipe.seed),
        device=device,
    )


def load_initial_encoders(training: Training) -> None:
    """Start the encoders from what ``encoder_weights`` names.

    Raises:
        FetchError: The ImageNet weights cannot be had.
        WeightsError: The file does not fit the encoder.
    """
    recipe, model = training.recipe, training.model
    encoder = model.depth.encoder
    if isinstance(encoder, ResNetEncoder) and recipe.encoder != "narrow":
        load_encoder(encoder, recipe.encoder_weights, name=recipe.encoder)
    if isinstance(model.pose, PoseNetwork):
        load_encoder(model.pose.encoder, recipe.encoder_weights, name=recipe.pose_encoder)


def choose_device(name: str | None) -> torch.device:
    """The named device; unnamed, cuda where there is one, else cpu.

    Raises:
        TrainingError: cuda was asked for and is not available.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "no CUDA device",
            expected="an NVIDIA GPU and a PyTorch built for it",
            where="--device cuda",
            remedy="use --device cpu, or install PyTorch for your GPU (pytorch.org)",
        )
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


@contextmanager
def reproducible(recipe: Recipe, *, device: torch.device) -> Iterator[None]:
    """Ask for deterministic kernels while inside, where the recipe wants them.

    Bilinear sampling and upsampling have no deterministic gradient on CUDA: there PyTorch warns
    and goes on, so two runs agree to rounding only.
    """
    before = torch.are_deterministic_algorithms_enabled()
    before_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(recipe.deterministic, warn_only=device.type == "cuda")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=before_warn)


def resolve_initial(folder: str) -> Path:
    """The folder of ``init``.

    Raises:
        TrainingError: There is none.
    """
    path = Path(folder)
    if not path.is_dir():
        raise TrainingError(
            "no such folder",
            expected="a run folder, or one with encoder.pth and depth.pth",
            where=path.absolute(),
            remedy="correct init in the recipe, or with --set init=FOLDER",
        )
    return path
