"""Augmentation of a triplet: one draw of mirroring and colour jitter for all three frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BRIGHTNESS = CONTRAST = SATURATION = 0.2
"""Factors are drawn from 1 - this value to 1 + this value (Monodepth2)."""
HUE = 0.1
"""Largest turn of the hue in either direction, as a share of the colour circle (Monodepth2)."""
GREY = (0.299, 0.587, 0.114)
"""Luma weights of R, G and B (ITU-R BT.601)."""
OPERATIONS = ("brightness", "contrast", "saturation", "hue")

Image = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Jitter:
    """One draw of the colour jitter."""

    order: tuple[str, ...]
    """The four operations in the order in which they are applied."""
    brightness: float
    """Factor on the colours."""
    contrast: float
    """1 keeps the image, 0 gives its mean grey."""
    saturation: float
    """1 keeps the colours, 0 gives grey."""
    hue: float
    """Turn of the colour circle, as a share of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Augmentation of one triplet."""

    mirrored: bool
    """Whether left and right are swapped."""
    jitter: Jitter | None
    """Colour jitter of what the networks see; None leaves the colours."""


NOTHING = Augmentation(mirrored=False, jitter=None)
"""For validation and pictures."""


def draw_augmentation(
    rng: np.random.Generator, *, flip_probability: float, jitter_probability: float
) -> Augmentation:
    """Draw mirroring and colour jitter, independently of each other."""
    mirrored = bool(rng.random() < flip_probability)
    jittered = bool(rng.random() < jitter_probability)
    return Augmentation(mirrored=mirrored, jitter=draw_jitter(rng) if jittered else None)


def draw_jitter(rng: np.random.Generator) -> Jitter:
    """Draw the order and the strength of the four operations."""
    order = tuple(OPERATIONS[position] for position in rng.permutation(len(OPERATIONS)))
    return Jitter(
        order=order,
        brightness=rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS),
        contrast=rng.uniform(1 - CONTRAST, 1 + CONTRAST),
        saturation=rng.uniform(1 - SATURATION, 1 + SATURATION),
        hue=rng.uniform(-HUE, HUE),
    )


def apply_jitter(image: NDArray[np.uint8], jitter: Jitter) -> NDArray[np.uint8]:
    """Jitter one RGB image (height, width, 3); the input is not changed.

    The operations are those of torchvision's ColorJitter: brightness scales, contrast blends with
    the mean luma, saturation with each pixel's luma, hue turns the colour circle in HSV; each
    result is clamped. Computed in float, rounded to uint8 once.
    """
    colours: Image = image.astype(np.float32) / np.float32(255)
    for operation in jitter.order:
        factor = getattr(jitter, operation)
        if operation == "hue":
            colours = _turn_hue(colours, factor)
        else:
            colours = _blend(colours, _counterpart(colours, operation), factor)
    return np.rint(colours * 255).astype(np.uint8)


def _counterpart(colours: Image, operation: str) -> Image | float:
    """Blend partner of the image: black, its mean luma, or each pixel's luma."""
    if operation == "brightness":
        return 0.0
    luma = colours @ np.array(GREY, np.float32)
    return float(luma.mean()) if operation == "contrast" else luma[..., None]


def _blend(colours: Image, other: Image | float, factor: float) -> Image:
    mixed: Image = np.clip(factor * colours + (1 - factor) * other, 0, 1).astype(np.float32)
    return mixed


def _turn_hue(colours: Image, share: float) -> Image:
    """Turn the hue; OpenCV gives it in degrees for float images."""
    hsv = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * share) % 360
    return np.asarray(np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), 0, 1), np.float32)


def jittered(
    images: Sequence[NDArray[np.uint8]], augmentation: Augmentation
) -> list[NDArray[np.uint8]]:
    """The images as the networks see them: the same jitter on each."""
    if augmentation.jitter is None:
        return list(images)
    return [apply_jitter(image, augmentation.jitter) for image in images]


def mirror_intrinsics(matrix: NDArray[np.float64], *, width: int) -> NDArray[np.float64]:
    """K of the mirrored image: column u becomes width - 1 - u."""
    mirrored = matrix.copy()
    mirrored[0, 2] = width - 1 - matrix[0, 2]
    return mirrored


def mirror_motion(motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rigid motion (4, 4) seen in the mirror x -> -x."""
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored: NDArray[np.float64] = mirror @ motion @ mirror
    return mirrored
