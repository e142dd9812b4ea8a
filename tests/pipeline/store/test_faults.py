"""Writes in any order, a crash at any file operation: nothing committed is lost or wrong."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from faulty_disk import Crash, FaultyDisk, Moment
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from label_stores import SEQUENCE, frame, new_array, new_store, scratch_folder
from numpy.typing import NDArray

from xdistill.manifests import disk
from xdistill.pipeline.store import LabelStore
from xdistill.pipeline.store.verify import verify_store

pytestmark = pytest.mark.slow

Pixels = NDArray[np.uint8]
Key = tuple[str, int]
Fault = tuple[int, Moment, bool] | None

moments = st.sampled_from(["before", "middle", "after"])
# Operation at which to fail, when in it, and whether the power goes too.
crashes = st.tuples(st.integers(0, 30), moments, st.booleans())
faults = st.one_of(crashes, crashes, crashes, st.none())
indices = st.integers(0, 129)
GROUPS = "groups_2"


class StoreMachine(RuleBasedStateMachine):
    """Writers that come and go on one store, against a dictionary of what must be there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = scratch_folder()
        self.path = Path(self.folder.name) / "s"
        self.disk = FaultyDisk()
        self.chance = random.Random(7)
        self.committed: dict[Key, Pixels] = {}
        self.length = 1

    def teardown(self) -> None:
        """Compare all with plain zarr-python, then clean up."""
        for name in {name for name, _ in self.committed}:
            labels = zarr.open_array(self.path / SEQUENCE / name, mode="r")
            expected = np.full(labels.shape, 255, np.uint8)
            for (array, index), pixels in self.committed.items():
                if array == name:
                    expected[index] = pixels
            words = zarr.open_array(self.path / SEQUENCE / f"{name}_commit", mode="r")
            done = np.asarray(words[: labels.shape[0]]) >> np.uint64(32) & np.uint64(1) == 1
            np.testing.assert_array_equal(np.asarray(labels[:])[done], expected[done])
        self.folder.cleanup()

    def attempt(
        self, action: Callable[[], None], fault: Fault, *, may: dict[Key, Pixels | None]
    ) -> None:
        """Do something that may crash; then each frame is as before or as intended."""
        crashed = False
        with self.disk.installed():
            if fault is not None:
                self.disk.arm(fault[0], fault[1])
            try:
                action()
            except Crash:
                crashed = True
        if crashed and fault is not None and fault[2]:
            self.disk.lose_power(self.chance)
        self.disk.revive()
        found = self.stored()
        for key, pixels in may.items():
            assert crashed or self.same(found.get(key), pixels), f"{key} was not written"
            # After a crash either is right, and what it is must stay.
            if self.same(found.get(key), pixels):
                if pixels is None:
                    self.committed.pop(key, None)
                else:
                    self.committed[key] = pixels

    @staticmethod
    def same(found: Pixels | None, expected: Pixels | None) -> bool:
        """Both absent, or equal."""
        if found is None or expected is None:
            return found is expected
        return np.array_equal(found, expected)

    def stored(self) -> dict[Key, Pixels]:
        """All that the store says is committed, read by its own code."""
        found: dict[Key, Pixels] = {}
        if not self.path.exists():
            return found
        store = LabelStore.open(self.path)
        for name in store.arrays(SEQUENCE):
            array = store.array(SEQUENCE, name)
            for index in array.committed():
                found[name, index] = array.read(index)
        return found

    @rule(frames=st.sets(indices, min_size=1, max_size=5), seed=st.integers(0, 3), fault=faults)
    def write(self, frames: set[int], seed: int, fault: Fault) -> None:
        """Open, grow where needed, label; other pixels for a committed frame change nothing."""
        pixels = {index: frame(1000 * seed + index) for index in frames}

        def action() -> None:
            array = new_array(new_store(self.path), length=max(frames, default=0) + 1)
            for shard in {index // 64 for index in frames}:
                own = {i: p for i, p in pixels.items() if i // 64 == shard}
                array.write_shard(shard, own, failed=[shard * 64])

        new = {("classes", i): p for i, p in pixels.items() if ("classes", i) not in self.committed}
        self.attempt(action, fault, may=dict(new))

    @precondition(lambda self: self.committed)
    @rule(fault=faults)
    def regroup(self, fault: Fault) -> None:
        """Write another array from the committed classes."""
        classes = {i: p for (name, i), p in self.committed.items() if name == "classes"}
        groups = {i: np.where(p == 255, p, p // 10).astype(np.uint8) for i, p in classes.items()}

        def action() -> None:
            store = new_store(self.path)
            array = new_array(store, length=max(groups, default=0) + 1, name=GROUPS)
            for shard in {index // 64 for index in groups}:
                array.write_shard(shard, {i: p for i, p in groups.items() if i // 64 == shard})

        new = {(GROUPS, i): p for i, p in groups.items() if (GROUPS, i) not in self.committed}
        self.attempt(action, fault, may=dict(new))

    @precondition(lambda self: self.committed)
    @rule(fault=faults, data=st.data())
    def retract(self, data: st.DataObject, fault: Fault) -> None:
        """Take back a frame, as repair does, with the groups made of it."""
        index = data.draw(st.sampled_from(sorted({index for _, index in self.committed})))
        keys = [key for key in (("classes", index), (GROUPS, index)) if key in self.committed]

        def action() -> None:
            for name, frame_index in keys:
                new_store(self.path).array(SEQUENCE, name).retract([frame_index])

        self.attempt(action, fault, may=dict.fromkeys(keys))

    @precondition(lambda self: self.committed)
    @rule(length=st.integers(1, 300), fault=faults)
    def grow(self, length: int, fault: Fault) -> None:
        """Only make room."""
        self.attempt(lambda: void(new_array(new_store(self.path), length=length)), fault, may={})

    @rule()
    def sweep(self) -> None:
        """Opening for writing leaves nothing of a crash behind."""
        new_store(self.path)
        assert not any(self.path.parent.rglob(f"*{disk.PARTIAL}"))
        assert not any(self.path.parent.rglob(".lease.*"))

    @invariant()
    def nothing_is_lost_or_wrong(self) -> None:
        """What was committed is there, and there is nothing else."""
        found = self.stored()
        assert found.keys() == self.committed.keys()
        for key, pixels in self.committed.items():
            np.testing.assert_array_equal(found[key], pixels)
        if self.path.exists():
            report = verify_store(self.path)
            assert report.ok and not report.strays, "\n".join(report.lines())


def void(_: object) -> None:
    """Drop a result."""


def scenario(path: Path) -> None:
    """Create, write, add to a shard, grow, write a second array, take back, write again."""
    new_array(new_store(path), length=70).write_shard(0, {3: frame(3)}, failed=[5])
    array = new_array(new_store(path), length=140)
    array.write_shard(0, {4: frame(4), 5: frame(5)})
    array.write_shard(2, {130: frame(130)})
    new_array(new_store(path), length=140, name=GROUPS).write_shard(0, {3: frame(33)})
    array.retract([4])
    array.write_shard(0, {4: frame(4)})


# After an operation is before the next one.
@pytest.mark.parametrize(
    ("moment", "power"), [("before", "stays"), ("before", "goes"), ("middle", "goes")]
)
def test_a_crash_at_every_single_operation(tmp_path: Path, moment: Moment, power: str) -> None:
    crashes = 0
    while True:
        path = tmp_path / f"s{crashes}"
        disk = FaultyDisk()
        with disk.installed():
            disk.arm(crashes, moment)
            try:
                scenario(path)
            except Crash:
                crashes += 1
            else:
                break
        if power == "goes":
            disk.lose_power(random.Random(crashes))
        if path.exists():
            report = verify_store(path)
            assert report.ok, "\n".join(report.lines())
        scenario(path)
        assert verify_store(path).ok
        array = new_store(path).array(SEQUENCE, "classes")
        assert array.committed() == [3, 4, 5, 130]
        for index in (3, 4, 5, 130):
            np.testing.assert_array_equal(array.read(index), frame(index))
        assert not verify_store(path).orphans
    assert crashes > 100


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=80, stateful_step_count=15, deadline=None)
