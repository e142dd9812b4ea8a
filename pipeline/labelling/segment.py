"""The teacher over KITTI, once: decoding, labelling and writing overlap, one shard at a time."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import UInt8

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import Advance, unshown
from xdistill.pipeline.kitti.errors import ImageError, MissingFrameError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import image_size, read_image, whole_size
from xdistill.pipeline.labelling.identity import require_same_teacher
from xdistill.pipeline.labelling.plan import Task, open_existing
from xdistill.pipeline.labelling.shards import Outcome, Shard, Shards
from xdistill.pipeline.store import LabelStore, LabelStoreError
from xdistill.pipeline.store.leases import Locking
from xdistill.teachers.choice.spec import TeacherSpec
from xdistill.teachers.png import read_alike
from xdistill.teachers.protocol import FrameLabelError, Prediction, Record, Teacher, TeacherError

DECODE_THREADS = 2
READ_AHEAD = 8
"""Decoded frames held ready: enough to hide the disk, few enough to bound memory."""

Image = UInt8[np.ndarray, "height width 3"]
Batch = Sequence[tuple[Frame, Image | XDistillError]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelling:
    """Frames to label, the teacher and the store: one value, here and on every worker."""

    data: Path
    """KITTI raw root."""
    store: Path
    """Label store, made by the first run."""
    teacher: TeacherSpec
    """The teacher to load."""
    tasks: tuple[Task, ...]
    """Shards with the frames to label; see ``plan.make_plan``."""
    batch_size: int = 1
    """Frames the teacher sees at once."""
    locking: Locking = "required"
    """As ``LabelStore.open_for_writing`` takes it."""

    @property
    def frames(self) -> int:
        """Frames to label."""
        return sum(len(task.frames) for task in self.tasks)

    def by_shard(self) -> list[Self]:
        """One labelling per shard, with absolute paths, for processes in another folder."""
        whole = replace(
            self,
            data=self.data.absolute(),
            store=self.store.absolute(),
            teacher=self.teacher.absolute(),
        )
        return [replace(whole, tasks=(task,)) for task in self.tasks]

    def load_teacher(self) -> Teacher:
        """Load the teacher and check that it fits the store and the frames; nothing is written.

        Raises:
            TeacherError: The teacher cannot be loaded, or not label frames of these sizes.
            FetchError: Its published weights could not be downloaded.
            LabelStoreError: The store was made by another teacher, or is no label store.
        """
        teacher = self.teacher.load()
        store = open_existing(self.store)
        if store is not None and not store.belongs_to_nobody():
            require_same_teacher(store, teacher)
        # A store is bound to the settings that it was made with: none for those that fail.
        for size in sorted({task.size for task in self.tasks}):
            teacher.check_size(*size)
        return teacher

    def open_store(self, teacher: Teacher) -> LabelStore:
        """Open the store for writing, creating it if there is none.

        Raises:
            LabelStoreError: It was made by another teacher, or cannot be written.
        """
        record, fingerprint = teacher.record, teacher.fingerprint
        try:
            return self._open(record, fingerprint)
        except LabelStoreError:
            store = open_existing(self.store)
            if store is None:
                raise
            if read_alike(store.teacher, record):
                # Its label maps were compared before; the store keeps the record of its first run.
                return self._open(store.teacher, store.fingerprint)
            # A teacher that failed before its first frame leaves a store that is nobody's.
            store.give_to(teacher=record, fingerprint=fingerprint)
            return self._open(record, fingerprint)

    def _open(self, record: Record, fingerprint: str) -> LabelStore:
        return LabelStore.open_for_writing(
            self.store, teacher=record, fingerprint=fingerprint, locking=self.locking
        )

    def label(
        self, store: LabelStore, teacher: Teacher, *, outcome: Outcome, advance: Advance = unshown
    ) -> None:
        """Label the frames in this process; see ``segment``."""
        segment(
            self.data,
            store,
            teacher=teacher,
            tasks=self.tasks,
            outcome=outcome,
            batch_size=self.batch_size,
            advance=advance,
        )


def segment(
    data: Path,
    store: LabelStore,
    *,
    teacher: Teacher,
    tasks: Sequence[Task],
    outcome: Outcome,
    batch_size: int = 1,
    advance: Advance = unshown,
) -> None:
    """Label the frames of the tasks and commit them shard by shard.

    While the teacher labels one frame, the next ones are decoded and the previous shard is
    written. Whatever ends the run early, the finished frames of open shards are committed first;
    a kill costs at most one shard for each call that the teacher takes at once. Where all of the
    first frames fail for one reason (``Outcome.hopeless``), the others are not tried.

    Args:
        data: KITTI raw root.
        store: Opened for writing with this teacher's fingerprint.
        teacher: Maps RGB frames to train ids.
        tasks: What to label; see ``plan.make_plan``.
        outcome: Receives the counts and failures.
        batch_size: Frames the teacher sees at once.
        advance: Receives the number of frames just finished.

    Raises:
        LabelStoreError: The store cannot be written.
        TeacherError: The teacher as a whole cannot work.
    """
    calls, tried = teacher.calls_at_once, Outcome()
    read = partial(_read, data, decode=read_image if teacher.reads_pixels else _blank)
    with (
        ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as decoder,
        ThreadPoolExecutor(calls, thread_name_prefix="label") as labeller,
        Shards(store, outcome=outcome, advance=advance) as shards,
    ):
        batches = (
            (shard, batch)
            for shard in shards.open(tasks)
            for batch in _batches(_read_ahead(shard, read, decoder), batch_size)
        )
        label = partial(_label, teacher=teacher)
        # Closed before the open shards are committed: no call may still add to them then.
        with closing(_side_by_side(label, batches, labeller, calls=calls)) as labelled:
            for shard, batch in labelled:
                shards.finish(shard, len(batch))
                tried.add(_tried(shard, batch))
                if tried.hopeless:
                    break


def _tried(shard: Shard, batch: Batch) -> Outcome:
    """What became of a batch, committed or not."""
    frames = [frame for frame, _ in batch]
    failures = {frame: shard.failures[frame] for frame in frames if frame in shard.failures}
    return Outcome(labelled=len(frames) - len(failures), failures=failures)


def _read_ahead(
    shard: Shard,
    read: Callable[[Frame, tuple[int, int]], Image | XDistillError],
    decoder: ThreadPoolExecutor,
) -> Iterator[tuple[Frame, Image | XDistillError]]:
    """Decode ahead of the teacher, in order, a few frames at a time."""
    ahead: deque[tuple[Frame, Future[Image | XDistillError]]] = deque()
    for frame in shard.wanted:
        ahead.append((frame, decoder.submit(read, frame, shard.task.size)))
        if len(ahead) == READ_AHEAD:
            first, image = ahead.popleft()
            yield first, image.result()
    for frame, image in ahead:
        yield frame, image.result()


def _read(
    data: Path, frame: Frame, size: tuple[int, int], *, decode: Callable[[Path], Image]
) -> Image | XDistillError:
    """The image of a frame at the size of its drive; the error where it has none."""
    try:
        path = image_path(data, frame)
        # By its header, before a wrong size takes time and memory.
        found = image_size(path)
        return decode(path) if found == size else _other_size(found, size)
    except (ImageError, MissingFrameError) as error:
        return error


def _blank(path: Path) -> Image:
    """Black pixels of an image's size, in place of those that nobody looks at."""
    height, width = whole_size(path)
    return np.broadcast_to(np.uint8(0), (height, width, 3))


