"""Triplets from disk, and the order in which a training sees them, whatever step it starts at."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import read_at_size
from xdistill.pipeline.kitti.oxts import camera_motion, read_pose
from xdistill.pipeline.kitti.rectified import require_rectified
from xdistill.pipeline.store.images import CachedImages
from xdistill.train.data.augment import (
    NOTHING,
    Augmentation,
    draw_augmentation,
    jittered,
    mirror_intrinsics,
    mirror_motion,
)
from xdistill.train.data.labels import FrameLabels
from xdistill.train.data.triplets import OFFSETS
from xdistill.train.objective.geometry import pixel_intrinsics
from xdistill.train.recipe.recipe import Recipe

MONODEPTH2_INTRINSICS = (0.58, 1.92, 0.5, 0.5)
"""fx, fy, cx, cy as shares of width and height, for every KITTI drive (Monodepth2)."""
ORDER_STREAM, AUGMENTATION_STREAM = 0, 1
"""Separate random streams, so that a change to one leaves the other unchanged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Triplets (target, earlier source, later source), cameras, labels and recorded motions."""

    frames: tuple[str, ...]
    """Target frames as split lines."""
    originals: UInt8[Tensor, "batch 3 3 height width"]
    """The triplets in RGB as recorded, which the losses compare."""
    inputs: UInt8[Tensor, "batch 3 3 height width"]
    """The triplets with jittered colours, which the networks see."""
    intrinsics: Float[Tensor, "batch 3 3"]
    """K in pixels of the images' size."""
    labels: UInt8[Tensor, "batch height width"] | None
    """The teacher's groups on the target frame, 255 = ignore; None without distillation."""
    motions: Float[Tensor, "batch 2 4 4"] | None
    """Recorded T(target -> source) of both sources, metres; None with a pose network."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, so that copies to a GPU overlap with computation."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            originals=change(self.originals),
            inputs=change(self.inputs),
            intrinsics=change(self.intrinsics),
            labels=None if self.labels is None else change(self.labels),
            motions=None if self.motions is None else change(self.motions),
        )


def unit_images(
    images: UInt8[Tensor, "batch 3 3 height width"],
) -> tuple[Float[Tensor, "batch 3 height width"], ...]:
    """Target, earlier and later images in [0, 1]."""
    return (images.float() / 255).unbind(1)


@dataclass(frozen=True, slots=True)
class SampleKey:
    """One sample of the stream."""

    epoch: int | None
    """Epoch of the draw, from 0; None leaves the triplet as recorded."""
    index: int
    """Position in the list of frames."""


class TripletDataset(Dataset["Batch | XDistillError"]):
    """Triplets with their cameras, labels and recorded motions, as batches of one.

    A frame that cannot be read is returned as its error, not raised: a worker process would bury
    the message in its traceback.
    """

    def __init__(
        self,
        root: Path,
        frames: Sequence[Frame],
        *,
        recipe: Recipe,
        labels: FrameLabels | None,
        images: CachedImages | None = None,
    ) -> None:
        self.root = root
        self.frames = tuple(frames)
        self.recipe = recipe
        self.labels = labels
        self.images = images

    def require_recordings(self) -> None:
        """Check the recordings that the recipe needs beside the images.

        Raises:
            CalibrationError: A date's calibration is missing or incomplete, or not of these images.
            PoseError: A recorded pose is missing or malformed.
        """
        recorded = self.recipe.pose == "oxts"
        if recorded or self.recipe.intrinsics == "calibration":
            require_rectified(self.root, self.frames)
        for date, camera in sorted({(frame.date, frame.camera) for frame in self.frames}):
            calibration = read_calibration(self.root, date)
            if self.recipe.intrinsics == "calibration":
                calibration.intrinsics(camera, self.recipe.size)
            if recorded:
                calibration.imu_to_camera(camera)
        if recorded:
            wanted = {(f.drive, f.index + o) for f in self.frames for o in (0, *OFFSETS)}
            for drive, index in sorted(wanted):
                read_pose(self.root, drive, index)

    def __getitem__(self, key: SampleKey) -> Batch | XDistillError:
        try:
            return self.sample(key.index, self._augmentation(key))
        except XDistillError as error:
            return error

    def _augmentation(self, key: SampleKey) -> Augmentation:
        if key.epoch is None:
            return NOTHING
        return draw_augmentation(
            np.random.default_rng([self.recipe.seed, AUGMENTATION_STREAM, key.epoch, key.index]),
            flip_probability=self.recipe.flip_probability,
            jitter_probability=self.recipe.jitter_probability,
        )

    def sample(self, index: int, augmentation: Augmentation) -> Batch:
        """One augmented triplet.

        Raises:
            XDistillError: An image, label, calibration or pose cannot be read.
        """
        frame = self.frames[index]
        triplet = [frame, *(frame.neighbour(offset) for offset in OFFSETS)]
        images = [_mirrored(self._image(f), augmentation) for f in triplet]
        labels = None
        if self.labels is not None:
            labels = _mirrored(self.labels.read(frame, self.recipe.size), augmentation)
        return Batch(
            frames=(str(frame),),
            originals=_stacked(images),
            inputs=_stacked(jittered(images, augmentation)),
            intrinsics=self._intrinsics(frame, augmentation)[None],
            labels=None if labels is None else torch.from_numpy(labels)[None],
            motions=self._motions(triplet, augmentation),
        )

    def _image(self, frame: Frame) -> NDArray[np.uint8]:
        """RGB (height, width, 3) at the recipe's size, from the cache if there is one."""
        if self.images is not None:
            return self.images.read(frame)
        return read_at_size(image_path(self.root, frame), self.recipe.size)

    def _intrinsics(self, frame: Frame, augmentation: Augmentation) -> torch.Tensor:
        """K (3, 3); Monodepth2's is the same for mirrored images."""
        recipe = self.recipe
        if recipe.intrinsics == "monodepth2":
            shares = torch.tensor(MONODEPTH2_INTRINSICS)
            return pixel_intrinsics(shares, height=recipe.height, width=recipe.width)
        matrix = read_calibration(self.root, frame.date).intrinsics(frame.camera, recipe.size)
        if augmentation.mirrored:
            matrix = mirror_intrinsics(matrix, width=recipe.width)
        return torch.from_numpy(matrix).float()

    def _motions(self, triplet: Sequence[Frame], augmentation: Augmentation) -> torch.Tensor | None:
        """Recorded T(target -> source) (1, 2, 4, 4); None with a pose network."""
        if self.recipe.pose != "oxts":
            return None
        target, *sources = triplet
        motions = [camera_motion(self.root, target, source) for source in sources]
        if augmentation.mirrored:
            motions = [mirror_motion(motion) for motion in motions]
        return torch.from_numpy(np.stack(motions)).float()[None]


