"""The teacher over KITTI, once: decode, label and write overlapped, one shard at a time."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.classes import CONFIDENCE_LEVELS, IGNORE_INDEX, cityscapes
from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import Advance, unshown
from xdistill.pipeline.kitti.errors import ImageError, MissingFrameError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import read_image
from xdistill.pipeline.labelling.plan import Task, done_frames
from xdistill.pipeline.store import LabelArray, LabelStore
from xdistill.teachers.protocol import FrameLabelError, Prediction, Teacher, TeacherError

DECODE_THREADS = 2
READ_AHEAD = 8
"""Decoded frames held ready: enough to hide the disk, few enough to bound memory."""

Image = NDArray[np.uint8]
Batch = Sequence[tuple[Frame, Image | XDistillError]]


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What a run did; it grows while the run goes on, so that an interrupted one can report."""

    labelled: int = 0
    failures: dict[Frame, str] = field(default_factory=dict)
    """Frames that could not be labelled, with the reason."""
    left_to_others: int = 0
    """Frames whose shard another running process holds."""


@dataclass(kw_only=True, slots=True)
class _Shard:
    """Labels of one shard on their way to the store, and the lease on it."""

    task: Task
    lease: ExitStack
    """The writer frees it after the commit."""
    wanted: Sequence[Frame]
    """Frames to label."""
    left: int
    """Frames that are not finished yet."""
    classes: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    confidence: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    failures: dict[Frame, str] = field(default_factory=dict)


def segment(
    root: Path,
    store: LabelStore,
    *,
    teacher: Teacher,
    tasks: Sequence[Task],
    outcome: Outcome,
    batch_size: int = 1,
    advance: Advance = unshown,
) -> None:
    """Label the frames of the tasks and commit them shard by shard.

    While the teacher works on one frame, the next ones are decoded and the previous shard is
    written. Whatever ends the run early, the finished frames of the open shard are committed
    first; after a kill, at most that one shard is done again (with a teacher that takes several
    calls at once, at most one for each of them).

    Args:
        root: KITTI raw root.
        store: Opened for writing with this teacher's fingerprint.
        teacher: Maps RGB frames to train ids.
        tasks: What to do; see ``plan.make_plan``.
        outcome: Receives the counts and failures.
        batch_size: Frames the teacher sees at once.
        advance: Called with the number of frames finished, for progress.

    Raises:
        LabelStoreError: The store cannot be written.
        TeacherError: The teacher as a whole cannot work.
    """
    calls = teacher.calls_at_once
    with (
        ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as decoder,
        ThreadPoolExecutor(calls, thread_name_prefix="label") as labeller,
        _Writer(store, outcome) as writer,
    ):
        shards = _OpenShards(store, outcome=outcome, advance=advance)
        batches = (
            (shard, batch)
            for shard in shards.take(tasks)
            for batch in _batches(_decoded(root, shard.wanted, decoder), batch_size)
        )
        label = partial(_label, teacher=teacher)
        # Closed before what is open is committed: no call may still add to it then.
        with (
            shards.committed_by(writer),
            closing(_side_by_side(label, batches, labeller, calls=calls)) as labelled,
        ):
            for shard, batch in labelled:
                shards.finish(shard, len(batch), writer)


class _OpenShards:
    """Shards whose lease is held, oldest first."""

    def __init__(self, store: LabelStore, *, outcome: Outcome, advance: Advance) -> None:
        self.open: deque[_Shard] = deque()
        self._store = store
        self._outcome = outcome
        self._advance = advance

    def take(self, tasks: Sequence[Task]) -> Iterator[_Shard]:
        """Open one after another, each when it is asked for; those of others are passed over."""
        for task in tasks:
            with ExitStack() as lease:
                array = _arrays(self._store, task)
                held = lease.enter_context(array.lease(task.shard))
                wanted = _still_wanted(self._store, task) if held else ()
                self._outcome.left_to_others += 0 if held else len(task.frames)
                self._advance(len(task.frames) - len(wanted))
                if not wanted:
                    continue
                shard = _Shard(task=task, wanted=wanted, left=len(wanted), lease=lease.pop_all())
            self.open.append(shard)
            yield shard

    def finish(self, shard: _Shard, frames: int, writer: "_Writer") -> None:
        """Count frames of the oldest shard as finished, and commit it once all of them are."""
        self._advance(frames)
        shard.left -= frames
        if not shard.left:
            writer.submit(self.open.popleft())

    @contextmanager
    def committed_by(self, writer: "_Writer") -> Iterator[None]:
        """Commit what is open at the end, in order, even where one of them cannot be written."""
        try:
            yield
        finally:
            with ExitStack() as rest:
                for shard in reversed(self.open):
                    rest.callback(writer.submit, shard)


