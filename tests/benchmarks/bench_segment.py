"""segment hides everything behind the teacher; regroup against a plain copy of the pixels."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from random_networks import FCN, random_state, save

from xdistill.grouping.scheme import load_scheme, remap
from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.labelling.plan import make_plan
from xdistill.pipeline.labelling.regroup import plan_regroup, regroup
from xdistill.pipeline.labelling.segment import segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import SHARD_FRAMES, LabelStore
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.engines.network import GPU_CALLS, NetworkTeacher, Prepared
from xdistill.teachers.protocol import Prediction, TeacherSettings, fingerprint_of

TEACHER_S, GPU_S = 0.05, 0.025
FRAMES = 448
"""Frames of one round: seven shards, as only the commit of the last one is waited for."""
ROUNDS, GPU_FRAMES = 5, 896
REGROUP_FRAMES = 1024
DRIVE = "2011_09_26/2011_09_26_drive_0013_sync"


class SleepingTeacher:
    """Takes 50 ms a frame without using a core, as a GPU does; answers real labels."""

    record = {"kind": "module", "name": "sleeping"}
    fingerprint = fingerprint_of(record)
    calls_at_once = 1
    reads_pixels = True

    def __init__(self, labels: Path) -> None:
        files = sorted(labels.glob(f"{DRIVE}/image_02/*.png"))
        self.maps = [np.asarray(cv2.imread(str(p), cv2.IMREAD_UNCHANGED), np.uint8) for p in files]
        self.calls = 0

    def check_size(self, height: int, width: int) -> None: ...

    def label(self, images: list[np.ndarray], keys: list[str]) -> Prediction:
        time.sleep(TEACHER_S * len(images))
        self.calls += len(images)
        return Prediction(classes=np.stack([self.maps[int(key[-10:]) % 72] for key in keys]))


@pytest.fixture
def drive(shared: Path, tmp_path: Path) -> Path:
    """Native frames: drive 0013 over and over, by links."""
    return linked(shared, tmp_path / "kitti", frames=FRAMES)


def linked(shared: Path, root: Path, *, frames: int) -> Path:
    """A KITTI root with one drive of so many frames."""
    source = shared / "kitti" / DRIVE / "image_02" / "data"
    target = root / DRIVE / "image_02" / "data"
    target.mkdir(parents=True)
    for index in range(frames):
        (target / f"{index:010d}.jpg").symlink_to(source / f"{index % 72:010d}.jpg")
    return root


def spread(values: list[float], form: str) -> str:
    """Median, smallest and largest of the rounds."""
    shown = [format(value, form) for value in (statistics.median(values), min(values), max(values))]
    return "{} ({} - {})".format(*shown)


def test_the_teacher_is_all_one_waits_for(shared: Path, drive: Path, tmp_path: Path) -> None:
    teacher = SleepingTeacher(shared / "kitti_labels_espnetv2")
    tasks = make_plan(drive, find_frames(drive, drives=None, cameras=["l"]), store=None).tasks
    alone, whole = [], []
    for number in range(ROUNDS):
        store = LabelStore.open_for_writing(
            tmp_path / f"{number}.zarr", teacher=teacher.record, fingerprint=teacher.fingerprint
        )
        start = time.perf_counter()
        for _ in range(FRAMES):
            time.sleep(TEACHER_S)
        middle = time.perf_counter()
        segment(drive, store, teacher=teacher, tasks=tasks, outcome=Outcome())
        whole.append(time.perf_counter() - middle)
        alone.append(middle - start)
    ratios = [both / one for both, one in zip(whole, alone, strict=True)]
    print(f"\n\nsegment, {ROUNDS} rounds of {FRAMES} frames, wall (median, smallest - largest)")
    print(f"segment {spread(whole, '.2f')} s, teacher alone {spread(alone, '.2f')} s")
    print(f"segment / teacher alone, round by round: {spread(ratios, '.3f')}x")
    assert teacher.calls == ROUNDS * FRAMES
    assert statistics.median(ratios) <= 1.05


class SleepingNetworkTeacher(NetworkTeacher):
    """A real network's frames, prepared for 2048 wide; its pass only sleeps, as for a GPU's.

    Prepared up to the bytes that go to the GPU, which normalises them itself.
    """

    def _scores(self, prepared: Sequence[Prepared], *, size: tuple[int, int]) -> torch.Tensor:
        frames = len(prepared[0].inputs)
        time.sleep(GPU_S * frames)
        return torch.zeros(frames, 1, *size)


def to_gpu(data: dict[str, Any], training: bool) -> dict[str, Any]:
    return data | {"inputs": torch.stack(data["inputs"])}


@pytest.mark.parametrize("calls", [1, GPU_CALLS])
def test_a_gpu_waits_for_no_frame(shared: Path, tmp_path: Path, calls: int) -> None:
    drive = linked(shared, tmp_path / "kitti", frames=GPU_FRAMES)
    pytest.importorskip("mmseg")
    checkpoint = save(tmp_path / "random.pth", random_state(FCN))
    network: Any = load_teacher(f"mmseg:{FCN},{checkpoint}")._network  # type: ignore[attr-defined]
    network._model.data_preprocessor.forward = to_gpu
    # No GPU is needed: the teacher goes by the device's kind, and the network itself never runs.
    teacher = SleepingNetworkTeacher(
        network, settings=TeacherSettings(engine="bf16"), record={"kind": "x"},
        device=torch.device("cuda"),
    )  # fmt: skip
    teacher.calls_at_once = calls
    tasks = make_plan(drive, find_frames(drive, drives=None, cameras=["l"]), store=None).tasks
    store = LabelStore.open_for_writing(
        tmp_path / "labels.zarr", teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    prepared = Prepared(inputs=torch.zeros(8, 1), padding=(0, 0, 0, 0))
    start = time.perf_counter()
    for _ in range(GPU_FRAMES // 8):
        teacher._pass([prepared], size=(375, 1242))
    middle = time.perf_counter()
    segment(drive, store, teacher=teacher, tasks=tasks, outcome=Outcome(), batch_size=8)
    ratio = (time.perf_counter() - middle) / (middle - start)
    print(
        f"\n\nsegment of {GPU_FRAMES} frames at 2048 wide, {calls} calls at once, a GPU of "
        f"{GPU_S * 1e3:.0f} ms a frame: {ratio:.3f}x the time of its passes alone"
    )
    assert calls == 1 or ratio <= 1 / 0.95


@pytest.fixture
def labelled(shared: Path, tmp_path: Path) -> LabelStore:
    """1,024 native label maps."""
    maps = SleepingTeacher(shared / "kitti_labels_espnetv2").maps
    store = LabelStore.open_for_writing(
        tmp_path / "labels.zarr", teacher={"kind": "x"}, fingerprint="0" * 64
    )
    array = store.ensure_array(
        f"{DRIVE}/image_02",
        "classes",
        length=REGROUP_FRAMES,
        size=(375, 1242),
        values=19,
        attributes={},
    )
    for shard in range(REGROUP_FRAMES // SHARD_FRAMES):
        first = shard * SHARD_FRAMES
        array.write_shard(shard, {first + i: maps[(first + i) % 72] for i in range(SHARD_FRAMES)})
    return store


def test_regroup_of_1024_native_frames(labelled: LabelStore) -> None:
    walls, cpus = [], []
    for number in range(ROUNDS):
        # A name of its own, so that every round writes all groups anew.
        scheme = replace(load_scheme("4"), name=f"round{number}")
        tasks = plan_regroup(labelled, scheme)
        wall, cpu = time.perf_counter(), time.process_time()
        assert regroup(labelled, scheme, tasks=tasks) == REGROUP_FRAMES
        walls.append(time.perf_counter() - wall)
        cpus.append((time.process_time() - cpu) / REGROUP_FRAMES * 1e3)
    print(f"\n\nregroup of {REGROUP_FRAMES} frames, {ROUNDS} rounds (median, smallest - largest)")
    print(f"{spread(walls, '.2f')} s wall, {spread(cpus, '.2f')} ms CPU a frame")
    assert statistics.median(cpus) <= 3.5


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
