"""Checkpoints of random networks and real frames, made once."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from material import Material
from numpy.typing import NDArray
from random_networks import Checkpoints, random_state, save


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are compared bit by bit with those of a CPU, also where there is a GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Checkpoint file of a shipped config, from a seeded random initialisation."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def checkpoint(config: str) -> Path:
        path = folder / f"{config}.pth"
        return path if path.exists() else save(path, random_state(config))

    return checkpoint


@pytest.fixture(scope="session")
def frames(material: Material) -> list[NDArray[np.uint8]]:
    """Two real frames as RGB, 1242x375."""
    names = (
        "drive_0002_sync/image_02/data/0000000000.png",
        "drive_0013_sync/image_02/data/0000000050.jpg",
    )
    images = [
        cv2.imread(str(material.kitti / "2011_09_26" / f"2011_09_26_{name}")) for name in names
    ]
    return [np.ascontiguousarray(image[..., ::-1]).astype(np.uint8) for image in images]