class _Writer:
    """Commits shards on one thread, at most one shard behind the teacher."""

    def __init__(self, store: LabelStore, outcome: Outcome) -> None:
        self._store = store
        self._outcome = outcome
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._wait()
        finally:
            self._pool.shutdown()

    def submit(self, shard: _Shard) -> None:
        """Wait for the shard before, then commit this one in the background."""
        try:
            self._wait()
        except BaseException:
            shard.lease.close()
            raise
        self._writing = self._pool.submit(self._commit, shard)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _commit(self, shard: _Shard) -> None:
        task = shard.task
        with shard.lease:
            array = _arrays(self._store, task)
            failed = {frame.index for frame in shard.failures}
            news = failed - set(array.failed().nonzero()[0].tolist())
            if shard.confidence:
                self._store.ensure_array(
                    task.sequence,
                    "confidence",
                    length=task.length,
                    size=task.size,
                    values=CONFIDENCE_LEVELS,
                    attributes={},
                ).write_shard(task.shard, shard.confidence)
            if shard.classes or news:
                array.write_shard(task.shard, shard.classes, failed=failed)
        self._outcome.labelled += len(shard.classes)
        self._outcome.failures |= shard.failures


def _arrays(store: LabelStore, task: Task) -> LabelArray:
    return store.ensure_array(
        task.sequence,
        "classes",
        length=task.length,
        size=task.size,
        values=len(cityscapes().names),
        attributes={},
    )


def _still_wanted(store: LabelStore, task: Task) -> tuple[Frame, ...]:
    """The task's frames that no other process has committed since the plan was made."""
    done = done_frames(store, task.sequence, task.arrays)
    return tuple(frame for frame in task.frames if frame.index not in done)


def _decoded(
    root: Path, frames: Sequence[Frame], decoder: ThreadPoolExecutor
) -> Iterator[tuple[Frame, Image | XDistillError]]:
    """Decode ahead of the teacher, in order, a few frames at a time."""
    ahead: deque[tuple[Frame, Future[Image | XDistillError]]] = deque()
    for frame in frames:
        ahead.append((frame, decoder.submit(_decode, root, frame)))
        if len(ahead) == READ_AHEAD:
            first, image = ahead.popleft()
            yield first, image.result()
    for frame, image in ahead:
        yield frame, image.result()


def _decode(root: Path, frame: Frame) -> Image | XDistillError:
    try:
        return read_image(image_path(root, frame))
    except (ImageError, MissingFrameError) as error:
        return error


def _batches(decoded: Iterator[tuple[Frame, Image | XDistillError]], size: int) -> Iterator[Batch]:
    while batch := list(islice(decoded, size)):
        yield batch


def _side_by_side(
    label: Callable[[Batch, _Shard], None],
    batches: Iterator[tuple[_Shard, Batch]],
    pool: ThreadPoolExecutor,
    *,
    calls: int,
) -> Generator[tuple[_Shard, Batch]]:
    """Label batches, so many at the same time, and give each back once it is labelled, in order.

    Whatever ends this early, no call is under way any more once it is closed.
    """
    if calls == 1:
        # In this thread, so that Ctrl-C does not wait for the network.
        for shard, batch in batches:
            label(batch, shard)
            yield shard, batch
        return
    running: deque[tuple[tuple[_Shard, Batch], Future[None]]] = deque()
    try:
        for shard, batch in batches:
            running.append(((shard, batch), pool.submit(label, batch, shard)))
            if len(running) == calls:
                running[0][1].result()
                yield running.popleft()[0]
        while running:
            running[0][1].result()
            yield running.popleft()[0]
    finally:
        wait([future for _, future in running if not future.cancel()])


def _label(batch: Batch, shard: _Shard, *, teacher: Teacher) -> None:
    """Label one batch of a shard; a frame that cannot be read or labelled fails alone."""
    size = shard.task.size
    good: list[tuple[Frame, Image]] = []
    for frame, image in batch:
        if isinstance(image, XDistillError):
            shard.failures[frame] = str(image)
        elif image.shape[:2] != size:
            shard.failures[frame] = _other_size(image.shape, size)
        else:
            good.append((frame, image))
    if not good:
        return
    try:
        labels = teacher.label([image for _, image in good], [frame.key for frame, _ in good])
    except FrameLabelError as error:
        if len(good) == 1:
            shard.failures[good[0][0]] = str(error)
        else:
            for single in good:
                _label([single], shard, teacher=teacher)
        return
    _check_labels(labels, (len(good), *size))
    for position, (frame, _) in enumerate(good):
        shard.classes[frame.index] = labels.classes[position]
        if labels.confidence is not None:
            shard.confidence[frame.index] = labels.confidence[position]


def _other_size(found: tuple[int, ...], expected: tuple[int, int]) -> str:
    return (
        f"image of {found[1]}x{found[0]} pixels\n"
        f"  expected: {expected[1]}x{expected[0]}, as the rest of this drive and camera\n"
        "  what to do: replace the image; KITTI's sizes change by date, never within a drive"
    )


def _check_labels(labels: Prediction, shape: tuple[int, int, int]) -> None:
    """Refuse what is no label map before it reaches the store."""
    classes = labels.classes
    if classes.shape != shape or classes.dtype != np.uint8:
        raise TeacherError(
            f"the teacher gave labels of shape {classes.shape} and type {classes.dtype}",
            expected=f"shape {shape}, uint8",
            remedy="mend the teacher: labels have the frames' own size",
        )
    illegal = classes[(classes >= len(cityscapes().names)) & (classes != IGNORE_INDEX)]
    if illegal.size:
        raise TeacherError(
            f"the teacher gave train id {int(illegal[0])}",
            expected=f"0-{len(cityscapes().names) - 1} or {IGNORE_INDEX} (ignore)",
            remedy="map its classes to Cityscapes train ids; label ids need --ids label",
        )
