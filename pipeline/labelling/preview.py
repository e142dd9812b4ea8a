"""One frame as a picture: image, classes and groups, one below the other."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from xdistill.grouping.classes import cityscapes
from xdistill.grouping.scheme import Scheme, remap
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import read_image
from xdistill.pipeline.store import LabelStore

OPACITY = 0.6
"""Share of the label's colour in the overlay."""
STRIP_HEIGHT = 26
"""Height in pixels of a caption."""
TEXT_SCALE = 0.5

Picture = UInt8[np.ndarray, "height width 3"]
Palette = UInt8[np.ndarray, "256 3"]
LabelMap = UInt8[np.ndarray, "rows width"]


def preview(root: Path, store: LabelStore, frame: Frame, *, scheme: Scheme) -> Picture:
    """Draw a frame with its labels.

    Args:
        root: KITTI raw root.
        store: Holds the frame's classes.
        frame: Which frame.
        scheme: Grouping of the lowest panel, applied to the stored classes.

    Returns:
        RGB picture (3 panels with captions and legends, native width), uint8.

    Raises:
        MissingFrameError, ImageError: The image is missing or damaged.
        LabelStoreError: The frame is not labelled or its labels are damaged.
    """
    image = read_image(image_path(root, frame))
    classes = store.array(frame.sequence, "classes").read(frame.index)
    groups = remap(classes, scheme)
    table = cityscapes()
    return np.vstack(
        [
            _caption(str(frame), image.shape[1]),
            image,
            _legend("classes", table.names, table.palette(), classes),
            _overlay(image, table.palette()[classes]),
            _legend(scheme.array, scheme.groups, scheme.palette(), groups),
            _overlay(image, scheme.palette()[groups]),
        ]
    )


def _overlay(image: Picture, colours: Picture) -> Picture:
    return np.asarray(cv2.addWeighted(image, 1 - OPACITY, colours, OPACITY, 0), np.uint8)


def _caption(text: str, width: int) -> Picture:
    strip = np.full((STRIP_HEIGHT, width, 3), 255, np.uint8)
    _write(strip, text, 6)
    return strip


def _write(strip: Picture, text: str, x: int) -> int:
    """Write black text from ``x`` on and return the x where it ends."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, text, (x, 18), font, TEXT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return x + cv2.getTextSize(text, font, TEXT_SCALE, 1)[0][0]


def _legend(title: str, names: tuple[str, ...], palette: Palette, labels: LabelMap) -> Picture:
    """Name the labels of this frame, most frequent first, as far as the width allows."""
    strip = np.full((STRIP_HEIGHT, labels.shape[1], 3), 255, np.uint8)
    x = _write(strip, f"{title}:", 6) + 12
    counts = np.bincount(labels.ravel(), minlength=256)[: len(names)]
    for label in np.argsort(-counts, kind="stable"):
        if not counts[label] or x > labels.shape[1] - 110:
            break
        strip[6:20, x : x + 14] = palette[label]
        x = _write(strip, names[label], x + 18) + 14
    return strip
