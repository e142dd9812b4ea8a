"""What the report says about how the demo departs from the papers, from what was really used."""

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]


def departures(recipe: Values, *, teacher: str) -> list[str]:
    """A sentence for each choice that is not the papers'.

    Args:
        recipe: Every key of the distilled run's recipe.
        teacher: As ``xd-pipeline segment --teacher`` names it.
    """
    lines = (
        _networks(recipe),
        _size(recipe),
        _depth(recipe),
        _poses(recipe),
        _automask(recipe),
        _teacher(teacher),
        "Intrinsics: read from the calibration, in place of one matrix for every drive."
        if recipe["intrinsics"] == "calibration"
        else "",
    )
    return [line for line in lines if line]


def _networks(recipe: Values) -> str:
    if recipe["encoder"] == "narrow":
        used = (
            "a residual encoder with a quarter of ResNet-18's channels and half of Monodepth2's "
            "decoder, from random weights"
        )
    else:
        weights = recipe["encoder_weights"]
        used = f"{recipe['encoder']} from {'random' if weights == 'none' else weights} weights"
        if used == "resnet50 from imagenet weights":
            return ""
    return f"Networks: {used}; the papers use ResNet-50 from ImageNet."


def _size(recipe: Values) -> str:
    rate = recipe["lr"]
    return (
        f"Size and length: {recipe['width']}x{recipe['height']} pixels, batches of "
        f"{recipe['batch_size']}, {recipe['schedule_steps']} steps; the papers use 640x192, "
        "batches of 12 and 20 epochs of 39,810 frames."
        + ("" if rate == 1e-4 else f" Learning rate {rate:g} in place of 0.0001.")
    )


def _depth(recipe: Values) -> str:
    parts = []
    if recipe["row_prior"] is not None:
        parts.append(
            "the disparity starts from a fixed row prior, a flat road below the camera, in place "
            "of a uniform value"
        )
    low, high = recipe["min_depth"], recipe["max_depth"]
    if (low, high) != (0.1, 100):
        parts.append(f"range {low:g}-{high:g} in place of 0.1-100")
    return f"Depth: {'; '.join(parts)}." if parts else ""


def _poses(recipe: Values) -> str:
    if recipe["pose"] == "oxts":
        return "Poses: the recorded ones, in place of learned ones."
    if recipe["pose_network"] == "cost_volume":
        return (
            "Poses: a small network on matching costs between the two frames, in place of a ResNet "
            "on the stacked frames, which needs ImageNet weights to learn motions that vary."
        )
    return ""


def _automask(recipe: Values) -> str:
    share = recipe["automask_start"]
    if share == 0:
        return ""
    return (
        f"Auto-mask: not before {100 * share:g} % of the steps. Until then, the loss is the mean "
        "over both source frames in place of the minimum."
    )


def _teacher(spec: str) -> str:
    if spec == "street":
        used = "a narrow OCRNet trained on other streets"
    elif spec.startswith("png:"):
        used = f"label maps read from files ({spec})"
    else:
        used = spec
    return f"Teacher: {used}, in place of HRNet-48 + OCR + InverseForm."
