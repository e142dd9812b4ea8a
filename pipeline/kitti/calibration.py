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

Matrix = Float64[np.ndarray, "rows columns"]
Transform = Float64[np.ndarray, "4 4"]
"""Of homogeneous points in metres."""
FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")
NUMBERS: Mapping[Camera, str] = {"l": "02", "r": "03"}
"""Suffix of the camera's keys in calib_cam_to_cam.txt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Calibration of one date; every array is read-only (Geiger et al., IJRR 2013)."""

    projections: Mapping[Camera, Float64[np.ndarray, "3 4"]]
    """P_rect (3, 4) by camera: rectified camera 0, metres, to pixels of that camera."""
    sizes: Mapping[Camera, tuple[int, int]]
    """Height and width of the rectified images by camera, in pixels."""
    rectification: Transform
    """R_rect_00 as (4, 4): camera 0 to rectified camera 0."""
    velo_to_cam: Transform
    """T_velo_to_cam (4, 4): velodyne to camera 0, metres."""
    imu_to_velo: Transform
    """T_imu_to_velo (4, 4): inertial unit to velodyne, metres."""

    def intrinsics(self, camera: Camera, size: tuple[int, int]) -> Float64[np.ndarray, "3 3"]:
        """Intrinsics (3, 3) in pixels of an image resized to ``size`` (height, width)."""
        height, width = self.sizes[camera]
        scale = np.array([[size[1] / width], [size[0] / height], [1.0]])
        return np.asarray(self.projections[camera][:, :3] * scale, np.float64)

    def velo_to_pixels(self, camera: Camera) -> Float64[np.ndarray, "3 4"]:
        """Projection (3, 4) of velodyne points: P_rect . R_rect_00 . T_velo_to_cam."""
        return np.asarray(self.projections[camera] @ self.rectification @ self.velo_to_cam)

    def imu_to_camera(self, camera: Camera) -> Transform:
        """Transform (4, 4) of the inertial unit to the rectified camera, metres.

        P_rect = K [I | t], so the camera's place on the rig is t = K^-1 P_rect[:, 3].
        """
        projection = self.projections[camera]
        shift = np.eye(4)
        shift[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
        return np.asarray(shift @ self.rectification @ self.velo_to_cam @ self.imu_to_velo)


def read_calibration(root: PathLike, date: str) -> Calibration:
    """Read the three calibration files of a date; read once per process.

    Raises:
        CalibrationError: A file or a key is missing, or a key's values have another form.
    """
    # Absolute, so that the cache stays right when the process changes its folder.
    return _read(as_path(root).absolute() / date)


@lru_cache(maxsize=64)
def _read(folder: Path) -> Calibration:
    cameras, velo, imu = (_Keys(folder / name) for name in FILES)
    rectification = np.eye(4)
    rectification[:3, :3] = cameras.matrix("R_rect_00", (3, 3))
    return Calibration(
        projections={
            camera: _frozen(cameras.projection(f"P_rect_{number}"))
            for camera, number in NUMBERS.items()
        },
        sizes={camera: cameras.size(f"S_rect_{number}") for camera, number in NUMBERS.items()},
        rectification=_frozen(rectification),
        velo_to_cam=_frozen(velo.transform()),
        imu_to_velo=_frozen(imu.transform()),
    )


def calibration_sha256(root: PathLike, date: str) -> str | None:
    """sha256 of a date's three files; None if one of them is missing."""
    digest = hashlib.sha256()
    for name in FILES:
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
        if min(width, height) < 1:
            raise self._error(f"key {key} is {self.values[key].strip()!r}", "width and height")
        return int(height), int(width)

    def transform(self) -> Transform:
        """Rotation R and translation T as one (4, 4) matrix."""
        result = np.eye(4)
        result[:3, :3] = self.matrix("R", (3, 3))
        result[:3, 3] = self.matrix("T", (3,))
        return result

    def _error(self, found: str, expected: str) -> CalibrationError:
        return CalibrationError(
            found,
            expected=expected,
            where=self.path,
            remedy="download the date's calibration archive again",
        )


def _frozen(matrix: Matrix) -> Matrix:
    """Read-only, as every caller shares it through the cache."""
    matrix.setflags(write=False)
    return matrix
