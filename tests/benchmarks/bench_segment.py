"""segment hides everything behind the teacher; regroup against a plain copy of the pixels."""

import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from xdistill.grouping.remap import remap
from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.plan import make_plan
from xdistill.pipeline.regroup import plan_regroup, regroup
from xdistill.pipeline.segment import Outcome, segment
from xdistill.pipeline.store import SHARD_FRAMES, LabelStore
from xdistill.teachers.protocol import Labels, fingerprint_of

TEACHER_S = 0.05
FRAMES = 448
DRIVE = "2011_09_26/2011_09_26_drive_0013_sync"


class SleepingTeacher:
    """Takes 50 ms a frame without using a core, as a GPU does; answers real labels."""

    record = {"kind": "module", "name": "sleeping"}
    fingerprint = fingerprint_of(record)

    def __init__(self, labels: Path) -> None:
        files = sorted(labels.glob(f"{DRIVE}/image_02/*.png"))
        self.maps = [np.asarray(cv2.imread(str(p), cv2.IMREAD_UNCHANGED), np.uint8) for p in files]
        self.calls = 0

    def label(self, images: list[np.ndarray], keys: list[str]) -> Labels:
        time.sleep(TEACHER_S * len(images))
        self.calls += len(images)
        return Labels(classes=np.stack([self.maps[int(key[-10:]) % 72] for key in keys]))


@pytest.fixture
def drive(shared: Path, tmp_path: Path) -> Path:
    """448 native frames: drive 0013 over and over, by links."""
    source = shared / "kitti" / DRIVE / "image_02" / "data"
    target = tmp_path / "kitti" / DRIVE / "image_02" / "data"
    target.mkdir(parents=True)
    for index in range(FRAMES):
        (target / f"{index:010d}.jpg").symlink_to(source / f"{index % 72:010d}.jpg")
    return tmp_path / "kitti"


def test_the_teacher_is_all_one_waits_for(shared: Path, drive: Path, tmp_path: Path) -> None:
    teacher = SleepingTeacher(shared / "kitti_labels_espnetv2")
    store = LabelStore.create(
        tmp_path / "labels.zarr", teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    tasks = make_plan(drive, find_frames(drive, drives=None, cameras=["l"]), store=None).tasks
    alone = time.perf_counter()
    for _ in range(FRAMES):
        time.sleep(TEACHER_S)
    alone = time.perf_counter() - alone
    whole = time.perf_counter()
    segment(drive, store, teacher=teacher, tasks=tasks, outcome=Outcome())
    whole = time.perf_counter() - whole
    ratio = whole / alone
    print(f"\nsegment {FRAMES} frames: {whole:.2f} s, teacher alone {alone:.2f} s: {ratio:.3f}x")
    assert teacher.calls == FRAMES
    assert ratio <= 1.05


def test_regroup_of_1024_native_frames(shared: Path, tmp_path: Path) -> None:
    maps = SleepingTeacher(shared / "kitti_labels_espnetv2").maps
    store = LabelStore.create(tmp_path / "labels.zarr", teacher={"kind": "x"}, fingerprint="0" * 64)
    array = store.ensure_array(
        f"{DRIVE}/image_02", "classes", length=1024, size=(375, 1242), values=19, attributes={}
    )
    for shard in range(1024 // SHARD_FRAMES):
        first = shard * SHARD_FRAMES
        array.write_shard(shard, {first + i: maps[(first + i) % 72] for i in range(SHARD_FRAMES)})
    scheme = load_scheme("4")
    tasks = plan_regroup(store, scheme)
    wall, cpu = time.perf_counter(), time.process_time()
    assert regroup(store, scheme, tasks=tasks) == 1024
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"\nregroup 1024 frames: {wall:.2f} s wall, {cpu / 1024 * 1e3:.2f} ms CPU a frame")
    assert cpu / 1024 <= 3.5e-3


def test_the_look_up_against_a_copy(shared: Path) -> None:
    maps = SleepingTeacher(shared / "kitti_labels_espnetv2").maps
    scheme = load_scheme("4")
    ratios, remaps = [], []
    for _ in range(9):
        start = time.perf_counter()
        for labels in maps:
            remap(labels, scheme)
        middle = time.perf_counter()
        for labels in maps:
            labels.copy()
        end = time.perf_counter()
        remaps.append((middle - start) / len(maps))
        ratios.append((middle - start) / (end - middle))
    print(
        f"\nremap: median {statistics.median(remaps) * 1e3:.3f} ms a frame, "
        f"{statistics.median(ratios):.1f}x memcpy ({min(ratios):.1f}-{max(ratios):.1f})"
    )
