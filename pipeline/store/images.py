"""Resized images in a store: what a cache of images is, and how one of its frames is read.

An image is a frame of (height, 3 * width): its rows, and in each the R, G and B of every pixel. The
place of the teacher is taken by the filter, its record and its version.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.store.array import LabelArray
from xdistill.pipeline.store.errors import LabelStoreError
from xdistill.pipeline.store.format import IMAGES, LEVEL
from xdistill.pipeline.store.reader import LabelReader
from xdistill.pipeline.store.store import LabelStore

FILTER = "lanczos"
AS_THEY_ARE = -100_000
"""Level at which zstd compresses nothing: pictures hardly shrink, and are read every epoch."""
VALUES = 255
"""An image has every value from 0 to 254, and the one that is ignore in labels."""


def image_record(size: tuple[int, int]) -> dict[str, Any]:
    """Everything that decides the pixels of images resized to ``size`` (height, width)."""
    height, width = size
    return {
        "kind": IMAGES,
        "filter": FILTER,
        "height": height,
        "width": width,
        "pillow": PIL.__version__,
    }


def holds_images(store: LabelStore) -> bool:
    """Whether a store is a cache of images rather than of labels."""
    return store.teacher.get("kind") == IMAGES


def cached_size(store: LabelStore) -> tuple[int, int]:
    """Height and width of the images of a cache.

    Raises:
        LabelStoreError: The store holds labels.
    """
    if not holds_images(store):
        raise LabelStoreError(
            "the store holds labels, not images",
            expected="a store that xd-pipeline cache-images made",
            where=store.path.absolute(),
            remedy="give the path of a cache of images, or a new path to make one",
        )
    return int(store.teacher["height"]), int(store.teacher["width"])


def require_record(store: LabelStore, wanted: Mapping[str, Any]) -> None:
    """Check that a cache holds images of this size and filter.

    Raises:
        LabelStoreError: It does not; the differences are named.
    """
    height, width = cached_size(store)
    found = dict(store.teacher)
    other = sorted(key for key in wanted if found.get(key) != wanted[key])
    if other:
        command = f"--size {wanted['width']}x{wanted['height']}"
        raise LabelStoreError(
            f"the cached images are {width}x{height}, " + _named(found, other),
            expected=f"{wanted['width']}x{wanted['height']}, " + _named(wanted, other),
            where=store.path.absolute(),
            remedy=f"make another cache: xd-pipeline cache-images {command} --out "
            + shlex.quote(f"images-{wanted['width']}x{wanted['height']}.zarr"),
        )


def _named(record: Mapping[str, Any], keys: list[str]) -> str:
    shown = [key for key in keys if key not in ("height", "width")] or ["filter"]
    return ", ".join(f"{key} {record.get(key)}" for key in shown)


def image_array(
    store: LabelStore, sequence: str, *, length: int, size: tuple[int, int]
) -> LabelArray:
    """The array of a sequence's images, created or grown if need be.

    Args:
        store: Opened for writing.
        sequence: ``<date>/<drive>/image_0X``.
        length: Smallest number of frames.
        size: Height and width of the images in pixels.
    """
    height, width = size
    return store.ensure_array(
        sequence,
        IMAGES,
        length=length,
        size=(height, 3 * width),
        values=VALUES,
        attributes={LEVEL: AS_THEY_ARE},
    )


@dataclass(frozen=True, slots=True)
class CachedImages:
    """Images of one size from a cache; picklable, for worker processes."""

    path: Path
    """Folder of the store."""
    size: tuple[int, int]
    """Height and width in pixels."""
    _reader: LabelReader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_reader", LabelReader(self.path, IMAGES))

    def read(self, frame: Frame) -> NDArray[np.uint8]:
        """RGB (height, width, 3) of a frame.

        Raises:
            LabelStoreError: The frame is not in the cache, or damaged.
        """
        return self._reader[frame].reshape(*self.size, 3)
