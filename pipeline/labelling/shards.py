"""Shards under way: leased when a run reaches them, committed when their frames are labelled."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import numpy as np
from jaxtyping import UInt8

from xdistill.grouping.classes import CONFIDENCE_LEVELS, cityscapes
from xdistill.manifests.progress import Advance
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.labelling.failures import kind_of
from xdistill.pipeline.labelling.plan import Task
from xdistill.pipeline.store import LabelArray, LabelStore

HOPELESS_AFTER = 64
"""Frames that fail for one reason before a run gives up: those of a shard."""

LabelMap = UInt8[np.ndarray, "height width"]


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What a run has done so far, so that an interrupted one can report it."""

    labelled: int = 0
    """Frames labelled and committed."""
    failures: dict[Frame, str] = field(default_factory=dict)
    """Frames that could not be labelled, with the reason."""
    left_to_others: int = 0
    """Frames whose shard another running process holds."""

    @property
    def hopeless(self) -> bool:
        """Whether all frames so far failed for one reason, and were many: so would the others."""
        if self.labelled or len(self.failures) < HOPELESS_AFTER:
            return False
        kinds = map(kind_of, self.failures.values())
        return all(kind == other for kind, other in pairwise(kinds))

    def add(self, part: "Outcome") -> None:
        """Count what a part of the run did."""
        self.labelled += part.labelled
        self.failures |= part.failures
        self.left_to_others += part.left_to_others


@dataclass(kw_only=True, slots=True)
class Shard:
    """Labels of one shard on their way to the store, and the lease on it."""

    task: Task
    lease: ExitStack
    """Held until the shard is committed."""
    wanted: Sequence[Frame]
    """Frames to label."""
    left: int
    """Frames not finished yet."""
    classes: dict[int, LabelMap] = field(default_factory=dict)
    confidence: dict[int, LabelMap] = field(default_factory=dict)
    failures: dict[Frame, str] = field(default_factory=dict)


class Shards:
    """Leases shards, and commits them on one thread, at most one shard behind the teacher."""

    def __init__(self, store: LabelStore, *, outcome: Outcome, advance: Advance) -> None:
        self._store = store
        self._outcome = outcome
        self._advance = advance
        self._open: deque[Shard] = deque()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Commit the open shards, oldest first, even where one of them cannot be written."""
        with ExitStack() as rest:
            rest.callback(self._writer.shutdown)
            rest.callback(self._wait)
            for shard in reversed(self._open):
                rest.callback(self._submit, shard)

    def open(self, tasks: Sequence[Task]) -> Iterator[Shard]:
        """Lease each task's shard when it is asked for; shards held by others are skipped."""
        for task in tasks:
            with ExitStack() as lease:
                held = lease.enter_context(_array(self._store, task).lease(task.shard))
                wanted = _still_wanted(self._store, task) if held else ()
                self._outcome.left_to_others += 0 if held else len(task.frames)
                self._advance(len(task.frames) - len(wanted))
                if not wanted:
                    continue
                shard = Shard(task=task, wanted=wanted, left=len(wanted), lease=lease.pop_all())
            self._open.append(shard)
            yield shard

    def finish(self, shard: Shard, frames: int) -> None:
        """Count finished frames of the oldest shard, and commit it once none is left."""
        self._advance(frames)
        shard.left -= frames
        if not shard.left:
            self._submit(self._open.popleft())

    def _submit(self, shard: Shard) -> None:
        """Wait for the previous shard, then commit this one in the background."""
        try:
            self._wait()
        except BaseException:
            shard.lease.close()
            raise
        self._writing = self._writer.submit(self._commit, shard)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _commit(self, shard: Shard) -> None:
        task = shard.task
        with shard.lease:
            classes = _array(self._store, task)
            failed = {frame.index for frame in shard.failures}
            news = failed - set(classes.failed_in(task.shard))
            if shard.confidence:
                levels = _array(self._store, task, "confidence", values=CONFIDENCE_LEVELS)
                levels.write_shard(task.shard, shard.confidence)
            if shard.classes or news:
                classes.write_shard(task.shard, shard.classes, failed=failed)
        self._outcome.add(Outcome(labelled=len(shard.classes), failures=shard.failures))


def _array(
    store: LabelStore, task: Task, name: str = "classes", *, values: int | None = None
) -> LabelArray:
    return store.ensure_array(
        task.sequence,
        name,
        length=task.length,
        size=task.size,
        values=values or len(cityscapes().names),
        attributes={},
    )


def _still_wanted(store: LabelStore, task: Task) -> tuple[Frame, ...]:
    """The task's frames that no other process has committed since the plan was made."""
    if not all(store.has(task.sequence, name) for name in task.arrays):
        return task.frames
    arrays = (store.array(task.sequence, name) for name in task.arrays)
    done = set.intersection(*(set(array.committed_in(task.shard)) for array in arrays))
    return tuple(frame for frame in task.frames if frame.index not in done)
