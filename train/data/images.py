"""Images at the network's size: one way for training and evaluation."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.kitti.images import read_image


def read_at_size(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode an image and resize it.

    Args:
        path: PNG or JPEG.
        size: Height and width in pixels.

    Returns:
        RGB of shape (height, width, 3). Shrunk by pixel-area averaging (cv2.INTER_AREA), which has
        no aliasing and no ringing; enlarged bilinearly. Monodepth2 uses Pillow's Lanczos filter.

    Raises:
        ImageError: Missing, truncated, or no image.
    """
    return resize(read_image(path), size)


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize RGB (height, width, 3) to ``size`` (height, width), as ``read_at_size`` does."""
    height, width = size
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
