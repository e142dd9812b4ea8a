"""The camera that a recipe assumes, compared with the calibration and the images on disk."""

from collections.abc import Sequence

import numpy as np

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import shorten
from xdistill.pipeline.kitti.rectified import sequence_sizes, size_notes
from xdistill.train.data.dataset import MONODEPTH2_INTRINSICS, TripletDataset

TOLERANCE = 0.05
"""Of a focal length, relative; of the principal point, in shares of the image's size. KITTI's own
calibrations differ from Monodepth2's one matrix by up to 0.01 and 0.04."""


def camera_notes(dataset: TripletDataset) -> list[str]:
    """What a user should know of the camera before a training: each thing in one sentence."""
    return [*_matrix_notes(dataset), *size_notes(dataset.root, dataset.frames), *_turned(dataset)]


def _matrix_notes(dataset: TripletDataset) -> list[str]:
    """Calibrations that describe another camera than Monodepth2's matrix for KITTI."""
    if dataset.recipe.intrinsics == "calibration":
        return []
    dates: dict[str, list[str]] = {}
    for date, camera in sorted({(frame.date, frame.camera) for frame in dataset.frames}):
        try:
            matrix = read_calibration(dataset.root, date).intrinsics(camera, (1, 1))
        except XDistillError:
            # Nothing needs it here, and nothing is known to be wrong.
            continue
        shares = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        if _differs(shares):
            dates.setdefault(_shown(shares), []).append(date)
    return [
        f"the calibration of {shorten(sorted(set(names)), limit=2)} says fx, fy, cx, cy = {shares} "
        f"of the image's width and height; {_shown(MONODEPTH2_INTRINSICS)} are used, which are "
        "KITTI's: add --set intrinsics=calibration to train with this camera"
        for shares, names in dates.items()
    ]


def _differs(shares: Sequence[float]) -> bool:
    found, used = np.array(shares), np.array(MONODEPTH2_INTRINSICS)
    focal = np.abs(found[:2] / used[:2] - 1)
    return bool(max(*focal, *np.abs(found[2:] - used[2:])) > TOLERANCE)


def _shown(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.2f}" for share in shares)


def _turned(dataset: TripletDataset) -> list[str]:
    """Upright training images of wide ones, or the reverse."""
    recipe = dataset.recipe
    for _, (height, width) in sequence_sizes(dataset.root, dataset.frames).values():
        if (recipe.width - recipe.height) * (width - height) < 0:
            return [
                f"the images are {width}x{height} and are trained on at {recipe.width}x"
                f"{recipe.height}: if width and height are swapped, give --set "
                f"width={recipe.height} --set height={recipe.width}"
            ]
    return []
