"""From a network's logits to labels: resizing, averaging over views, confidence."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from xdistill.grouping.classes import CONFIDENCE_LEVELS, cityscapes
from xdistill.manifests.memory import memory_reported
from xdistill.teachers.engines.engine import SMALLER, describe_engine
from xdistill.teachers.protocol import ENGINES, Prediction, Record, TeacherSettings, fingerprint_of

Logits = Float[Tensor, "batch classes height width"]

GPU_CALLS = 3
"""Calls at once where a GPU runs the network: preparing frames takes a core as long as their pass
takes a fast GPU, so that two calls prepare while a third one's frames are in the network.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Frames ready for the network."""

    inputs: Float[Tensor, "batch 3 height width"]
    """Resized, normalised and, if the network needs it, padded."""
    padding: tuple[int, ...]
    """Pixels to cut off the logits again: left, right, top, bottom."""
    patches: tuple[tuple[int, int, int], ...] = ()
    """Of each input, where frames are cut along their longer side: its frame, first and last pixel.
    """


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the packages' warnings: their deprecations, and advice on training sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Network(ABC):
    """A segmentation network and the preparation of its frames."""

    align_corners: bool
    """Convention of the last resize, to the frame's own size."""
    train_ids: tuple[int, ...] = tuple(range(len(cityscapes().names)))
    """Train id of each class of the network; 255 for a class without one."""

    @abstractmethod
    def prepare(self, image: NDArray[np.uint8], scale: float) -> Prepared:
        """One RGB frame (height, width, 3) as input, at ``scale`` times the network's size."""

    @abstractmethod
    def logits(self, inputs: Float[Tensor, "batch 3 height width"]) -> Logits:
        """Logits of the network's classes, at any resolution that shows the whole frame."""

    def joined(
        self, logits: Logits, patches: Sequence[tuple[int, int, int]], *, size: tuple[int, int]
    ) -> Logits:
        """Logits of whole frames of ``size`` (height, width), from those of their patches."""
        raise NotImplementedError

    def probabilities(self, logits: Logits) -> Logits:
        """Probabilities that sum to 1 over the classes."""
        return logits.softmax(dim=1)


