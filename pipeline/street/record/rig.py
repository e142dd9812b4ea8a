"""The recording car: where camera, LiDAR and inertial unit sit, in the terms of KITTI's files.

The numbers are invented, with KITTI's magnitudes. No angle is zero, so that a missing or inverted
transform shows.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from xdistill.pipeline.street.world.solids import Floats, Triple, rotation

IMU_HEIGHT_M = 0.93
FOCAL = (0.58, 1.92)
"""Focal lengths as shares of width and height, as Monodepth2 assumes for every KITTI drive."""
PIXELS_FROM_ONE = 1.0
"""KITTI's calibration counts pixels from 1, arrays count from 0."""
BASELINES_M = {"00": 0.0, "01": -0.54, "02": 0.06, "03": -0.47}
"""x of rectified camera 0's origin in each camera."""
AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""Vehicle axes (forward, left, up) to camera axes (right, down, forward)."""
DECIMALS = 12


Transform = Float64[np.ndarray, "4 4"]


def _rounded(matrix: Floats) -> Floats:
    """Rounded as in the files, so that the world is rendered with the numbers that are written."""
    return np.array([float(f"{value:.{DECIMALS}e}") for value in matrix.ravel()]).reshape(
        matrix.shape
    )


def _transform(turn: Float64[np.ndarray, "3 3"], shift: Triple) -> Transform:
    result = np.eye(4)
    result[:3, :3] = _rounded(turn)
    result[:3, 3] = shift
    return result


IMU_TO_VELO = _transform(rotation(yaw=-0.0008, pitch=-0.002, roll=0.0148), (-0.81, 0.32, -0.80))
VELO_TO_CAM = _transform(
    AXES @ rotation(yaw=0.0075, pitch=-0.0148, roll=0.0006), (-0.004, -0.076, -0.272)
)
RECTIFICATION = _transform(
    AXES @ rotation(yaw=-0.0098, pitch=0.0074, roll=0.0043) @ AXES.T, (0.0, 0.0, 0.0)
)


def intrinsics(size: tuple[int, int]) -> Float64[np.ndarray, "3 3"]:
    """Intrinsics in pixels of an image of ``size`` (height, width), counting from 0."""
    height, width = size
    return np.array(
        [
            [FOCAL[0] * width, 0.0, 0.5 * width],
            [0.0, FOCAL[1] * height, 0.5 * height],
            [0.0, 0.0, 1.0],
        ]
    )


def projections(size: tuple[int, int]) -> Mapping[str, Float64[np.ndarray, "3 4"]]:
    """P_rect of each camera, counting pixels from 1."""
    matrix = intrinsics(size)
    matrix[:2, 2] += PIXELS_FROM_ONE
    return {
        camera: _rounded(matrix @ np.column_stack([np.eye(3), [baseline, 0.0, 0.0]]))
        for camera, baseline in BASELINES_M.items()
    }


def imu_to_camera() -> Transform:
    """Transform of the inertial unit to rectified camera 2, metres."""
    shift = np.eye(4)
    shift[0, 3] = BASELINES_M["02"]
    return np.asarray(shift @ RECTIFICATION @ VELO_TO_CAM @ IMU_TO_VELO)
