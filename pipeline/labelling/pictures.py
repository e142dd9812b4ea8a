"""Write pictures: the one place where RGB becomes a PNG file."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.manifests.errors import XDistillError


class PictureError(XDistillError, OSError):
    """A picture that cannot be written."""


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an RGB (H, W, 3) or single-channel (H, W) uint8 array as PNG.

    Raises:
        PictureError: The folder is missing or cannot be written, or the name does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise PictureError(
            f"picture name {path.name}", expected="a name that ends in .png", where=path
        )
    colour = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", colour)
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise PictureError(
            f"cannot write the picture ({error.strerror})",
            where=path,
            remedy="check that the folder exists and has room",
        ) from error
