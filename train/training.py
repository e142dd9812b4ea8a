"""What a training changes step by step, and what its schedules set at each step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from xdistill.manifests.errors import XDistillError
from xdistill.train.model import Model
from xdistill.train.objective.losses import Reduction
from xdistill.train.recipe.recipe import Precision, Recipe, RecipeError


class TrainingError(XDistillError, RuntimeError):
    """A training that cannot start or continue."""


@dataclass(kw_only=True, slots=True)
class Training:
    """What one optimiser step changes."""

    recipe: Recipe
    """The run's choices; constant."""
    model: Model
    """Depth, pose and D2S networks."""
    optimiser: torch.optim.Adam
    """Adam over all their parameters."""
    scaler: torch.amp.GradScaler
    """Of the gradients, in float16."""
    generator: torch.Generator
    """Source of the automask's noise, on the model's device."""
    step: int = 0
    """Optimiser steps done."""
    updating: bool = False
    """Whether an update is under way, or broke off: the weights are those of no step then."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.device


def new_training(recipe: Recipe, *, device: torch.device) -> Training:
    """Build a training with random weights from the recipe's seed.

    The global random state stays as it was.

    Raises:
        RecipeError: The recipe names an unknown network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        # On the CPU, so that every device starts from the same weights.
        model = Model(recipe).to(device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Training(
        recipe=recipe,
        model=model,
        # Without a rate: every step sets its own.
        optimiser=torch.optim.Adam(model.parameters(), fused=True),
        scaler=gradient_scaler(recipe.precision, device),
        generator=torch.Generator(device).manual_seed(recipe.seed),
    )


def learning_rate(recipe: Recipe, step: int, *, length: int) -> float:
    """Adam's learning rate at one optimiser step.

    Args:
        recipe: lr, and when and by how much it drops.
        step: Optimiser step, from 1.
        length: Optimiser steps of the whole schedule.

    Source: section 4, Godard et al., ICCV 2019: 1e-4, a tenth of it for the last 5 of 20 epochs.
    """
    if recipe.lr_drop_epoch is None:
        return recipe.lr
    # In whole numbers, so that the drop falls exactly on the epoch's first step.
    dropped = (step - 1) * recipe.epochs >= recipe.lr_drop_epoch * length
    return recipe.lr * recipe.lr_drop_factor if dropped else recipe.lr


def d2s_weight(recipe: Recipe, step: int, *, length: int) -> float:
    """lambda_D2S at one optimiser step: constant, or linear from 0 at the first step to the last.

    Args:
        recipe: Distillation, its weight and its schedule.
        step: Optimiser step, from 1; beyond the schedule the weight stays full.
        length: Optimiser steps of the whole schedule.

    Source: section 4.1 and Table 7, Cai et al. 2021.
    """
    if recipe.distillation == "none":
        return 0.0
    if recipe.d2s_schedule == "constant":
        return recipe.d2s_weight
    return recipe.d2s_weight * min(1.0, (step - 1) / max(1, length - 1))


def reduction(recipe: Recipe, step: int, *, length: int) -> Reduction:
    """How one optimiser step reduces the photometric loss over the source frames.

    Args:
        recipe: The share of the schedule at which the automask starts.
        step: Optimiser step, from 1.
        length: Optimiser steps of the whole schedule.
    """
    return "automask" if step - 1 >= recipe.automask_start * length else "mean"


def choose_device(name: str | torch.device | None) -> torch.device:
    """The named device; None takes CUDA if available, else the CPU.

    Raises:
        TrainingError: The name is not a device's, or CUDA is not available.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(
            f"{name!r} is not a device",
            expected="cpu, cuda or cuda:N",
            remedy="correct the name of the device",
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "no CUDA device is available",
            expected="an NVIDIA GPU and a PyTorch built for it",
            where=f"device {device}",
            remedy="use --device cpu, or install PyTorch for your GPU (pytorch.org)",
        )
    return device


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Keeps the gradients of float16 in its range; does nothing in the other formats.

    A step whose gradient overflows changes no weight, and the next gradients are scaled less.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


def require_precision(recipe: Recipe, device: torch.device) -> None:
    """Refuse a format in which the device does not calculate.

    Raises:
        RecipeError: It lacks the recipe's.
    """
    known = ["float32", *(name for name in ("bfloat16", "float16") if _has(device, name))]
    if recipe.precision in known:
        return
    raise RecipeError(
        f"precision is {recipe.precision}, in which device {device} does not calculate",
        expected=f"one of {', '.join(known)}",
        where=f"recipe {recipe.name!r}",
        remedy=f"give --set precision={known[-1]}, or another --device",
    )


def _has(device: torch.device, name: str) -> bool:
    """Whether the device has arithmetic of a 16-bit format, rather than an emulation."""
    if device.type == "cuda":
        return name == "float16" or torch.cuda.is_bf16_supported(including_emulation=False)
    short = {"bfloat16": "bf16", "float16": "fp16"}[name]
    return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported")())


@contextmanager
def reproducible(recipe: Recipe, *, device: torch.device) -> Iterator[None]:
    """Use deterministic kernels inside the context where the recipe asks for them.

    Bilinear sampling and upsampling have no deterministic gradient on CUDA: PyTorch warns there
    and continues, so equal runs agree to rounding only.
    """
    before = torch.are_deterministic_algorithms_enabled()
    before_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(recipe.deterministic, warn_only=device.type == "cuda")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=before_warn)
