"""A teacher that takes several calls at once: the same store as one call at a time gives."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from kitti_tree import Tree
from numpy.typing import NDArray

from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.labelling.plan import done_frames, make_plan
from xdistill.pipeline.labelling.segment import segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import SHARD_FRAMES, LabelStore
from xdistill.teachers.engines.network import GPU_CALLS, Network, NetworkTeacher, Prepared
from xdistill.teachers.png import PngTeacher
from xdistill.teachers.protocol import Prediction, TeacherError, TeacherSettings

CALLS = 3


class SlowTeacher:
    """The labels of the PNG files, each call as slow as its frame's number says."""

    calls_at_once = CALLS
    reads_pixels = True

    def __init__(
        self, folder: Path, *, fail_at: int = 1000, slow_from: int = 1000, wait_at: int = 1000
    ) -> None:
        self._png, self._fail_at, self._slow_from = PngTeacher(folder), fail_at, slow_from
        self._wait_at, self._next_shard = wait_at, threading.Event()
        self.record, self.fingerprint = self._png.record, self._png.fingerprint
        self.running = self.most = 0
        self.together: list[set[int]] = [set()]
        """First frames of the calls under way, each time one begins or ends."""
        self._counting = threading.Lock()

    def check_size(self, height: int, width: int) -> None: ...

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        number = int(keys[0][-10:])
        with self._counting:
            self.running += 1
            self.most = max(self.most, self.running)
            self.together.append(self.together[-1] | {number})
        if number >= SHARD_FRAMES:
            self._next_shard.set()
        if number == self._wait_at:
            self._next_shard.wait(timeout=30)
        try:
            # Later frames of three are faster, so that they end in another order.
            time.sleep(1.0 if number >= self._slow_from else 0.003 * (3 - number % 3))
            if number == self._fail_at:
                time.sleep(0.1)  # Until the calls beside it are under way.
                raise TeacherError("the teacher broke")
            return self._png.label(images, keys)
        finally:
            with self._counting:
                self.running -= 1
                self.together.append(self.together[-1] - {number})


def run(tree: Tree, store: Path, teacher: SlowTeacher | PngTeacher) -> tuple[LabelStore, Outcome]:
    made = LabelStore.open_for_writing(
        store, teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    frames = find_frames(tree.data, drives=None, cameras=["l"])
    tasks, outcome = make_plan(tree.data, frames, store=made).tasks, Outcome()
    counts: list[int] = []
    try:
        segment(
            tree.data, made, teacher=teacher, tasks=tasks, outcome=outcome, batch_size=2,
            advance=counts.append,
        )  # fmt: skip
        assert sum(counts) == len(frames)
    except TeacherError:
        assert teacher.running == 0, "a call is under way after the end"  # type: ignore[union-attr]
        raise
    return made, outcome


def content(store: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def test_the_store_is_that_of_one_call_at_a_time(tree: Tree, tmp_path: Path) -> None:
    # The last call of one shard lasts until the first of the next is under way, however busy the
    # machine is.
    teacher = SlowTeacher(tree.labels, wait_at=SHARD_FRAMES - 1)
    _, outcome = run(tree, tmp_path / "a.zarr", teacher)
    _, expected = run(tree, tmp_path / "b.zarr", PngTeacher(tree.labels))
    assert teacher.most == CALLS and teacher.running == 0
    assert any(keys and min(keys) < SHARD_FRAMES <= max(keys) for keys in teacher.together)
    assert (outcome.labelled, outcome.failures) == (expected.labelled, expected.failures)
    assert content(tmp_path / "a.zarr") == content(tmp_path / "b.zarr")


@pytest.mark.slow
@pytest.mark.parametrize(("fail_at", "beside"), [(41, {43, 44}), (61, {63, 64, 65})])
def test_a_teacher_that_breaks_leaves_what_was_finished(
    tree: Tree, tmp_path: Path, fail_at: int, beside: set[int]
) -> None:
    teacher = SlowTeacher(tree.labels, fail_at=fail_at, slow_from=fail_at + 1)
    with pytest.raises(TeacherError, match="the teacher broke"):
        run(tree, tmp_path / "labels.zarr", teacher)
    store = LabelStore.open(tmp_path / "labels.zarr")
    (sequence,) = store.sequences()
    done = done_frames(store, sequence, ("classes",))
    # Batches of two, frame 5 missing, and 63 the last of its shard: what came before is kept, and
    # so is what was under way beside it, also in the next shard.
    assert done >= {*range(5), *range(6, fail_at), *beside}
    assert not done & {fail_at, fail_at + 1}


@pytest.mark.slow
def test_ctrl_c_waits_for_the_calls_under_way_and_keeps_their_labels(
    tree: Tree, tmp_path: Path
) -> None:
    teacher = SlowTeacher(tree.labels, slow_from=21)
    store = LabelStore.open_for_writing(
        tmp_path / "labels.zarr", teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    frames = find_frames(tree.data, drives=None, cameras=["l"])
    under_way: set[int] = set()
    finished = 0

    def interrupt(count: int) -> None:
        nonlocal finished
        finished += count
        if finished < 20:  # Frames 0 to 20 without 5.
            return
        deadline = time.monotonic() + 60
        while not any(number > 20 for number in teacher.together[-1]):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        # These have only just begun, and take a second.
        under_way.update(teacher.together[-1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(
            tree.data, store, teacher=teacher, outcome=Outcome(), advance=interrupt,
            tasks=make_plan(tree.data, frames, store=store).tasks,
        )  # fmt: skip
    (sequence,) = store.sequences()
    assert under_way and under_way <= done_frames(store, sequence, ("classes",))


class Passing(Network):
    """Counts passes at the same time, and calls that prepare while a pass is under way."""

    align_corners = False

    def __init__(self) -> None:
        self.passing = self.most = self.prepared_meanwhile = 0

    def prepare(self, image: NDArray[np.uint8], scale: float) -> Prepared:
        self.prepared_meanwhile += self.passing
        return Prepared(inputs=torch.zeros(1, 3, *image.shape[:2]), padding=(0, 0, 0, 0))

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        self.passing += 1
        self.most = max(self.most, self.passing)
        time.sleep(0.02)
        self.passing -= 1
        return torch.zeros(len(inputs), 19, *inputs.shape[2:])


@pytest.mark.slow
def test_a_gpus_passes_run_one_by_one_while_other_frames_are_prepared(
    tree: Tree, tmp_path: Path
) -> None:
    network = Passing()
    # No GPU is needed: the teacher goes by the device's kind, and this network runs nowhere.
    teacher = NetworkTeacher(
        network, settings=TeacherSettings(), record={"kind": "module"}, device=torch.device("cuda")
    )
    assert teacher.calls_at_once == GPU_CALLS > 1
    run(tree, tmp_path / "labels.zarr", teacher)  # type: ignore[arg-type]
    assert network.most == 1 and network.prepared_meanwhile > 10
