"""Recorded poses (oxts): where the car was, and how a camera moved between two frames."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from xdistill.manifests.disk import PathLike, as_path, read_text
from xdistill.pipeline.kitti.calibration import Transform, read_calibration
from xdistill.pipeline.kitti.errors import PoseError
from xdistill.pipeline.kitti.frames import Frame, names_in

EARTH_RADIUS_M = 6378137.0
"""Equatorial radius of the Mercator projection in the KITTI development kit."""
RECORD = re.compile(r"([0-9]{10})\.txt")
FIELDS = 30
"""Numbers in one oxts record; the first six are the pose, the ninth the forward speed."""
LIMITS = {
    "latitude": 89.9,
    "longitude": 180.0,
    "altitude": 1e5,
    "roll": 2 * np.pi,
    "pitch": 2 * np.pi,
    "yaw": 2 * np.pi,
}
"""Largest value, of either sign, of each field of a pose: beyond it a record is broken. A Mercator
projection has no poles."""


def read_record(root: PathLike, drive: str, index: int) -> Float64[np.ndarray, "30"]:
    """One oxts record (30,): latitude and longitude in degrees, altitude in m, roll, pitch and yaw
    in radians, then speeds, accelerations and rates.

    Raises:
        PoseError: The record is missing, has another form, or is of no place on the road.
    """
    path = _folder(root, drive) / f"{index:010d}.txt"
    told = f"the oxts record of frame {index}"
    try:
        record = np.array([float(field) for field in read_text(path).split()])
    except FileNotFoundError as error:
        raise _error(path, drive, f"there is no oxts record of frame {index}") from error
    except OSError as error:
        raise _error(path, drive, f"{told} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _error(path, drive, f"{told} is damaged ({str(error).splitlines()[0]})") from error
    if record.shape != (FIELDS,):
        raise _error(path, drive, f"{told} has {len(record)} numbers")
    for (name, limit), value in zip(LIMITS.items(), record, strict=False):
        # Written so that NaN is refused too.
        if not abs(value) <= limit:
            raise _error(path, drive, f"the {name} in {told} is {value:g}")
    if not np.isfinite(record).all():
        raise _error(path, drive, f"{told} has numbers that are not finite")
    return record


def read_pose(root: PathLike, drive: str, index: int) -> Transform:
    """Transform (4, 4) of the inertial unit to the world, metres.

    Mercator projection scaled at the latitude of the drive's first record, rotation Rz Ry Rx
    (Geiger et al., IJRR 2013). The world's x is east, y north, z up.

    Raises:
        PoseError: A record is missing or has another form.
    """
    latitude, longitude, altitude, roll, pitch, yaw = read_record(root, drive, index)[:6]
    # Absolute, so that the cache stays right when the process changes its folder.
    scale = np.cos(np.radians(_first_latitude(as_path(root).absolute(), drive)))
    pose = np.eye(4)
    pose[:3, :3] = _rotation(2, yaw) @ _rotation(1, pitch) @ _rotation(0, roll)
    pose[:3, 3] = (
        scale * EARTH_RADIUS_M * np.radians(longitude),
        scale * EARTH_RADIUS_M * np.log(np.tan(np.radians(90.0 + latitude) / 2)),
        altitude,
    )
    return pose


def camera_motion(root: PathLike, target: Frame, source: Frame) -> Transform:
    """Transform (4, 4) of points in the target camera to the source camera, T(t->s), metres.

    Raises:
        PoseError: A record is missing or malformed, the frames belong to different drives, or the
            calibration gives no finite motion.
        CalibrationError: The date's calibration is missing or incomplete.
    """
    if target.drive != source.drive:
        raise PoseError(
            f"frames {target} and {source} belong to different drives",
            expected="two frames of one drive",
            remedy="choose frames of one drive: poses of different drives share no world",
        )
    calibration = read_calibration(root, target.date)
    try:
        target_to_world, source_to_world = (
            read_pose(root, frame.drive, frame.index)
            @ np.linalg.inv(calibration.imu_to_camera(frame.camera))
            for frame in (target, source)
        )
        motion = np.asarray(np.linalg.inv(source_to_world) @ target_to_world)
    except np.linalg.LinAlgError:
        motion = np.full((4, 4), np.nan)
    # In the precision in which a training uses it; written so that NaN is refused too.
    if not (np.abs(motion) <= np.finfo(np.float32).max).all():
        raise PoseError(
            f"the motion from {target} to {source} is not finite",
            expected="rotations and translations in the date's calib_*.txt",
            where=as_path(root) / target.date,
            remedy="download the date's calibration archive again",
        )
    return motion


def forward_motions(root: PathLike, frames: Sequence[Frame]) -> Float64[np.ndarray, "frames 4 4"]:
    """T(t->s) (N, 4, 4) from each frame to the next of its drive, metres.

    Raises:
        PoseError: A record is missing or has another form.
        CalibrationError: A date's calibration is missing or incomplete.
    """
    return np.stack([camera_motion(root, frame, frame.neighbour(1)) for frame in frames])


def _rotation(axis: int, angle: float) -> Float64[np.ndarray, "3 3"]:
    """Rotation (3, 3) about one axis by ``angle`` radians, counter-clockwise."""
    second, third = (axis + 1) % 3, (axis + 2) % 3
    result = np.eye(3)
    result[second, second] = result[third, third] = np.cos(angle)
    result[third, second] = np.sin(angle)
    result[second, third] = -np.sin(angle)
    return result


@lru_cache(maxsize=512)
def _first_latitude(root: Path, drive: str) -> float:
    """Latitude, in degrees, of the drive's first record on disk."""
    folder = _folder(root, drive)
    records = [int(match[1]) for name in names_in(folder) if (match := RECORD.fullmatch(name))]
    if not records:
        raise _error(folder, drive, "the drive has no oxts records")
    return float(read_record(root, drive, min(records))[0])


def _folder(root: PathLike, drive: str) -> Path:
    return as_path(root) / drive / "oxts" / "data"


def _error(path: Path, drive: str, found: str) -> PoseError:
    return PoseError(
        found,
        expected=f"{FIELDS} numbers: latitude and longitude in degrees, altitude in metres, roll, "
        "pitch and yaw in radians, ...",
        where=path,
        remedy=f"download the oxts records of {drive}, or train with a pose network",
    )
