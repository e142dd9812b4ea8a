"""A KITTI raw tree of small frames with matching label maps."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 12, 40
DRIVE_A = "2011_09_26/2011_09_26_drive_0001_sync"
DRIVE_B = "2011_09_28/2011_09_28_drive_0002_sync"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """Where the images and labels are."""

    data: Path
    labels: Path

    def image(self, drive: str, index: int, camera: str = "image_02") -> Path:
        return self.data / drive / camera / "data" / f"{index:010d}.png"

    def label(self, drive: str, index: int, camera: str = "image_02") -> Path:
        return self.labels / drive / camera / f"{index:010d}.png"

    def expected(self, drive: str, index: int, camera: str = "image_02") -> NDArray[np.uint8]:
        found = cv2.imread(str(self.label(drive, index, camera)), cv2.IMREAD_UNCHANGED)
        return np.asarray(found, np.uint8)


def add_frame(
    tree: Tree,
    drive: str,
    index: int,
    *,
    rng: np.random.Generator,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    camera: str = "image_02",
) -> None:
    """Write one random image and its label map (train ids with some ignore)."""
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    label = rng.integers(0, 20, size, np.uint8)
    label[label == 19] = 255
    paths = tree.image(drive, index, camera), tree.label(drive, index, camera)
    for path, content in zip(paths, (image, label), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), content)
