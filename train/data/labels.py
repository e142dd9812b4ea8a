"""The teacher's labels as the trainer reads them: groups at the network's size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.classes import CONFIDENCE_LEVELS, IGNORE_INDEX
from xdistill.grouping.scheme import Scheme, remap
from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.missing import name_frames
from xdistill.pipeline.store import LabelReader, LabelStore

CLASSES = "classes"
CONFIDENCE = "confidence"


class MissingLabelsError(XDistillError, LookupError):
    """Training frames without labels in the store."""


@runtime_checkable
class FrameLabels(Protocol):
    """Labels of target frames from any source."""

    def read(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Groups (height, width) of a frame at ``size``, 255 = ignore."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSource:
    """The array that holds each sequence's labels; picklable, for worker processes."""

    store: Path
    """The label store."""
    fingerprint: str
    """Fingerprint of the teacher that made the labels."""
    scheme: Scheme
    """The grouping scheme of the groups to read."""
    readers: Mapping[str, LabelReader]
    """Readers by array name: stored groups, or classes to be grouped on the fly."""
    arrays: Mapping[str, str]
    """Array to read, by sequence."""
    confidence: LabelReader | None = None
    """Levels of the top probability; None counts every label."""
    min_level: int = 0
    """Labels of a lower level are ignored; a pixel without a level keeps its label."""

    def read(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Groups (height, width) of a frame, resized by nearest neighbour.

        Args:
            frame: One of the frames the source was made for.
            size: Height and width in pixels.

        Raises:
            LabelStoreError: The frame's labels are damaged.
        """
        name = self.arrays[frame.sequence]
        labels = resize_labels(self.readers[name].read(frame.sequence, frame.index), size)
        groups = remap(labels, self.scheme) if name == CLASSES else labels
        if self.confidence is None:
            return groups
        levels = resize_labels(self.confidence.read(frame.sequence, frame.index), size)
        return np.where(levels < self.min_level, np.uint8(IGNORE_INDEX), groups)

    def describe(self) -> str:
        """Number of sequences read as stored groups and number grouped on the fly."""
        grouped = sum(name != CLASSES for name in self.arrays.values())
        return (
            f"{self.scheme.array} of {grouped} sequences as stored, "
            f"of {len(self.arrays) - grouped} from classes on the fly"
        )


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize labels (height, width) to ``size`` by the pixel nearest to each centre."""
    height, width = size
    resized = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8)


def find_labels(
    path: Path,
    frames: Sequence[Frame],
    *,
    scheme: Scheme,
    segment: str,
    min_confidence: float | None = None,
) -> LabelSource:
    """Choose an array for every sequence: stored groups if they cover its frames, else classes.

    Args:
        path: Label store.
        frames: Frames that need labels.
        scheme: Grouping that is wanted.
        segment: The command that would label these frames, for the message.
        min_confidence: Probability below which a label is ignored; None keeps all.

    Raises:
        LabelStoreError: No label store, or groups of this name made with another table.
        MissingLabelsError: Frames without labels, or without the confidence that is asked for:
            how many, and the first of them.
    """
    store = LabelStore.open(path)
    indices: dict[str, list[int]] = {}
    for frame in frames:
        indices.setdefault(frame.sequence, []).append(frame.index)
    arrays = {name: _choose(store, name, scheme, wanted) for name, wanted in indices.items()}
    lacking = {
        (sequence, index)
        for sequence, name in arrays.items()
        for index in _lacking(store, sequence, name, indices[sequence])
    }
    if lacking:
        absent = [frame for frame in frames if (frame.sequence, frame.index) in lacking]
        raise _missing_labels(absent, frames, store, segment)
    if min_confidence is not None:
        _require_confidence(store, frames, indices, segment=segment)
    return LabelSource(
        store=path,
        fingerprint=store.fingerprint,
        scheme=scheme,
        readers={name: LabelReader(path, name) for name in sorted(set(arrays.values()))},
        arrays=arrays,
        confidence=None if min_confidence is None else LabelReader(path, CONFIDENCE),
        # Level l stands for probabilities from l / 16 on; the highest is never low.
        min_level=min(
            math.ceil((min_confidence or 0.0) * CONFIDENCE_LEVELS), CONFIDENCE_LEVELS - 1
        ),
    )


def _choose(store: LabelStore, sequence: str, scheme: Scheme, wanted: Sequence[int]) -> str:
    """The array to read: stored groups of the same table if they cover the frames, else classes."""
    if _lacking(store, sequence, scheme.array, wanted):
        return CLASSES
    return store.groups(sequence, scheme).name


def _require_confidence(
    store: LabelStore,
    frames: Sequence[Frame],
    indices: Mapping[str, Sequence[int]],
    *,
    segment: str,
) -> None:
    lacking = {
        (sequence, index)
        for sequence, wanted in indices.items()
        for index in _lacking(store, sequence, CONFIDENCE, wanted)
    }
    absent = [frame for frame in frames if (frame.sequence, frame.index) in lacking]
    if absent:
        raise MissingLabelsError(
            f"{len(absent)} of {len(frames)} training frames have no confidence: "
            + name_frames(absent),
            expected="the teacher's confidence of every training frame, for min_confidence",
            where=store.path.absolute(),
            remedy=f"run: {segment} --confidence, with the teacher that made the labels",
        )


def _lacking(store: LabelStore, sequence: str, name: str, indices: Sequence[int]) -> list[int]:
    """The frames without committed labels in an array."""
    if not store.has(sequence, name):
        return list(indices)
    committed = set(store.array(sequence, name).committed())
    return [index for index in indices if index not in committed]


def _missing_labels(
    absent: Sequence[Frame], frames: Sequence[Frame], store: LabelStore, segment: str
) -> MissingLabelsError:
    # Another teacher than the store's would be refused.
    teacher = f" {store.teacher_flags}" if store.teacher_flags else ", with the store's own teacher"
    return MissingLabelsError(
        f"{len(absent)} of {len(frames)} training frames have no labels: " + name_frames(absent),
        expected="the teacher's labels of every training frame",
        where=store.path.absolute(),
        remedy=f"run: {segment}{teacher}",
    )
