"""Frames with exact labels from many drives, to train and to judge a teacher on."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.record.drive import make_drive
from xdistill.pipeline.street.render.render import render

TRAINING_SEED, VALIDATION_SEED = 3_000_000_000, 3_000_000_001
"""The shipped teacher was trained on the first and its settings were chosen on the second: judge it
on any other seed."""
SPACING = 9
"""Frames of one drive are this far apart: neighbours show nearly the same."""
FRAMES = 5
"""Frames taken from a drive."""


def labelled_frames(
    seed: int, *, drives: int, size: tuple[int, int], advance: Callable[[int], object]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render FRAMES frames of each drive.

    Args:
        seed: The data set's seed.
        drives: How many drives.
        size: Height and width in pixels.
        advance: Called with the number of frames finished, for progress.

    Returns:
        RGB images (N, height, width, 3) and train ids (N, height, width).
    """
    images = np.empty((drives * FRAMES, *size, 3), np.uint8)
    labels = np.empty((drives * FRAMES, *size), np.uint8)
    for number in range(drives):
        drive = make_drive(seed, number + 1, frames=SPACING * (FRAMES - 1) + 1)
        for k in range(FRAMES):
            frame = k * SPACING
            camera, sensor = drive.camera(frame, size), drive.sensor(frame)
            picture = render(drive.scene(frame), camera, size=size, sensor=sensor)
            images[number * FRAMES + k] = picture.image
            labels[number * FRAMES + k] = picture.labels
            advance(1)
    return images, labels
