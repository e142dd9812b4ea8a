"""Images of a training, resized once: decoded on every core and committed one shard at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import Advance, unshown, usable_cores
from xdistill.pipeline.kitti.frames import Frame, image_path, missing_frames
from xdistill.pipeline.kitti.images import read_at_size
from xdistill.pipeline.labelling.plan import Task, open_existing
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import LabelStore
from xdistill.pipeline.store.images import cached_size, image_array, image_record, require_record
from xdistill.teachers.protocol import fingerprint_of

SOURCES = (-1, 1)
"""What a training reads beside a frame of its split: the previous and the next one."""
DEFAULT_SIZE = (192, 640)
"""Height and width of the images of most recipes."""

Rows = UInt8[np.ndarray, "height three_widths"]


def with_sources(root: Path, frames: Sequence[Frame]) -> list[Frame]:
    """The frames of a split, and those before and after them that are on disk."""
    targets = set(frames)
    beside = {f.neighbour(o) for f in targets for o in SOURCES if f.index + o >= 0} - targets
    absent = set(missing_frames(root, sorted(beside, key=str)))
    return [*targets, *(beside - absent)]


def existing_cache(path: Path, size: tuple[int, int] | None) -> tuple[LabelStore | None, int, int]:
    """The cache at a path if there is one, and the height and width of its images.

    Args:
        path: Folder of the store.
        size: Height and width as given; None takes the cache's own, or those of most recipes.

    Raises:
        LabelStoreError: The path holds something else, or images of another size or filter.
    """
    store = open_existing(path)
    if size is None:
        size = DEFAULT_SIZE if store is None else cached_size(store)
    if store is not None:
        require_record(store, image_record(size))
    return store, *size


def open_cache(path: Path, size: tuple[int, int]) -> LabelStore:
    """Open a cache of images for writing, creating it if there is none.

    Raises:
        LabelStoreError: The path holds something else, or cannot be written.
    """
    record = image_record(size)
    return LabelStore.open_for_writing(path, teacher=record, fingerprint=fingerprint_of(record))


def cache_images(
    root: Path,
    store: LabelStore,
    *,
    tasks: Sequence[Task],
    outcome: Outcome,
    advance: Advance = unshown,
) -> None:
    """Resize the frames of the tasks, and commit them shard by shard.

    Whatever ends the run early, the resized frames of the shard in hand are committed first.

    Args:
        root: KITTI raw root.
        store: From ``open_cache``.
        tasks: What to resize; see ``plan.make_plan``.
        outcome: Receives the counts and failures.
        advance: Receives the number of frames just finished.

    Raises:
        LabelStoreError: The store cannot be written.
    """
    size = cached_size(store)
    read = partial(_read, root, size=size)
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="resize") as pool:
        for task in tasks:
            array = image_array(store, task.sequence, length=task.length, size=size)
            with array.lease(task.shard) as held:
                done = set(array.committed_in(task.shard)) if held else set()
                wanted = [f for f in task.frames if held and f.index not in done]
                outcome.left_to_others += 0 if held else len(task.frames)
                advance(len(task.frames) - len(wanted))
                images: dict[int, Rows] = {}
                failures: dict[Frame, str] = {}
                try:
                    for frame, found in zip(wanted, pool.map(read, wanted), strict=True):
                        if isinstance(found, XDistillError):
                            failures[frame] = str(found)
                        else:
                            images[frame.index] = found
                        advance(1)
                finally:
                    if images or failures:
                        failed = {frame.index for frame in failures}
                        array.write_shard(task.shard, images, failed=failed)
                        outcome.add(Outcome(labelled=len(images), failures=failures))


def _read(root: Path, frame: Frame, *, size: tuple[int, int]) -> Rows | XDistillError:
    """The resized image of a frame as rows; the error where it has none."""
    try:
        image = read_at_size(image_path(root, frame), size)
    except XDistillError as error:
        return error
    return image.reshape(size[0], 3 * size[1])
