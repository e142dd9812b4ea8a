"""A teacher for the ablation: the street's exact labels, spoilt from a separate random stream."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.scheme import Scheme, remap
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.street.record.folder import LABELS
from xdistill.train.data.labels import resize_labels

Labels = NDArray[np.uint8]

BLOBS = 4
"""Ellipses of a wrong class per frame."""
BLOB_RADII = (2, 9)
"""Pixels."""


def exact_labels(street: Path, frame: Frame) -> Labels:
    """Train ids (H, W) of a street frame."""
    path = street / LABELS / frame.sequence / f"{frame.index:010d}.png"
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)


def spoilt(labels: Labels, rng: np.random.Generator) -> Labels:
    """Labels with borders wavering by a pixel and a few blobs of another class of the frame."""
    height, width = labels.shape
    rows = np.arange(height)[:, None] + rng.integers(-1, 2, labels.shape)
    columns = np.arange(width) + rng.integers(-1, 2, labels.shape)
    wavering = labels[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)].copy()
    present = np.unique(labels)
    for _ in range(BLOBS):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        radii = tuple(map(int, rng.integers(*BLOB_RADII, size=2)))
        cv2.ellipse(wavering, centre, radii, 0, 0, 360, int(rng.choice(present)), -1)
    return wavering


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoiltLabels:
    """Exact labels with a teacher's mistakes, as the trainer reads them (``FrameLabels``)."""

    street: Path
    """KITTI raw root with ``labels``."""
    scheme: Scheme
    """Grouping of the labels."""
    seed: int
    """Seed of the teacher's mistakes; a frame's mistakes never change."""
    giver: dict[Frame, Frame]
    """The frame whose labels each frame gets: itself or another."""
    fingerprint: str = "ablation"
    """Compared with nothing."""

    def read(self, frame: Frame, size: tuple[int, int]) -> Labels:
        """Groups (height, width) for a frame."""
        source = self.giver[frame]
        digest = hashlib.sha256(str(source).encode()).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(digest[:4], "little")])
        wrong = spoilt(exact_labels(self.street, source), rng)
        return remap(resize_labels(wrong, size), self.scheme)


def own(frames: Sequence[Frame]) -> dict[Frame, Frame]:
    """Each frame gets its own labels."""
    return {frame: frame for frame in frames}


def shuffled(frames: Sequence[Frame], *, seed: int) -> dict[Frame, Frame]:
    """Each frame gets the labels of a frame of another drive, if there is one."""
    rng = np.random.default_rng([seed, 1])
    result = {}
    for frame in frames:
        others = [other for other in frames if other.drive != frame.drive] or list(frames)
        result[frame] = others[int(rng.integers(len(others)))]
    return result
