"""The disparities to score: predicted by a run's network, or read from a file."""

import os
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdistill.manifests import disk
from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import read_at_size
from xdistill.pipeline.kitti.missing import require_frames
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.evaluation.depth_model import DepthModel, Disparity, load_depth_model
from xdistill.train.evaluation.protocols import EvaluationError
from xdistill.train.run import RUNS, RunError

BATCH_SIZE = 8
"""Frames in one forward pass; no score depends on it."""
NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"
MALFORMED = (
    *(OSError, ValueError, TypeError, SyntaxError, tokenize.TokenError),
    *(OverflowError, MemoryError, RecursionError),
)
"""What NumPy raises on the header of a .npy file, which is a Python literal."""
SAVE = (
    "save one array: numpy.save(path, numpy.stack(maps).astype(numpy.float32)), where every map "
    "has shape (height, width)"
)
BACKBONES = {"resnet18": "RN18", "resnet34": "RN34", "resnet50": "RN50"}
"""Encoders of recipes as the published tables name them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Disparities of the frames of a split, and what the report says about their source."""

    name: str
    """The method column of its row."""
    backbone: str | None
    """Encoder as the published tables name it; None if it is not known."""
    resolution: str
    """Width and height of the disparities: ``640x192``."""
    facts: Mapping[str, str]
    """What else the report says about the source, by heading."""
    disparities: Iterable[Disparity]
    """Scaled disparity (h, w) of each frame, in the split's order; read once."""


def predicted_by_run(
    run: Path, root: Path, frames: Sequence[Frame], *, device: str | None
) -> Predictions:
    """The disparities of a run's network, predicted as they are read.

    Args:
        run: Run folder, or one with Monodepth2's files.
        root: KITTI raw root.
        frames: The frames of the split.
        device: ``cpu`` or ``cuda``; None takes cuda where it is available.

    Raises:
        XDistillError: The network cannot be loaded, or frames have no image.
    """
    model = load_depth_model(run, device=device)
    require_frames(root, frames)
    recipe = model.recipe
    return Predictions(
        name=run.name,
        backbone=BACKBONES.get(recipe.encoder),
        resolution=f"{recipe.width}x{recipe.height}",
        facts={"run": str(run), "recipe": recipe.name, "poses": recipe.pose_source}
        | ({"remark": recipe.remark} if recipe.remark else {}),
        disparities=predict_frames(model, root, frames),
    )


def predicted_in_file(path: Path, frames: Sequence[Frame]) -> Predictions:
    """The disparities of a .npy file, whose network is not known.

    Raises:
        EvaluationError: As in ``read_disparities``.
    """
    disparities = read_disparities(path, frames)
    _, height, width = disparities.shape
    return Predictions(
        name=path.name,
        backbone=None,
        resolution=f"{width}x{height}",
        facts={"predictions": str(path)},
        disparities=disparities,
    )


def newest_trained_run(folder: Path = RUNS) -> Path:
    """The run folder with the newest checkpoint.

    Raises:
        RunError: No run has a checkpoint.
    """
    checkpoints = list(folder.glob(f"*/{CHECKPOINT_FILE}"))
    if not checkpoints:
        raise RunError(
            "there is no trained run",
            expected=f"a run folder with {CHECKPOINT_FILE}",
            where=folder.absolute(),
            remedy="run xd-train first, or name a run with --run",
        )
    return max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent


def predict_frames(model: DepthModel, root: Path, frames: Sequence[Frame]) -> Iterator[Disparity]:
    """Scaled disparity (h, w) of each frame at the recipe's size, in the frames' order.

    Raises:
        MissingFrameError: A frame has no image.
        ImageError: An image is truncated or damaged.
    """
    for start in range(0, len(frames), BATCH_SIZE):
        members = frames[start : start + BATCH_SIZE]
        images = [read_at_size(image_path(root, frame), model.recipe.size) for frame in members]
        yield from model.disparities(np.stack(images))


