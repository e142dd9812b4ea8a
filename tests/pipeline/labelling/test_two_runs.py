"""Two runs on one store at the same time: no frame is done twice, and what was left is said."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from kitti_tree import Tree
from numpy.typing import NDArray

from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.cli.regroup import regroup as regroup_command
from xdistill.pipeline.cli.segment import segment as segment_command
from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.labelling import regroup as regroup_module
from xdistill.pipeline.labelling.plan import Task, make_plan
from xdistill.pipeline.labelling.regroup import plan_regroup, regroup
from xdistill.pipeline.labelling.segment import segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.png import PngTeacher
from xdistill.teachers.protocol import Prediction

FIRST_SHARD, OTHER_SHARDS = 63, 9
"""Frames of the tree: drive A has frames 0-63 without 5 in its first shard."""
SCHEME = load_scheme("4")


class Gate:
    """Holds up whoever passes first until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(60)


class CountingTeacher:
    """The labels of the PNG files, with a count of the frames it was shown."""

    calls_at_once = 1
    reads_pixels = True

    def __init__(self, folder: Path, gate: Callable[[], None] = lambda: None) -> None:
        self._png, self._gate = PngTeacher(folder), gate
        self.record, self.fingerprint = self._png.record, self._png.fingerprint
        self.frames = 0

    def check_size(self, height: int, width: int) -> None: ...

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        self._gate()
        self.frames += len(images)
        return self._png.label(images, keys)


def writable(store: Path, labels: Path) -> LabelStore:
    teacher = PngTeacher(labels)
    return LabelStore.open_for_writing(
        store, teacher=teacher.record, fingerprint=teacher.fingerprint
    )


def label(tree: Tree, store: Path, teacher: CountingTeacher, tasks: Sequence[Task]) -> Outcome:
    outcome = Outcome()
    target = writable(store, tree.labels)
    segment(tree.data, target, teacher=teacher, tasks=tasks, outcome=outcome)
    return outcome


@contextmanager
def held_up(gate: Gate, run: Callable[..., Any], *arguments: object) -> Iterator[Future[Any]]:
    """A run in a thread of its own that stands at the gate meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, *arguments)
        try:
            assert gate.reached.wait(60)
            yield first
        finally:
            gate.opened.set()


@pytest.fixture
def store(tree: Tree, tmp_path: Path) -> Path:
    """An empty store: the second run must not depend on who creates it."""
    path = tmp_path / "labels.zarr"
    writable(path, tree.labels)
    return path


@pytest.fixture
def tasks(tree: Tree) -> tuple[Task, ...]:
    """The plan that both runs make before either has labelled anything."""
    frames = find_frames(tree.data, drives=None, cameras=("l",))
    return make_plan(tree.data, frames, store=None).tasks


def test_two_segments_share_the_frames(tree: Tree, store: Path, tasks: tuple[Task, ...]) -> None:
    gate = Gate()
    slow, quick = CountingTeacher(tree.labels, gate), CountingTeacher(tree.labels)
    with held_up(gate, label, tree, store, slow, tasks) as first:
        second = label(tree, store, quick, tasks)
    assert (second.labelled, second.left_to_others) == (OTHER_SHARDS, FIRST_SHARD)
    assert (first.result().labelled, first.result().left_to_others) == (FIRST_SHARD, 0)
    assert (slow.frames, quick.frames) == (FIRST_SHARD, OTHER_SHARDS)


def test_segment_says_what_it_left(tree: Tree, store: Path, tasks: tuple[Task, ...]) -> None:
    gate = Gate()
    place = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{tree.labels}"]
    with held_up(gate, label, tree, store, CountingTeacher(tree.labels, gate), tasks):
        said = CliRunner().invoke(segment_command, place).stdout
    assert f"labelled {OTHER_SHARDS} frames" in said
    assert f"left {FIRST_SHARD} frames to another running process" in said


@pytest.fixture
def regroup_gate(
    tree: Tree, store: Path, tasks: tuple[Task, ...], monkeypatch: pytest.MonkeyPatch
) -> Gate:
    """A labelled store, and a gate before the first frame that any regroup remaps."""
    label(tree, store, CountingTeacher(tree.labels), tasks)
    gate, remap = Gate(), regroup_module.remap

    def gated(*arguments: Any) -> Any:
        gate()
        return remap(*arguments)

    monkeypatch.setattr(regroup_module, "remap", gated)
    # One shard at a time, so that the run at the gate holds one and not as many as cores.
    monkeypatch.setattr(regroup_module, "usable_cores", lambda: 1)
    return gate


def test_two_regroups_share_the_frames(tree: Tree, store: Path, regroup_gate: Gate) -> None:
    shards = plan_regroup(LabelStore.open(store), SCHEME)
    left: list[int] = []

    def run() -> int:
        target = writable(store, tree.labels)
        return regroup(target, SCHEME, tasks=shards, leave=left.append)

    with held_up(regroup_gate, run) as first:
        assert run() == OTHER_SHARDS
        assert left == [FIRST_SHARD]
    assert first.result() == FIRST_SHARD
    assert left == [FIRST_SHARD]
    assert not plan_regroup(LabelStore.open(store), SCHEME)


def test_regroup_says_what_it_left(tree: Tree, store: Path, regroup_gate: Gate) -> None:
    def run() -> str:
        return CliRunner().invoke(regroup_command, ["--store", str(store)]).stdout

    shards = plan_regroup(LabelStore.open(store), SCHEME)
    target = writable(store, tree.labels)
    with held_up(regroup_gate, lambda: regroup(target, SCHEME, tasks=shards)):
        said = run()
    assert f"wrote groups_4 for {OTHER_SHARDS} frames" in said
    assert f"left {FIRST_SHARD} frames to another running process" in said
    assert "nothing to do" in run()
