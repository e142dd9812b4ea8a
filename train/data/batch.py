"""What one optimiser step reads: triplets of frames, cameras, labels, recorded motions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

OFFSETS = (-1, 1)
"""Source frames of a target frame, in frames (Monodepth2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Triplets (target, earlier source, later source) with what belongs to them."""

    frames: tuple[str, ...]
    """Target frames as split lines."""
    originals: UInt8[Tensor, "batch 3 3 height width"]
    """The triplets in RGB as recorded: the losses compare these."""
    inputs: UInt8[Tensor, "batch 3 3 height width"]
    """The triplets with jittered colours: the networks see these."""
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
        """The batch in page-locked memory, from which copies to a GPU overlap with work."""
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


def unit_images(
    images: UInt8[Tensor, "batch 3 3 height width"],
) -> tuple[Float[Tensor, "batch 3 height width"], ...]:
    """Target, earlier and later images in [0, 1]."""
    return (images.float() / 255).unbind(1)
