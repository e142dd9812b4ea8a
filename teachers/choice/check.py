"""A faster engine beside the exact one: the share of equal labels, and the speed."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.teachers.protocol import Teacher, TeacherError


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far two teachers agree on the same frames."""

    frames: int
    """Frames compared."""
    equal: float
    """Share of all pixels with equal labels, 0 to 1."""
    by_class: dict[str, float]
    """The same by class of the exact teacher; classes without pixels are absent."""
    seconds: float
    """Median time of the chosen teacher for a frame, in seconds."""
    exact_seconds: float
    """Median time of the exact teacher for a frame, in seconds."""
    speed: float
    """Median over frames of exact time over chosen time, paired frame by frame."""


def compare(
    chosen: Teacher,
    exact: Teacher,
    frames: Iterable[tuple[str, NDArray[np.uint8]]],
    *,
    advance: Callable[[int], object] = lambda count: None,
) -> Agreement:
    """Label every frame with both teachers in turn, and compare.

    The first frame of every size is labelled once before it is timed: engines prepare themselves
    on it.

    Args:
        chosen: The teacher to compare.
        exact: The reference.
        frames: Key and RGB image (height, width, 3) of each frame.
        advance: Called with the number of frames finished, for progress.

    Raises:
        TeacherError: There are no frames, or a teacher fails.
    """
    known = np.zeros((len(cityscapes().names) + 1, 2), np.int64)
    times: list[tuple[float, float]] = []
    warm: set[tuple[int, ...]] = set()
    for key, image in frames:
        if image.shape not in warm:
            warm.add(image.shape)
            chosen.label([image], [key])
            exact.label([image], [key])
        ours, seconds = _timed(chosen, key, image)
        reference, exact_seconds = _timed(exact, key, image)
        known += _count(reference, ours == reference)
        times.append((seconds, exact_seconds))
        advance(1)
    if not times:
        raise TeacherError(
            "there are no frames to compare",
            expected="at least one frame",
            where="--data",
            remedy="give the folder that holds the KITTI raw data",
        )
    return _summary(known, times)


def _summary(known: NDArray[np.int64], times: list[tuple[float, float]]) -> Agreement:
    """Shares from pixels and equal pixels by class, medians from pairs of seconds."""
    pixels, agreed = known.T
    return Agreement(
        frames=len(times),
        equal=float(agreed.sum() / pixels.sum()),
        by_class={
            name: float(agreed[i] / pixels[i])
            for i, name in enumerate((*cityscapes().names, "ignore"))
            if pixels[i]
        },
        seconds=statistics.median(mine for mine, _ in times),
        exact_seconds=statistics.median(theirs for _, theirs in times),
        speed=statistics.median(theirs / mine for mine, theirs in times),
    )


def _timed(teacher: Teacher, key: str, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    start = time.perf_counter()
    (classes,) = teacher.label([image], [key]).classes
    return classes, time.perf_counter() - start


def _count(reference: NDArray[np.uint8], equal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels and equal pixels by the reference's class, ignore last; (classes + 1, 2)."""
    last = len(cityscapes().names)
    rows = np.where(reference == IGNORE_INDEX, last, reference).ravel()
    pixels = np.bincount(rows, minlength=last + 1)
    agreed = np.bincount(rows[equal.ravel()], minlength=last + 1)
    return np.stack([pixels, agreed], axis=1)
