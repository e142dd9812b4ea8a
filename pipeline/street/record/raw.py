"""The text files of KITTI's raw layout: calibration, oxts records, timestamps."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import numpy as np

from xdistill.pipeline.street.record import rig
from xdistill.pipeline.street.record.motion import GRAVITY_M_S2, Motion
from xdistill.pipeline.street.world.solids import Floats, rotation

DATE = "2000_01_01"
"""Folder of every drive: a day on which KITTI recorded nothing."""
CALIBRATION_TIME = "01-Jan-2000 00:00:00"
EARTH_RADIUS_M = 6378137.0
LATITUDE_DEGREES, LONGITUDE_DEGREES = 49.0, 8.4
"""Of each drive's first record, where its world is a plane (Mercator, scaled by the latitude)."""
OXTS_FIELDS = (
    "lat lon alt roll pitch yaw vn ve vf vl vu ax ay az af al au wx wy wz wf wl wu "
    "pos_accuracy vel_accuracy navstat numsats posmode velmode orimode"
).split()
STATUS = "0.05 0.01 4 8 4 4 0"
"""Accuracies in m and m/s, then the receiver's modes, as in a KITTI record."""


def drive_name(number: int) -> str:
    """Date and drive, relative to the root."""
    return f"{DATE}/{DATE}_drive_{number:04d}_sync"


def calibration(size: tuple[int, int]) -> dict[str, str]:
    """Name and text of the three calibration files, for images of ``size`` (height, width)."""
    cameras: dict[str, Iterable[float]] = {"corner_dist": [0.0995]}
    turn = rig.RECTIFICATION[:3, :3]
    for camera, projection in rig.projections(size).items():
        shift = np.array([rig.BASELINES_M[camera], 0.0, 0.0])
        cameras |= {
            f"S_{camera}": [size[1], size[0]],
            f"K_{camera}": projection[:, :3].ravel(),
            f"D_{camera}": np.zeros(5),
            f"R_{camera}": np.eye(3).ravel(),
            f"T_{camera}": turn.T @ shift,
            f"S_rect_{camera}": [size[1], size[0]],
            f"R_rect_{camera}": turn.ravel(),
            f"P_rect_{camera}": projection.ravel(),
        }
    distortion = {"delta_f": [0.0, 0.0], "delta_c": [0.0, 0.0]}
    return {
        "calib_cam_to_cam.txt": _keys(cameras),
        "calib_velo_to_cam.txt": _keys(_parts(rig.VELO_TO_CAM) | distortion),
        "calib_imu_to_velo.txt": _keys(_parts(rig.IMU_TO_VELO)),
    }


def _parts(transform: Floats) -> dict[str, Iterable[float]]:
    return {"R": transform[:3, :3].ravel(), "T": transform[:3, 3]}


def _keys(values: Mapping[str, Iterable[float]]) -> str:
    lines = [f"calib_time: {CALIBRATION_TIME}"]
    for key, numbers in values.items():
        lines.append(f"{key}: " + " ".join(f"{number:.{rig.DECIMALS}e}" for number in numbers))
    return "\n".join(lines) + "\n"


def oxts_record(motion: Motion, frame: int) -> str:
    """The 30 fields of a frame (see ``OXTS_FIELDS``), in degrees, metres, radians and seconds."""
    east, north, height = motion.position[frame] - np.array([0.0, motion.position[0, 1], 0.0])
    roll, pitch, yaw = motion.angles[frame]
    level = rotation(yaw=yaw).T
    body = rotation(yaw=yaw, pitch=pitch, roll=roll).T
    forces = motion.acceleration[frame] + np.array([0.0, 0.0, GRAVITY_M_S2])
    flow = level @ motion.velocity[frame]
    spin = _level_rates(motion, frame)
    fields = [
        *_coordinates(east, north),
        height,
        roll,
        pitch,
        (yaw + np.pi) % (2 * np.pi) - np.pi,
        motion.velocity[frame, 1],
        motion.velocity[frame, 0],
        *flow,
        *(body @ forces),
        *(level @ forces),
        *(body @ level.T @ spin),
        *spin,
    ]
    return " ".join(repr(float(field)) for field in fields) + f" {STATUS}\n"


def _level_rates(motion: Motion, frame: int) -> Floats:
    """Rate of turn about the forward, leftward and upward axes, radians / second."""
    pitch = motion.angles[frame, 1]
    roll_rate, pitch_rate, yaw_rate = motion.rates[frame]
    return np.array([roll_rate * np.cos(pitch), pitch_rate, yaw_rate - roll_rate * np.sin(pitch)])


def _coordinates(east: float, north: float) -> tuple[float, float]:
    """Latitude and longitude in degrees of a point, metres from the first record's latitude."""
    scale = np.cos(np.radians(LATITUDE_DEGREES)) * EARTH_RADIUS_M
    origin = np.log(np.tan(np.pi / 4 + np.radians(LATITUDE_DEGREES) / 2))
    latitude = np.degrees(2 * np.arctan(np.exp(origin + north / scale)) - np.pi / 2)
    return float(latitude), LONGITUDE_DEGREES + float(np.degrees(east / scale))


def timestamps(motion: Motion, number: int, *, delay: float) -> str:
    """One line per frame; ``delay`` (s) separates the sensors, minutes separate the drives."""
    start = datetime(2000, 1, 1, 8) + timedelta(minutes=number)
    times = (start + timedelta(seconds=float(t) + delay) for t in motion.time)
    return "".join(f"{time:%Y-%m-%d %H:%M:%S.%f}000\n" for time in times)
