"""A small world of good files: KITTI raw, labels, a store, a run, predictions."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fuzzing import invoke
from training_tree import DRIVE, FRAMES, SEQUENCE, TINY, labels_of, write_drive

from xdistill.pipeline.cli.main import main as pipeline
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.velodyne import scan_path
from xdistill.train.cli.train import main as train
from xdistill.train.networks import depth, pose, resnet

SCORED = [Frame(DRIVE, index, "l") for index in (1, 2, 5)]
"""Frames of the split."""
JPEG = 7
"""The one frame that is a JPEG."""


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    """Networks with a tenth of the width: what reads files does not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "STAGE_CHANNELS", (8, 16, 24, 32))
        patch.setattr(depth, "DECODER_CHANNELS", (8, 8, 16, 16, 32))
        patch.setattr(pose, "CHANNELS", 16)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a module's good files; each test puts back what it replaced."""
    folder = tmp_path_factory.mktemp("good")
    kitti = folder / "kitti"
    write_drive(kitti)
    frame = image_path(kitti, Frame(DRIVE, JPEG, "l"))
    cv2.imwrite(str(frame.with_suffix(".jpg")), cv2.imread(str(frame)))
    frame.unlink()
    rng = np.random.default_rng(5)
    for scored in SCORED:
        path = scan_path(kitti, scored)
        path.parent.mkdir(parents=True, exist_ok=True)
        points = rng.uniform((2, -20, -4, 0), (60, 20, 1, 1), (3000, 4))
        path.write_bytes(points.astype("<f4").tobytes())
    for index in range(FRAMES):
        path = folder / "labels" / SEQUENCE / f"{index:010d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), labels_of(index))
    (folder / "split.txt").write_text("".join(f"{frame}\n" for frame in SCORED))
    disparities = rng.uniform(0.02, 0.5, (len(SCORED), 20, 32)).astype(np.float32)
    np.save(folder / "disps.npy", disparities)
    return folder


@pytest.fixture(scope="module")
def store(good: Path) -> Path:
    """A store of the labels, grouped."""
    path = good / "labels.zarr"
    teacher = f"png:{good / 'labels'}"
    invoke(pipeline, "segment", "--data", good / "kitti", "--teacher", teacher, "--store", path)
    invoke(pipeline, "regroup", "--store", path)
    return path


@pytest.fixture(scope="module")
def run(good: Path, store: Path) -> Path:
    """A run of one step."""
    path = good / "run"
    where = ("--data", good / "kitti", "--store", store, "--split", "all", "--out", path)
    invoke(train, "--recipe", "xdistill-rn18", *where, "--steps", 1, *TINY)
    return path


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command writes where it is started does no harm."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[str], Path]:
    """Makes paths of a suffix where nothing is yet."""
    count = itertools.count()
    return lambda suffix: tmp_path / f"out-{next(count)}{suffix}"