def _mirrored(array: NDArray[np.uint8], augmentation: Augmentation) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array[:, ::-1]) if augmentation.mirrored else array


def _stacked(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Images (height, width, 3) as one tensor (1, images, 3, height, width)."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())[None]


def batch_keys(
    frames: int, *, seed: int, batch_size: int, start: int, stop: int
) -> Iterator[list[SampleKey]]:
    """The samples of optimiser steps ``start`` + 1 to ``stop``.

    Every epoch visits the frames in a new order drawn from the seed and leaves out an incomplete
    last batch (Monodepth2).
    """
    per_epoch = frames // batch_size
    for epoch in range(start // per_epoch, -(-stop // per_epoch)):
        order = np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(frames).tolist()
        first = max(start - epoch * per_epoch, 0)
        for batch in range(first, min(stop - epoch * per_epoch, per_epoch)):
            members = order[batch * batch_size : (batch + 1) * batch_size]
            yield [SampleKey(epoch, index) for index in members]


def plain_keys(frames: int, *, batch_size: int) -> Iterator[list[SampleKey]]:
    """Every frame once, in order and without augmentation."""
    for first in range(0, frames, batch_size):
        last = min(first + batch_size, frames)
        yield [SampleKey(None, index) for index in range(first, last)]


def collate(samples: Sequence[Batch]) -> Batch:
    """Join batches of one sample each."""
    first = samples[0]
    return Batch(
        frames=tuple(frame for sample in samples for frame in sample.frames),
        originals=torch.cat([sample.originals for sample in samples]),
        inputs=torch.cat([sample.inputs for sample in samples]),
        intrinsics=torch.cat([sample.intrinsics for sample in samples]),
        labels=None
        if first.labels is None
        else torch.cat([s.labels for s in samples if s.labels is not None]),
        motions=None
        if first.motions is None
        else torch.cat([s.motions for s in samples if s.motions is not None]),
    )
