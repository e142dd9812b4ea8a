"""Calibration of one recording date: projections, rectification and rig transforms."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from xdistill.manifests.disk import PathLike, as_path, read_bytes, read_text, reading_remedy
from xdistill.pipeline.kitti.errors import CalibrationError
from xdistill.pipeline.kitti.frames import Camera
from xdistill.pipeline.kitti.layout import calibration_remedy

Transform = Float64[np.ndarray, "4 4"]
"""Of homogeneous points in metres."""
CAMERAS_FILE = "calib_cam_to_cam.txt"
VELO_FILE = "calib_velo_to_cam.txt"
IMU_FILE = "calib_imu_to_velo.txt"
NUMBERS: Mapping[Camera, str] = {"l": "02", "r": "03"}
"""Suffix of the camera's keys in calib_cam_to_cam.txt."""
MAX_SIDE = 16384
"""Largest width and height in pixels: a file with larger ones is damaged, and would fill memory."""
ROTATION_TOLERANCE = 0.01
"""Largest error in R^T R = 1; KITTI's files have seven digits."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of one date (Geiger et al., IJRR 2013).

    Each file and key is read when it is first needed, so that what a task does not use may be
    missing. Every array is read-only.

    Raises:
        CalibrationError: In any method: a file or a key is missing, or its values have another
            form.
    """

    folder: Path
    """Folder of the date, absolute."""

    def projection(self, camera: Camera) -> Float64[np.ndarray, "3 4"]:
        """P_rect (3, 4): rectified camera 0, metres, to pixels of the camera."""
        return _keys(self.folder / CAMERAS_FILE).projection(f"P_rect_{NUMBERS[camera]}")

    def size(self, camera: Camera) -> tuple[int, int]:
        """Height and width of the camera's rectified images, in pixels."""
        return _keys(self.folder / CAMERAS_FILE).size(f"S_rect_{NUMBERS[camera]}")

    def intrinsics(self, camera: Camera, size: tuple[int, int]) -> Float64[np.ndarray, "3 3"]:
        """Intrinsics (3, 3) in pixels of an image resized to ``size`` (height, width)."""
        height, width = self.size(camera)
        scale = np.array([[size[1] / width], [size[0] / height], [1.0]])
        return np.asarray(self.projection(camera)[:, :3] * scale, np.float64)

    def velo_to_pixels(self, camera: Camera) -> Float64[np.ndarray, "3 4"]:
        """Projection (3, 4) of velodyne points: P_rect . R_rect_00 . T_velo_to_cam."""
        return np.asarray(self.projection(camera) @ self._velo_to_rectified())

    def imu_to_camera(self, camera: Camera) -> Transform:
        """Transform (4, 4) of the inertial unit to the rectified camera, metres.

        P_rect = K [I | t], so the camera's place on the rig is t = K^-1 P_rect[:, 3].
        """
        projection = self.projection(camera)
        shift = np.eye(4)
        shift[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
        imu_to_velo = _keys(self.folder / IMU_FILE).transform()
        return np.asarray(shift @ self._velo_to_rectified() @ imu_to_velo)

    def _velo_to_rectified(self) -> Transform:
        """Transform (4, 4) of the velodyne to rectified camera 0, metres."""
        rectification = np.eye(4)
        rectification[:3, :3] = _keys(self.folder / CAMERAS_FILE).rotation("R_rect_00")
        return np.asarray(rectification @ _keys(self.folder / VELO_FILE).transform())


def read_calibration(root: PathLike, date: str) -> Calibration:
    """The calibration of a date; each of its files is read once per process, when needed."""
    # Absolute, so that the cache stays right when the process changes its folder.
    return Calibration(as_path(root).absolute() / date)


def calibration_sha256(root: PathLike, date: str) -> str | None:
    """sha256 of the date's files that LiDAR is projected with; None if one of them is missing."""
    digest = hashlib.sha256()
    for name in (CAMERAS_FILE, VELO_FILE):
        try:
            digest.update(read_bytes(as_path(root) / date / name))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(as_path(root) / date / name, error) from error
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> CalibrationError:
    return CalibrationError(
        f"the calibration cannot be read ({error.strerror})",
        expected=f"the file {path.name} of date {path.parent.name}",
        where=path,
        remedy=reading_remedy(error, calibration_remedy(path)),
    )


@lru_cache(maxsize=192)
def _keys(path: Path) -> "_Keys":
    return _Keys(path)


class _Keys:
    """One calibration file as lines ``key: numbers``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            lines = read_text(path).splitlines()
        except OSError as error:
            raise _unreadable(path, error) from error
        pairs = (line.partition(":") for line in lines)
        self.values = {key.strip(): text for key, colon, text in pairs if colon}

    def matrix(self, key: str, shape: tuple[int, ...]) -> Float64[np.ndarray, "..."]:
        """The key's numbers, row by row."""
        if key not in self.values:
            raise self._error(
                f"{self.path.name} has no key {key}", f"key {key} with {np.prod(shape)} numbers"
            )
        try:
            numbers = np.array([float(text) for text in self.values[key].split()])
            if not np.isfinite(numbers).all():
                raise ValueError("not finite")
            numbers.setflags(write=False)
            return numbers.reshape(shape)
        except ValueError as error:
            raise self._error(
                f"key {key} is {self.values[key].strip()!r}", f"{np.prod(shape)} numbers"
            ) from error

    def projection(self, key: str) -> Float64[np.ndarray, "3 4"]:
        """A projection matrix; both of its focal lengths are positive, so that K^-1 exists."""
        projection = self.matrix(key, (3, 4))
        if not (projection.diagonal() > 0).all():
            raise self._error(
                f"key {key} is {self.values[key].strip()!r}", "focal lengths of more than 0 pixels"
            )
        return projection

    def size(self, key: str) -> tuple[int, int]:
        """Height and width; the file has width first."""
        width, height = self.matrix(key, (2,))
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise self._error(
                f"key {key} is {self.values[key].strip()!r}",
                f"width and height, from 1 to {MAX_SIDE} pixels",
            )
        return int(height), int(width)

    def rotation(self, key: str) -> Float64[np.ndarray, "3 3"]:
        """A rotation matrix; any other would warp the rig in silence."""
        rotation = self.matrix(key, (3, 3))
        # Clipped, so that no number overflows; what is clipped is no rotation.
        bounded = rotation.clip(-2, 2)
        error = np.abs(bounded.T @ bounded - np.eye(3)).max()
        if error > ROTATION_TOLERANCE or np.linalg.det(bounded) < 0:
            raise self._error(f"key {key} is {self.values[key].strip()!r}", "a rotation matrix")
        return rotation

    def transform(self) -> Transform:
        """Rotation R and translation T as one (4, 4) matrix."""
        result = np.eye(4)
        result[:3, :3] = self.rotation("R")
        result[:3, 3] = self.matrix("T", (3,))
        return result

    def _error(self, found: str, expected: str) -> CalibrationError:
        return CalibrationError(
            found,
            expected=expected,
            where=self.path,
            remedy="download the date's calibration archive again",
        )
