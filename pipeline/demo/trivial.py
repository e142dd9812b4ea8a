"""Trivial predictions, which a trained network must beat."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xdistill.manifests import disk
from xdistill.pipeline.demo.step import DemoError
from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import image_size
from xdistill.pipeline.kitti.splits import read_split
from xdistill.pipeline.kitti.velodyne import project_scan, read_scan, scan_path

CONSTANT, ROW_PRIOR = "constant", "row-prior"
EVERY = 4
"""The row prior uses every fourth training frame; consecutive ones are a metre apart."""


def write_trivial_predictions(folder: Path, *, data: Path, train: Path, test: Path) -> None:
    """Write ``constant.npy`` and ``row-prior.npy``: disparity (frames, h, w) for ``xd-eval``.

    Args:
        folder: Where to write.
        data: KITTI raw root.
        train: Split whose LiDAR gives the row prior.
        test: Split to predict.
    """
    frames = read_split(test)
    height, width = image_size(image_path(data, frames[0]))
    folder.mkdir(parents=True, exist_ok=True)
    rows = 1 / row_depths(data, read_split(train)[::EVERY], size=(height, width))
    for name, column in ((CONSTANT, np.ones(height)), (ROW_PRIOR, rows)):
        one = np.repeat(column[:, None], width, axis=1).astype(np.float32)
        content = io.BytesIO()
        np.save(content, np.repeat(one[None], len(frames), axis=0))
        disk.write(folder / f"{name}.npy", [content.getvalue()])


def row_depths(
    data: Path, frames: Sequence[Frame], *, size: tuple[int, int]
) -> NDArray[np.float64]:
    """Median LiDAR depth (height,) of each image row in metres; rows without any take the nearest.

    Raises:
        DemoError: No LiDAR point falls into the frames.
    """
    found = [_points(data, frame, size) for frame in frames]
    rows = np.concatenate([rows for rows, _ in found])
    depths = np.concatenate([depths for _, depths in found])
    seen = np.unique(rows)
    if not len(seen):
        raise DemoError(
            "no LiDAR point falls into the training frames",
            expected="velodyne scans",
            where=data,
            remedy="render the street again",
        )
    medians = [np.median(depths[rows == row]) for row in seen]
    return np.asarray(np.interp(np.arange(size[0]), seen, medians))


def _points(
    data: Path, frame: Frame, size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Row and depth in metres of every pixel that a LiDAR point falls on."""
    rows, _, depths = project_scan(
        read_scan(scan_path(data, frame)),
        read_calibration(data, frame.date),
        frame.camera,
        size=size,
        depth="velodyne_x",
    )
    return rows, depths