def _batches(decoded: Iterator[tuple[Frame, Image | XDistillError]], size: int) -> Iterator[Batch]:
    while batch := list(islice(decoded, size)):
        yield batch


def _side_by_side(
    label: Callable[[Batch, Shard], None],
    batches: Iterator[tuple[Shard, Batch]],
    pool: ThreadPoolExecutor,
    *,
    calls: int,
) -> Generator[tuple[Shard, Batch]]:
    """Label up to ``calls`` batches at once, and yield each when it is labelled, in order.

    No call is under way once the generator is closed.
    """
    if calls == 1:
        # In this thread, so that Ctrl-C does not wait for the network.
        for shard, batch in batches:
            label(batch, shard)
            yield shard, batch
        return
    running: deque[tuple[tuple[Shard, Batch], Future[None]]] = deque()
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


def _label(batch: Batch, shard: Shard, *, teacher: Teacher) -> None:
    """Label one batch of a shard; a frame that cannot be read or labelled fails alone."""
    size = shard.task.size
    good: list[tuple[Frame, Image]] = []
    for frame, image in batch:
        if isinstance(image, XDistillError):
            shard.failures[frame] = str(image)
        else:
            good.append((frame, image))
    if not good:
        return
    try:
        found = teacher.label([image for _, image in good], [frame.key for frame, _ in good])
    except FrameLabelError as error:
        if len(good) == 1:
            shard.failures[good[0][0]] = str(error)
        else:
            for single in good:
                _label([single], shard, teacher=teacher)
        return
    _require_labels(found, (len(good), *size))
    for position, (frame, _) in enumerate(good):
        shard.classes[frame.index] = found.classes[position]
        if found.confidence is not None:
            shard.confidence[frame.index] = found.confidence[position]


def _other_size(found: tuple[int, int], expected: tuple[int, int]) -> ImageError:
    return ImageError(
        f"the image is {found[1]}x{found[0]} pixels",
        expected=f"{expected[1]}x{expected[0]}, as the rest of this drive and camera",
        remedy="replace the image; KITTI's sizes change by date, never within a drive",
    )


def _require_labels(found: Prediction, shape: tuple[int, int, int]) -> None:
    """Refuse anything but label maps before it reaches the store."""
    classes = found.classes
    if classes.shape != shape or classes.dtype != np.uint8:
        raise TeacherError(
            f"the teacher gave labels of shape {classes.shape} and type {classes.dtype}",
            expected=f"shape {shape}, uint8",
            remedy="fix the teacher: labels have the frames' own size",
        )
    illegal = classes[(classes >= len(cityscapes().names)) & (classes != IGNORE_INDEX)]
    if illegal.size:
        raise TeacherError(
            f"the teacher gave train id {int(illegal[0])}",
            expected=f"0-{len(cityscapes().names) - 1} or {IGNORE_INDEX} (ignore)",
            remedy="map its classes to Cityscapes train ids; label ids need --ids label",
        )
