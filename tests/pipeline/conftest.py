"""Trees of small frames for the pipeline's tests."""

from pathlib import Path

import numpy as np
import pytest
from kitti_tree import DRIVE_A, DRIVE_B, Tree, add_frame


@pytest.fixture
def tree(tmp_path: Path, rng: np.random.Generator) -> Tree:
    """Drive A: frames 0-69 with a gap at 5; drive B: 3 frames of another size, both cameras."""
    made = Tree(data=tmp_path / "kitti", labels=tmp_path / "labels")
    for index in range(70):
        if index != 5:
            add_frame(made, DRIVE_A, index, rng=rng)
    for camera in ("image_02", "image_03"):
        for index in range(3):
            add_frame(made, DRIVE_B, index, rng=rng, size=(10, 36), camera=camera)
    return made