class NetworkTeacher:
    """Labels frames with a network."""

    def __init__(
        self,
        network: Network,
        *,
        settings: TeacherSettings,
        record: Record,
        device: torch.device,
    ) -> None:
        self._network = network
        self._settings = settings
        self._scales = settings.scales or (1.0,)
        self._table = np.array(network.train_ids, np.uint8)
        self.calls_at_once = GPU_CALLS if device.type == "cuda" else 1
        self.reads_pixels = True
        self._one_pass = Lock()
        # Batching changes rounding, and on a CPU it gains nothing.
        self._batches = device.type == "cuda" and settings.engine != ENGINES[0]
        self.record: Record = {
            **record,
            "engine": describe_engine(settings.engine),
            # Kinds of devices round differently, and CUDA's convolutions may use TF32.
            "device": device.type,
            "flip": settings.flip,
            "scales": list(self._scales),
            "classes": list(cityscapes().names),
        }
        self.fingerprint = fingerprint_of(self.record)

    def check_size(self, height: int, width: int) -> None:
        """Refuse frames of a size that the network fails at, without running it.

        Args:
            height: Of the frames, in pixels.
            width: Of the frames, in pixels.

        Raises:
            TeacherError: The network does not take this size under these settings.
        """
        blank = np.zeros((height, width, 3), np.uint8)
        for scale in self._scales:
            self._network.prepare(blank, scale)

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        """Label frames of one size.

        Raises:
            TeacherError: The network does not take frames of this size.
            MemoryShortError: Memory runs out.
        """
        step = len(images) if self._batches else 1
        work = f"the network's pass over {len(images)} frames"
        with torch.inference_mode(), memory_reported(work, options=SMALLER):
            parts = [self._label(images[at : at + step]) for at in range(0, len(images), step)]
        levels = [level for _, level in parts if level is not None]
        return Prediction(
            classes=np.concatenate([classes for classes, _ in parts]),
            confidence=np.concatenate(levels) if levels else None,
        )

    def _label(
        self, images: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        # All scales before any pass, so that a size is refused before the network has run.
        views = [self._prepared(images, scale) for scale in self._scales]
        # One call's maps at a time: several would need several times the memory.
        with self._one_pass:
            best, levels = self._pass(views, size=(images[0].shape[0], images[0].shape[1]))
        return self._table[best], levels

    def _pass(
        self, views: Sequence[Prepared], *, size: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """The best of the network's classes, and the confidence if asked for."""
        scores = self._scores(views, size=size)
        # The same indices as argmax, ties included, in a quarter of its time on a CPU.
        best = scores.max(dim=1).indices.to(torch.uint8).cpu().numpy()
        if not self._settings.confidence:
            return best, None
        probabilities = scores if self._averages else self._network.probabilities(scores)
        return best, confidence_levels(probabilities).cpu().numpy()

    def _prepared(self, images: Sequence[NDArray[np.uint8]], scale: float) -> Prepared:
        """Frames of one size as one batch."""
        frames = [self._network.prepare(image, scale) for image in images]
        inputs = torch.cat([frame.inputs for frame in frames])
        patches = tuple(
            (number, start, end)
            for number, frame in enumerate(frames)
            for _, start, end in frame.patches
        )
        return Prepared(inputs=inputs, padding=frames[0].padding, patches=patches)

    @property
    def _averages(self) -> bool:
        return self._settings.flip or len(self._scales) > 1

    def _scores(self, prepared: Sequence[Prepared], *, size: tuple[int, int]) -> Logits:
        """Logits of the one view, or probabilities averaged over all views; at frame size."""
        views = self._views(prepared, size=size)
        if not self._averages:
            return next(views)
        # Summed view by view, as mmsegmentation's SegTTAModel does: one map in memory.
        total = torch.zeros(())
        count = 0
        for logits in views:
            total = total.to(logits) + self._network.probabilities(logits)
            count += 1
        return total / count

    def _views(self, prepared: Sequence[Prepared], *, size: tuple[int, int]) -> Iterator[Logits]:
        for view in prepared:
            logits = self._network.logits(view.inputs)
            yield self._resized(logits, view, size=size)
            if self._settings.flip:
                mirrored = self._network.logits(view.inputs.flip(3)).flip(3)
                yield self._resized(mirrored, view, size=size)

    def _resized(
        self,
        logits: Float[Tensor, "batch classes rows columns"],
        view: Prepared,
        *,
        size: tuple[int, int],
    ) -> Float[Tensor, "frames classes {size[0]} {size[1]}"]:
        if view.patches:
            logits = self._network.joined(logits, view.patches, size=size)
        left, right, top, bottom = view.padding
        logits = logits[:, :, top : logits.shape[2] - bottom, left : logits.shape[3] - right]
        return interpolate(
            logits, size=size, mode="bilinear", align_corners=self._network.align_corners
        )


def confidence_levels(
    probabilities: Float[Tensor, "batch classes height width"],
) -> UInt8[Tensor, "batch height width"]:
    """Level of the top probability p: min(15, floor(16 p)), uint8."""
    top = probabilities.amax(dim=1)
    return (top * CONFIDENCE_LEVELS).floor().clamp(max=CONFIDENCE_LEVELS - 1).to(torch.uint8)


def slide(
    network: Callable[[Tensor], Logits],
    inputs: Float[Tensor, "batch 3 height width"],
    *,
    window: tuple[int, int],
    stride: tuple[int, int],
) -> Logits:
    """Average the logits of overlapping windows; the last window of a row or column moves back.

    Args:
        network: Gives logits at the size of its input.
        inputs: The whole frame.
        window: Height and width in pixels; a smaller frame is taken whole.
        stride: Vertical and horizontal steps in pixels.
    """
    height, width = inputs.shape[2:]
    corners = [
        (top, left)
        for top in offsets(height, window[0], stride[0])
        for left in offsets(width, window[1], stride[1])
    ]
    total, count = torch.zeros(()), inputs.new_zeros((1, 1, height, width))
    for top, left in corners:
        bottom, right = min(top + window[0], height), min(left + window[1], width)
        logits = network(inputs[:, :, top:bottom, left:right])
        total = total.to(logits) + pad(logits, (left, width - right, top, height - bottom))
        count[:, :, top:bottom, left:right] += 1
    return total / count


def offsets(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one side so that they cover it and never leave it."""
    steps = max(length - window + stride - 1, 0) // stride + 1
    return [max(min(step * stride + window, length) - window, 0) for step in range(steps)]
