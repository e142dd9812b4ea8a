"""Small material to train on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import RECIPE, Start, Started
from training_tree import (
    DRIVE,
    FRAMES,
    HEIGHT,
    SEQUENCE,
    WIDTH,
    labels_of,
    write_drive,
)

from xdistill.pipeline.store import LabelStore
from xdistill.train.data.triplets import Selection
from xdistill.train.job import prepare, start
from xdistill.train.networks import depth, pose, resnet

# Threads of several test runs on one machine would spend their time waiting for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KITTI raw root with one drive of ten frames that slide over a texture."""
    root = tmp_path_factory.mktemp("kitti")
    write_drive(root)
    return root


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a store with the classes of some frames of the drive."""

    def make(indices: list[int] | None = None, *, fingerprint: str = "0" * 64) -> Path:
        path = tmp_path_factory.mktemp("store") / "labels.zarr"
        store = LabelStore.open_for_writing(path, teacher={"kind": "test"}, fingerprint=fingerprint)
        array = store.ensure_array(
            SEQUENCE, "classes", length=FRAMES, size=(HEIGHT, WIDTH), values=19, attributes={}
        )
        chosen = range(FRAMES) if indices is None else indices
        array.write_shard(0, {index: labels_of(index) for index in chosen})
        return path

    return make


@pytest.fixture(scope="session")
def store(make_store: Callable[..., Path]) -> Path:
    """A store with the classes of every frame."""
    return make_store()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random tensors, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks with a tenth of the width: what is tested with them does not depend on it."""
    monkeypatch.setattr(resnet, "STAGE_CHANNELS", (8, 16, 24, 32))
    monkeypatch.setattr(depth.Encoder, "decoder_channels", (8, 8, 16, 16, 32))
    monkeypatch.setattr(pose, "CHANNELS", 16)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A split of the eight frames that have both neighbours."""
    path = tmp_path / "split.txt"
    path.write_text("".join(f"{DRIVE} {index} l\n" for index in range(1, FRAMES - 1)))
    return path


@pytest.fixture
def ready(narrow: None, data: Path, store: Path, tmp_path: Path) -> Start:
    """Starts jobs on the small drive."""

    def make(run: str, **values: Any) -> Started:
        defaults = {
            "recipe": RECIPE,
            "data": data,
            "selection": Selection(split="all"),
            "store": store,
            "device": "cpu",
        }
        job = prepare(run=tmp_path / run, **(defaults | values))
        return Started(start(job), job)

    return make
