"""The plan of a run: requested frames that the store lacks, divided into shards."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import image_size
from xdistill.pipeline.store import SHARD_FRAMES, LabelStore
from xdistill.pipeline.store.metadata import require_outermost

BYTES_PER_PIXEL = 0.026
"""Compressed size of real label maps: 12 KB a frame of 1242x375 (docs/store.md)."""

SIZE_SAMPLES = 9
"""Frames measured per sequence: a few headers, however long the drive is."""


class PlanError(XDistillError, ValueError):
    """A request without frames, or that cannot be divided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One shard of one sequence: the unit of work, of writing and of commit."""

    number: int
    """Position among all shards of the request, including finished ones."""
    sequence: str
    """Store folder: date, drive and camera."""
    shard: int
    """Number of the shard along the frame axis."""
    frames: tuple[Frame, ...]
    """Frames still to be labelled, ascending."""
    length: int
    """Length T of the frame axis that the run needs: highest requested frame number + 1."""
    size: tuple[int, int]
    """Native (height, width) in pixels of the sequence."""
    arrays: tuple[str, ...] = ("classes",)
    """Arrays that a frame must be in to be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A request divided into tasks."""

    requested: int
    """Frames requested."""
    done: int
    """Frames of the request that the store already holds."""
    retried: int
    """Frames of the request that failed in an earlier run."""
    sequences: int
    """Sequences of the request."""
    tasks: tuple[Task, ...]
    """Unfinished shards, in the order of sequences and shards."""

    @property
    def pending(self) -> int:
        """Frames left to label."""
        return sum(len(task.frames) for task in self.tasks)

    @property
    def bytes(self) -> int:
        """Estimated size of the pending frames in the store, in bytes."""
        return round(
            sum(len(task.frames) * task.size[0] * task.size[1] for task in self.tasks)
            * BYTES_PER_PIXEL
        )


def open_existing(store: Path) -> LabelStore | None:
    """Open the store for reading; None for a new path or an empty folder.

    Raises:
        LabelStoreError: The path holds something else, or a damaged store.
    """
    require_outermost(store)
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return None
    return LabelStore.open(store)


def make_plan(
    root: Path,
    frames: Sequence[Frame],
    *,
    store: LabelStore | None,
    arrays: Sequence[str] = ("classes",),
) -> Plan:
    """Divide the requested frames into shard tasks, leaving out committed frames.

    Args:
        root: KITTI raw root.
        frames: Requested frames, in any order; repeats count once.
        store: From ``open_existing``.
        arrays: Arrays a frame must be in to be done: ``classes``, and ``confidence`` if wanted;
            failures are looked up in the first.

    Raises:
        PlanError: No frame is requested.
        ImageError: No image of a sequence can be measured.
    """
    if not frames:
        raise PlanError(
            "the request names no frame",
            expected="at least one image under image_02/data or image_03/data",
            where=root,
            remedy="check --data, --drive, --split and --camera",
        )
    ordered = sorted(set(frames), key=lambda frame: (frame.sequence, frame.index))
    parts = []
    shards = 0
    for sequence, group in groupby(ordered, key=lambda frame: frame.sequence):
        part = _plan_sequence(
            root, sequence, list(group), store=store, arrays=tuple(arrays), number=shards
        )
        parts.append(part)
        shards += part.shards
    return Plan(
        requested=len(ordered),
        done=sum(part.done for part in parts),
        retried=sum(part.retried for part in parts),
        sequences=len(parts),
        tasks=tuple(task for part in parts for task in part.tasks),
    )


class _SequencePlan(NamedTuple):
    """The part of a plan that is one sequence's."""

    shards: int
    done: int
    retried: int
    tasks: list[Task]


def _plan_sequence(
    root: Path,
    sequence: str,
    members: list[Frame],
    *,
    store: LabelStore | None,
    arrays: tuple[str, ...],
    number: int,
) -> _SequencePlan:
    done = done_frames(store, sequence, arrays)
    failed = _failed_frames(store, sequence, arrays[0])
    pending = [frame for frame in members if frame.index not in done]
    numbers = _number_shards(members, start=number)
    tasks = []
    if pending:
        size = _size(root, sequence, pending, store=store)
        tasks = [
            Task(
                number=numbers[shard],
                sequence=sequence,
                shard=shard,
                frames=tuple(part),
                length=members[-1].index + 1,
                size=size,
                arrays=arrays,
            )
            for shard, part in groupby(pending, key=_shard)
        ]
    return _SequencePlan(
        shards=len(numbers),
        done=len(members) - len(pending),
        retried=sum(frame.index in failed for frame in pending),
        tasks=tasks,
    )


def _shard(frame: Frame) -> int:
    return frame.index // SHARD_FRAMES


def _number_shards(members: Sequence[Frame], *, start: int) -> dict[int, int]:
    """Positions of a sequence's shards among all shards of the request."""
    shards = sorted({_shard(frame) for frame in members})
    return {shard: start + position for position, shard in enumerate(shards)}


def done_frames(store: LabelStore | None, sequence: str, arrays: Sequence[str]) -> set[int]:
    """Frame numbers of a sequence that are committed in all of the arrays."""
    if store is None or not all(store.has(sequence, name) for name in arrays):
        return set()
    committed = (store.array(sequence, name).committed() for name in arrays)
    return set.intersection(*map(set, committed))


def _failed_frames(store: LabelStore | None, sequence: str, name: str) -> set[int]:
    if store is None or not store.has(sequence, name):
        return set()
    return set(store.array(sequence, name).failed())


def _size(
    root: Path, sequence: str, pending: Sequence[Frame], *, store: LabelStore | None
) -> tuple[int, int]:
    """The sequence's size (height, width) in the store, else that of most of a few sampled frames.

    One unreadable frame, or one of a wrong size, must not decide for its whole drive.
    """
    if store is not None and store.has(sequence, "classes"):
        return store.array(sequence, "classes").size
    sizes: Counter[tuple[int, int]] = Counter()
    errors = []
    for frame in pending[:: max(1, len(pending) // SIZE_SAMPLES)]:
        try:
            sizes[image_size(image_path(root, frame))] += 1
        except XDistillError as error:
            errors.append(error)
    if not sizes:
        raise errors[0]
    return sizes.most_common(1)[0][0]


class Numbered(Protocol):
    """A task that knows its position among all shards of its request."""

    @property
    def number(self) -> int: ...


AnyTask = TypeVar("AnyTask", bound=Numbered)


def select_part(tasks: Sequence[AnyTask], part: str | None) -> tuple[AnyTask, ...]:
    """The share ``i/n`` (1-based) of the tasks, for job arrays; every shard has one owner.

    Raises:
        PlanError: Not of the form i/n with 1 <= i <= n.
    """
    if part is None:
        return tuple(tasks)
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", part)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise PlanError(
            f"--part {part} is not a share",
            expected="i/n with 1 <= i <= n, such as 1/8",
            remedy="number the jobs of an array from 1",
        )
    # Numbers count finished shards too, so that the other jobs' shares stay put while they work.
    return tuple(task for task in tasks if task.number % count == number - 1)