def saved(disparities: Iterable[Disparity], path: Path, *, count: int) -> Iterator[Disparity]:
    """The disparities, written to a .npy file as they pass.

    Args:
        disparities: (h, w) each, all of one size.
        path: Takes its name once all disparities have passed; ``read_disparities`` reads it.
        count: Number of disparities.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        with disk.replacing(path) as aside, aside.open("wb") as file:
            for number, disparity in enumerate(disparities):
                # Written, not mapped: on a full disk, a page of a map is a SIGBUS.
                if number == 0:
                    header = {"descr": "<f4", "fortran_order": False}
                    shape = (count, *disparity.shape)
                    np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
                file.write(disparity.astype("<f4").tobytes())
                yield disparity
    except XDistillError:
        # Some of these are also an OSError: an image that cannot be read, for one.
        raise
    except OSError as error:
        raise disk.unwritable(path, error.strerror, option="--save") from error


def read_disparities(path: Path, frames: Sequence[Frame]) -> NDArray[Any]:
    """Open a file of predictions: scaled disparity (frames, h, w) in the split's order.

    Monodepth2 saves this form with ``--save_pred_disps``. The file is mapped, not loaded.

    Raises:
        EvaluationError: The file is missing, has another shape, or holds values that are not
            disparities.
    """
    values = _mapped(path)
    if values.ndim != 3 or values.dtype.kind != "f" or 0 in values.shape[1:]:
        found = f"the predictions are {values.dtype} of shape {values.shape}"
        raise _not_predictions(path, found)
    if len(values) != len(frames):
        raise EvaluationError(
            f"the file holds predictions of {len(values)} images",
            expected=f"{len(frames)}, one for each frame of the split in its order",
            where=path,
            remedy="predict this split, or name the predicted split with --split",
        )
    for frame, disparity in zip(frames, values, strict=True):
        require_disparity(
            disparity, frame, where=path, remedy="save scaled disparity, not depth or a logarithm"
        )
    return values


def _mapped(path: Path) -> NDArray[Any]:
    """The array of a .npy file, mapped into memory."""
    try:
        with os.fdopen(disk.open_regular(path), "rb") as file:
            magic, size = file.read(len(NPY_MAGIC)), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _unreadable(path, error.strerror, disk.reading_remedy(error, SAVE)) from error
    if magic.startswith(ZIP_MAGIC):
        raise _not_predictions(path, "the file is an archive of several arrays (.npz)")
    if magic != NPY_MAGIC:
        raise _unreadable(path, "it is not a .npy file")
    try:
        # NumPy multiplies the sides that the header claims, and warns where that overflows.
        with np.errstate(over="ignore"):
            values = np.lib.format.open_memmap(path, mode="r")
    except MALFORMED as error:
        raise _unreadable(path, error) from error
    if values.offset + values.nbytes != size:
        surplus = size - values.offset - values.nbytes
        raise _not_predictions(path, f"{surplus} bytes follow the array in the file")
    return values


def require_disparity(
    disparity: NDArray[Any], frame: Frame, *, where: Path | None, remedy: str
) -> None:
    """Check that every value is finite and positive.

    Raises:
        EvaluationError: Some are not: how many, and in which frame.
    """
    bad = int(disparity.size - np.count_nonzero((disparity > 0) & np.isfinite(disparity)))
    if bad:
        raise EvaluationError(
            f"{bad} of {disparity.size} disparities of frame {frame} are not finite and positive",
            expected="scaled disparity: 1 / depth, above 0 everywhere",
            where=where,
            remedy=remedy,
        )


def _unreadable(path: Path, reason: object, remedy: str = SAVE) -> EvaluationError:
    return _not_predictions(path, f"the predictions cannot be read ({reason})", remedy)


def _not_predictions(path: Path, found: str, remedy: str = SAVE) -> EvaluationError:
    return EvaluationError(
        found,
        expected="a .npy file of floating-point disparities of shape (frames, height, width)",
        where=path,
        remedy=remedy,
    )
