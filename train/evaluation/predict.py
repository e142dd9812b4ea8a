"""Disparity of the frames of a split, by the depth network of a run."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from xdistill.manifests import atomic
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.data.images import read_at_size
from xdistill.train.evaluation.evaluate import Disparity
from xdistill.train.objective.depth import scaled_disparity
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import RUNS, RunError

BATCH_SIZE = 8
"""Frames in one forward pass; no score depends on it."""


def newest_trained_run(folder: Path = RUNS) -> Path:
    """The run folder with the newest checkpoint.

    Raises:
        RunError: No run has a checkpoint.
    """
    checkpoints = list(folder.glob(f"*/{CHECKPOINT_FILE}"))
    if not checkpoints:
        raise RunError(
            "no trained run",
            expected=f"a folder with {CHECKPOINT_FILE}",
            where=folder.absolute(),
            remedy="run xd-train first, or give a run with --run",
        )
    return max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent


def predict(
    network: nn.Module,
    recipe: Recipe,
    root: Path,
    frames: Sequence[Frame],
    *,
    device: torch.device,
) -> Iterator[Disparity]:
    """Scaled disparity (h, w) of each frame at the recipe's size, finest scale.

    Args:
        network: Depth network in evaluation mode on ``device``.
        recipe: The recipe it was trained by.
        root: KITTI raw root.
        frames: Frames to predict, in the order wanted.
        device: Where to predict.

    Raises:
        MissingFrameError: A frame has no image.
        ImageError: An image is truncated or damaged.
    """
    for start in range(0, len(frames), BATCH_SIZE):
        images = np.stack(
            [
                read_at_size(image_path(root, frame), recipe.size)
                for frame in frames[start : start + BATCH_SIZE]
            ]
        )
        # Not around the loop: what runs between two batches is the caller's.
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
            finest = network(batch)[0]
            disparity, _ = scaled_disparity(
                finest, min_depth=recipe.min_depth, max_depth=recipe.max_depth
            )
        yield from disparity[:, 0].cpu().numpy()


def kept(disparities: Iterable[Disparity], path: Path, *, count: int) -> Iterator[Disparity]:
    """The disparities, written on their way to a file that ``read_predictions`` reads.

    Args:
        disparities: (h, w) each, of one size.
        path: Gets its name when all of them have passed.
        count: How many there are.
    """
    aside = atomic.partial_name(path)
    for number, disparity in enumerate(disparities):
        if number == 0:
            shape = (count, *disparity.shape)
            file = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=shape)
        file[number] = disparity
        yield disparity
    file.flush()
    aside.replace(path)
