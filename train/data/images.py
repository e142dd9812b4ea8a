"""Resized images from a cache, checked against what a training will read."""

from collections.abc import Sequence
from pathlib import Path

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.missing import name_frames
from xdistill.pipeline.store import LabelStore
from xdistill.pipeline.store.format import IMAGES
from xdistill.pipeline.store.images import CachedImages, holds_images, image_record, require_record
from xdistill.train.data.triplets import OFFSETS


class MissingImagesError(XDistillError, LookupError):
    """Images of a training that are not in the cache."""


def find_images(
    path: Path, targets: Sequence[Frame], *, size: tuple[int, int], command: str
) -> CachedImages:
    """The cached images of all triplets.

    Args:
        path: The cache.
        targets: Target frames.
        size: Height and width of the recipe's images.
        command: The command that caches these images.

    Raises:
        MissingImagesError: There is no cache, or it lacks images.
        LabelStoreError: It is damaged, holds labels, or images of another size or filter.
    """
    if not path.exists():
        raise MissingImagesError(
            "the cache of images does not exist",
            expected="a folder that xd-pipeline cache-images made",
            where=path.absolute(),
            remedy=f"run: {command}",
        )
    store = LabelStore.open(path)
    wanted = image_record(size)
    if holds_images(store):
        # Images of another version of Pillow are as good: nothing is added to them here.
        wanted["pillow"] = store.teacher.get("pillow")
    require_record(store, wanted)
    _require_frames(store, targets, command=command)
    return CachedImages(path.absolute(), size)


def _require_frames(store: LabelStore, targets: Sequence[Frame], *, command: str) -> None:
    committed = {
        sequence: set(store.array(sequence, IMAGES).committed())
        for sequence in {target.sequence for target in targets}
        if store.has(sequence, IMAGES)
    }
    wanted = {target.neighbour(offset) for target in targets for offset in (0, *OFFSETS)}
    absent = [f for f in wanted if f.index not in committed.get(f.sequence, ())]
    if absent:
        absent.sort(key=lambda frame: (frame.sequence, frame.index))
        raise MissingImagesError(
            f"{len(absent)} of the {len(wanted)} images that the training reads are not in the "
            f"cache: {name_frames(absent)}",
            expected="every target frame and both of its source frames",
            where=store.path.absolute(),
            remedy=f"run: {command}",
        )
