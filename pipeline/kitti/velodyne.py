"""LiDAR scans, and the sparse depth maps that they give in a camera."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from xdistill.manifests.disk import PathLike, as_path, read_bytes, reading_remedy
from xdistill.pipeline.kitti.calibration import Calibration, read_calibration
from xdistill.pipeline.kitti.errors import ScanError
from xdistill.pipeline.kitti.frames import Camera, Frame, as_frame, names_in

DOWNLOAD = "download this scan again"
POINT_BYTES = 16
"""x, y, z, reflectance as little-endian float32."""

DepthConvention = Literal["velodyne_x", "camera_z"]
"""Which coordinate is a pixel's depth: the common evaluation protocol takes the velodyne's forward
one, which differs from the camera's z by about 0.27 m."""


def scan_path(root: PathLike, frame: Frame) -> Path:
    """The file of the frame's velodyne scan, whether it exists or not."""
    return as_path(root) / frame.drive / "velodyne_points" / "data" / f"{frame.index:010d}.bin"


def missing_scans(root: PathLike, frames: Sequence[Frame]) -> list[Frame]:
    """The frames that have no velodyne scan, in the order given.

    Raises:
        KittiError: A folder of scans cannot be read.
    """
    folders = {scan_path(root, frame).parent for frame in frames}
    present = {folder: set(names_in(folder)) for folder in folders}
    paths = [(frame, scan_path(root, frame)) for frame in frames]
    return [frame for frame, path in paths if path.name not in present[path.parent]]


def read_scan(path: PathLike) -> Float32[np.ndarray, "points 4"]:
    """Points (N, 4): x forward, y left, z up in metres, and reflectance.

    Raises:
        ScanError: The scan is missing or empty, ends within a point, or has points that are not
            finite.
    """
    file = as_path(path)
    try:
        data = read_bytes(file)
    except OSError as error:
        remedy = reading_remedy(error, DOWNLOAD)
        raise _error(file, f"the scan cannot be read ({error.strerror})", remedy) from error
    if not data or len(data) % POINT_BYTES:
        raise _error(file, f"the scan has {len(data)} bytes")
    points = np.frombuffer(data, "<f4").reshape(-1, 4)
    broken = len(points) - int(np.count_nonzero(np.isfinite(points[:, :3]).all(axis=1)))
    if broken:
        remedy = f"{DOWNLOAD}; scans of your own leave out what gave no return"
        raise _error(file, f"{broken} of {len(points)} points of the scan are not finite", remedy)
    return points


def project_scan(
    points: Float32[np.ndarray, "points 4"],
    calibration: Calibration,
    camera: Camera,
    *,
    size: tuple[int, int],
    depth: DepthConvention,
) -> tuple[
    Int64[np.ndarray, " pixels"], Int64[np.ndarray, " pixels"], Float64[np.ndarray, " pixels"]
]:
    """Project a scan into a camera: one depth for each pixel that a point falls on.

    Takes the points that are not behind the velodyne (x >= 0) and ahead of the camera. The pixel
    is round(u) - 1, round(v) - 1; the nearest point of a pixel wins.

    Args:
        points: Scan of shape (N, 4), metres.
        calibration: Calibration of the scan's date.
        camera: Camera to project into.
        size: Height and width of the camera's rectified image, in pixels.
        depth: Which coordinate is the depth.

    Returns:
        Rows, columns and depths in metres, in row-major order of the pixels.
    """
    forward = points[points[:, 0] >= 0, :3].astype(np.float64)
    projection = calibration.velo_to_pixels(camera)
    projected = forward @ projection[:, :3].T + projection[:, 3]
    ahead = projected[:, 2] > 0
    forward, projected = forward[ahead], projected[ahead]
    # Minus 1 because the calibration counts pixels from 1.
    pixels = np.round(projected[:, :2] / projected[:, 2:]) - 1
    values = forward[:, 0] if depth == "velodyne_x" else projected[:, 2]
    inside = ((pixels >= 0) & (pixels < (size[1], size[0]))).all(axis=1)
    key = (pixels[inside, 1] * size[1] + pixels[inside, 0]).astype(np.int64)
    values = values[inside]
    order = np.lexsort((values, key))
    key, first = np.unique(key[order], return_index=True)
    return key // size[1], key % size[1], values[order][first]


def depth_map(
    points: Float32[np.ndarray, "points 4"],
    calibration: Calibration,
    camera: Camera,
    *,
    size: tuple[int, int],
    depth: DepthConvention,
) -> Float32[np.ndarray, "height width"]:
    """The projected scan as an image (height, width) in metres; 0 where no point falls."""
    rows, columns, values = project_scan(points, calibration, camera, size=size, depth=depth)
    result = np.zeros(size, np.float32)
    result[rows, columns] = values
    return result


def lidar_depth(
    data: PathLike, frame: Frame | str, *, depth: DepthConvention = "velodyne_x"
) -> Float32[np.ndarray, "height width"]:
    """Depth (height, width) in metres of a frame's scan in its camera, 0 where no point falls.

    Args:
        data: KITTI raw root.
        frame: The frame, or its split line ``2011_09_26/2011_09_26_drive_0013_sync 50 l``.
        depth: Which coordinate of a point is its depth; the Eigen protocol takes velodyne_x.

    Raises:
        SplitError: The text names no frame.
        CalibrationError: The calibration of the frame's date is missing or incomplete.
        ScanError: The scan is missing, empty, or ends within a point.
    """
    found = as_frame(frame)
    calibration = read_calibration(data, found.date)
    points = read_scan(scan_path(data, found))
    size = calibration.size(found.camera)
    return depth_map(points, calibration, found.camera, size=size, depth=depth)


def _error(path: Path, found: str, remedy: str = DOWNLOAD) -> ScanError:
    return ScanError(
        found,
        expected=f"points of {POINT_BYTES} bytes each: x, y, z in metres and reflectance, float32",
        where=path,
        remedy=remedy,
    )
