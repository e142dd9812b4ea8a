"""The number format of the networks: where it can be had, and how it is used."""

import torch

from xdistill.train.recipe.recipe import Precision, Recipe, RecipeError


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which networks run in a format; the losses belong outside, in float32.

    Weights, their gradients and what needs the range of float32 stay in float32.
    """
    lower = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if lower else None, enabled=lower)


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
