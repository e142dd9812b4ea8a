"""A step whose numbers are not finite: which of them, and in which frames."""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from xdistill.train.data.dataset import Batch
from xdistill.train.model import Terms
from xdistill.train.training import TrainingError


def diverged(
    step: int, losses: Mapping[str, float], terms: Terms, *, batch: Batch, checkpoint: Path
) -> TrainingError:
    """The error of a step whose camera matrices, motions and loss are not all finite.

    Args:
        step: Number of the step.
        losses: Its loss and terms by name.
        terms: The same as tensors, with the motions they were made with.
        batch: Its frames.
        checkpoint: The run's checkpoint, of an earlier step.
    """
    cause, frames = _cause(terms, batch)
    listed = ", ".join(f"{name} {value}" for name, value in losses.items())
    return TrainingError(
        f"{cause} of step {step} is not finite: {listed}",
        expected="finite camera matrices, motions and loss terms",
        where=f"frames {'; '.join(frames)}",
        remedy=(
            f"check these frames or lower lr; --resume continues from the last good checkpoint, "
            f"{checkpoint}"
            if checkpoint.exists()
            else "check these frames or lower lr; no checkpoint was written yet"
        ),
    )


def _cause(terms: Terms, batch: Batch) -> tuple[str, list[str]]:
    """The first that is not finite, in the order of their making, and the frames where."""
    motion = "a predicted motion" if batch.motions is None else "a recorded motion"
    for name, values in (("a camera matrix", batch.intrinsics), (motion, terms.motions)):
        finite: Bool[Tensor, " batch"] = values.isfinite().flatten(1).all(1)
        marked = zip(batch.frames, finite.tolist(), strict=True)
        if lost := [frame for frame, good in marked if not good]:
            return name, lost
    return "the loss", list(batch.frames)
