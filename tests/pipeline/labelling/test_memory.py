"""Memory of segment and regroup is that of a few shards, whatever the number of frames."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.labelling.plan import make_plan
from xdistill.pipeline.labelling.regroup import plan_regroup, regroup
from xdistill.pipeline.labelling.segment import segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.protocol import Prediction, fingerprint_of

pytestmark = pytest.mark.slow

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"
SIZE = (128, 512)
"""Large enough that a shard, 4 MB, outweighs the interpreter's own tables, which grow by chance."""
SHARD_BYTES = 64 * SIZE[0] * SIZE[1]


class RandomTeacher:
    """Labels that do not compress, so that nothing hides in small files."""

    record = {"kind": "module", "name": "random"}
    fingerprint = fingerprint_of(record)
    calls_at_once = 1
    reads_pixels = True

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def check_size(self, height: int, width: int) -> None: ...

    def label(self, images: list[NDArray[np.uint8]], keys: list[str]) -> Prediction:
        shape = (len(images), *images[0].shape[:2])
        return Prediction(classes=self.rng.integers(0, 19, shape, np.uint8))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((*SIZE, 3), 90, np.uint8))
    return path


def peaks(image: Path, root: Path, *, frames: int) -> tuple[float, float]:
    """Highest memory of segment and of regroup over that many frames, in shards of labels."""
    folder = root / "kitti" / DRIVE / "image_02" / "data"
    folder.mkdir(parents=True)
    for index in range(frames):
        (folder / f"{index:010d}.png").symlink_to(image)
    teacher = RandomTeacher()
    store = LabelStore.open_for_writing(
        root / "labels.zarr", teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    found = find_frames(root / "kitti", drives=None, cameras=["l"])
    tasks = make_plan(root / "kitti", found, store=store).tasks
    tracemalloc.start()
    segment(root / "kitti", store, teacher=teacher, tasks=tasks, outcome=Outcome())
    first = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    scheme = load_scheme("4")
    assert regroup(store, scheme, tasks=plan_regroup(store, scheme)) == frames
    second = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return first / SHARD_BYTES, second / SHARD_BYTES


def test_twenty_shards_pass_through_the_memory_of_a_few(image: Path, tmp_path: Path) -> None:
    labelled, grouped = peaks(image, tmp_path, frames=20 * 64)
    assert labelled < 8
    assert grouped < 8
