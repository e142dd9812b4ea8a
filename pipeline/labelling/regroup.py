"""Write the groups of a scheme beside the classes, under the same commit protocol."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import groupby, islice

from xdistill.grouping.scheme import Scheme, remap
from xdistill.manifests.progress import Advance, unshown, usable_cores
from xdistill.pipeline.store import SHARD_FRAMES, LabelStore


@dataclass(frozen=True, kw_only=True, slots=True)
class RegroupTask:
    """One shard whose classes are committed and whose groups are not."""

    number: int
    """Position among all shards of the store's classes, including finished ones."""
    sequence: str
    """Store folder: date, drive and camera."""
    shard: int
    """Number of the shard along the frame axis."""
    frames: tuple[int, ...]
    """Frame numbers to remap."""


def plan_regroup(store: LabelStore, scheme: Scheme) -> list[RegroupTask]:
    """The shards that lack groups for committed classes.

    Raises:
        LabelStoreError: The store has an array of this name made with another table.
    """
    tasks: list[RegroupTask] = []
    shards = 0
    for sequence in store.sequences():
        if store.has(sequence, "classes"):
            tasks += _plan_sequence(store, sequence, scheme, first=shards)
            shards += store.array(sequence, "classes").shards
    return tasks


def _plan_sequence(
    store: LabelStore, sequence: str, scheme: Scheme, *, first: int
) -> Iterator[RegroupTask]:
    """The tasks of a sequence whose shards are numbered from ``first``."""
    done: set[int] = set()
    if store.has(sequence, scheme.array):
        done.update(store.groups(sequence, scheme).committed())
    pending = (frame for frame in store.array(sequence, "classes").committed() if frame not in done)
    for shard, members in groupby(pending, key=lambda frame: frame // SHARD_FRAMES):
        yield RegroupTask(
            number=first + shard, sequence=sequence, shard=shard, frames=tuple(members)
        )


def regroup(
    store: LabelStore,
    scheme: Scheme,
    *,
    tasks: Sequence[RegroupTask],
    advance: Advance = unshown,
    leave: Advance = unshown,
) -> int:
    """Write ``groups_<scheme>`` for the tasks, one shard per core at a time.

    Args:
        store: Opened for writing.
        scheme: The grouping; recorded in the array's attributes.
        tasks: From ``plan_regroup``.
        advance: Receives the number of frames just finished.
        leave: Receives the number of frames in a shard that another running process holds.

    Returns:
        Frames written by this call; frames that another process wrote or holds do not count.

    Raises:
        LabelStoreError: A class map does not match its checksum, or the store cannot be written.
    """
    written = 0
    for task, done in _finished(store, scheme, tasks):
        if done is None:
            leave(len(task.frames))
        written += done or 0
        advance(len(task.frames))
    return written


def _finished(
    store: LabelStore, scheme: Scheme, tasks: Sequence[RegroupTask]
) -> Iterator[tuple[RegroupTask, int | None]]:
    """The tasks as they finish, each with the result of ``_regroup_shard``."""
    # Threads are enough: decompression, look-up and writing release the interpreter. Each works on
    # one shard, which bounds memory whatever the number of frames.
    with ThreadPoolExecutor(usable_cores()) as pool:
        waiting = iter(tasks)
        running = {
            pool.submit(_regroup_shard, store, scheme, task): task
            for task in islice(waiting, usable_cores())
        }
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
                for following in islice(waiting, 1):
                    running[pool.submit(_regroup_shard, store, scheme, following)] = following


def _regroup_shard(store: LabelStore, scheme: Scheme, task: RegroupTask) -> int | None:
    """Group one shard; return the frames written, or None where another process holds it."""
    classes = store.array(task.sequence, "classes")
    groups = store.ensure_array(
        task.sequence,
        scheme.array,
        length=classes.length,
        size=classes.size,
        values=len(scheme.groups),
        attributes=scheme.attributes | {"source_fingerprint": store.fingerprint},
    )
    with groups.lease(task.shard) as held:
        if not held:
            return None
        # Another process may have committed frames since the plan was made.
        done = groups.committed_in(task.shard)
        wanted = [index for index in task.frames if index not in done]
        maps = {index: remap(classes.read(index), scheme) for index in wanted}
        groups.write_shard(task.shard, maps)
        return len(maps)
