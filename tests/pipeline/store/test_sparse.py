"""What a store costs follows from the frames it has, not from their numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from kitti_tree import DRIVE_A, Tree, add_frame
from label_stores import SEQUENCE, frame, new_array, new_store

from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.labelling.info import describe
from xdistill.pipeline.labelling.plan import done_frames, make_plan
from xdistill.pipeline.labelling.regroup import plan_regroup, regroup
from xdistill.pipeline.labelling.segment import segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import LabelReader, LabelStore
from xdistill.pipeline.store.verify import verify_store
from xdistill.teachers.png import PngTeacher
from xdistill.train.data.labels import find_labels

UNIX_TIME = 1_700_000_000
FEW = 200
"""Files that all operations below open together for two shards."""


@contextmanager
def opens(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files opened while it lasts."""
    opened: list[Path] = []
    real = os.open

    def counting(path: Path, flags: int, mode: int = 0o777) -> int:
        opened.append(path)
        assert len(opened) < 10_000
        return real(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", counting)
        yield opened


@pytest.fixture
def stray(tmp_path: Path) -> LabelStore:
    """A drive of two frames, one of them named by the second at which it was taken."""
    store = new_store(tmp_path / "s")
    array = new_array(store, length=UNIX_TIME + 1)
    for index in (3, UNIX_TIME):
        array.write_shard(index // 64, {index: frame(index)})
    return store


def test_one_stray_frame_number_costs_nothing(
    stray: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, sequence = load_scheme("4"), SEQUENCE
    frames = [Frame.of_sequence(sequence, 3), Frame.of_sequence(sequence, UNIX_TIME)]
    array = stray.array(sequence, "classes")
    with opens(monkeypatch) as opened:
        assert array.committed() == [3, UNIX_TIME] and not array.failed()
        assert array.totals().sum() == 2 * 4 * 6
        assert describe(stray)["labelled"] == 2
        assert done_frames(stray, sequence, ("classes",)) == {3, UNIX_TIME}
        assert not make_plan(stray.path, frames, store=stray).tasks
        assert list(LabelReader(stray.path)) == frames
        tasks = plan_regroup(stray, scheme)
        assert regroup(stray, scheme, tasks=tasks) == 2
        assert verify_store(stray.path).ok
        source = find_labels(stray.path, frames, scheme=scheme, segment="xd-pipeline segment")
        assert source.arrays == {sequence: "groups_4"}
    assert len(opened) < FEW
    np.testing.assert_array_equal(array.read(UNIX_TIME), frame(UNIX_TIME))


def test_writing_opens_as_many_files_for_each_shard_however_many_there_are(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(data=tmp_path / "kitti", labels=tmp_path / "labels")
    counts = {}
    for shards in (5, 10, 20):
        frames = [Frame.parse(f"{DRIVE_A} {64 * shard} l") for shard in range(shards)]
        for one in frames:
            add_frame(tree, DRIVE_A, one.index, rng=rng)
        teacher = PngTeacher(tree.labels)
        store = LabelStore.open_for_writing(
            tmp_path / f"{shards}.zarr", teacher=teacher.record, fingerprint=teacher.fingerprint
        )
        outcome, scheme = Outcome(), load_scheme("4")
        tasks = make_plan(tree.data, frames, store=store).tasks
        with opens(monkeypatch) as labelling:
            segment(tree.data, store, teacher=teacher, tasks=tasks, outcome=outcome)
        with opens(monkeypatch) as grouping:
            assert regroup(store, scheme, tasks=plan_regroup(store, scheme)) == shards
        assert outcome.labelled == shards
        counts[shards] = np.array([len(labelling), len(grouping)])
    # Twice the shards, twice the files, but for a thread that looks once more for a new array.
    assert (counts[20] < 2.2 * counts[10]).all() and (counts[10] < 2.2 * counts[5]).all()
