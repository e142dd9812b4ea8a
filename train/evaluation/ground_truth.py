"""LiDAR depth of frames: projected once into an HDF5 file, checked whenever it is read.

Layout: a group for every frame, named by the frame's key, with ``rows`` and ``columns`` (uint16)
and ``depth`` (float32, metres) of the pixels that a point falls on. Attributes of a group: ``size``
(height, width), ``crc32c`` of its contents, and ``scan`` (bytes, mtime in ns, crc32c) of the scan
it was projected from. Attributes of the file: ``format`` and ``source``, a JSON record.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import h5py
import numpy as np
from numpy.typing import NDArray

from xdistill.manifests import disk
from xdistill.manifests.download import cache_folder
from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import progress
from xdistill.pipeline.kitti.calibration import calibration_sha256, read_calibration
from xdistill.pipeline.kitti.frames import Frame, name_frames
from xdistill.pipeline.kitti.tree import listing, require_root
from xdistill.pipeline.kitti.velodyne import (
    DepthConvention,
    missing_scans,
    project_scan,
    read_scan,
    scan_path,
)
from xdistill.train.evaluation.published_splits import frames_sha256

FORMAT = b"xdistill ground truth 1"
ORPHAN_AGE_S = 24 * 3600.0
"""A partial file older than this was left behind by a killed process."""
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on a file with wrong bytes."""


class GroundTruthError(XDistillError, OSError):
    """Ground truth that is missing, damaged, or made from other data."""


def prepare_ground_truth(
    root: Path, frames: Sequence[Frame], *, depth: DepthConvention, path: Path | None = None
) -> Path:
    """Return the file with the frames' depth; project the scans where it does not exist yet.

    Args:
        root: KITTI raw root.
        frames: Frames whose depth is needed.
        depth: Which coordinate of a LiDAR point is its depth.
        path: The file. None takes one in the cache folder, and projects it again whenever scans
            or calibration have changed. A file named here is used even where its scans no longer
            exist, and refused where it disagrees with the request.

    Raises:
        GroundTruthError: Frames have no scan, or the file is damaged or made from other data.
        KittiError, CalibrationError, ScanError: As in ``project_scans``.
    """
    target = path or _default_path(root, frames, depth=depth)
    reason = _disagreement(target, root, frames, depth) if target.exists() else "absent"
    if reason is None:
        return target
    if path is not None and target.exists():
        raise GroundTruthError(
            reason,
            expected=f"depth = {depth} of all {len(frames)} frames, from the scans under {root}",
            where=target,
            remedy="name another file with --ground-truth, or move this one away: the scans are "
            "then projected again",
        )
    project_scans(root, frames, target, depth=depth)
    return target


def _default_path(root: Path, frames: Sequence[Frame], *, depth: DepthConvention) -> Path:
    record = json.dumps([str(root.resolve()), frames_sha256(frames), str(FORMAT)])
    digest = hashlib.sha256(record.encode()).hexdigest()[:16]
    return cache_folder() / "ground_truth" / f"{depth}-{len(frames)}-frames-{digest}.h5"


def project_scans(
    root: Path, frames: Sequence[Frame], path: Path, *, depth: DepthConvention
) -> None:
    """Project the frames' scans into an HDF5 file, which takes its name once it is complete.

    Raises:
        KittiError: The root is missing.
        GroundTruthError: Frames have no scan (counted by drive), or the file cannot be written.
        CalibrationError: The calibration of a date is missing or incomplete.
        ScanError: A scan is cut short.
    """
    require_root(root)
    _require_scans(root, frames)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_orphans(path)
        _write_depth(root, frames, path, depth=depth)
    except XDistillError:
        # Some of these are also an OSError, and more precise than the one below.
        raise
    except OSError as error:
        raise GroundTruthError(
            f"the depth cannot be written ({error})",
            where=path.absolute(),
            remedy="set XDISTILL_CACHE to a writable folder, or name a file in one with "
            "--ground-truth",
        ) from error


def _write_depth(
    root: Path, frames: Sequence[Frame], path: Path, *, depth: DepthConvention
) -> None:
    # Each process writes its own file, so that two at once do no harm.
    with disk.replacing(path) as partial:
        # The newest file version, because it has checksums on its own structures.
        unique = dict.fromkeys(frames)
        with (
            h5py.File(partial, "w", libver="latest") as file,
            progress(total=len(unique), unit="scan") as bar,
        ):
            # Fixed-length bytes lie in the object header, which has a checksum; text does not.
            file.attrs["format"] = np.bytes_(FORMAT)
            file.attrs["source"] = np.bytes_(json.dumps(_source(root, frames, depth)))
            for frame in unique:
                _project_one(file, root, frame, depth)
                bar.update()


def _require_scans(root: Path, frames: Sequence[Frame]) -> None:
    missing = missing_scans(root, frames)
    if missing:
        raise GroundTruthError(
            f"{len(missing)} of {len(frames)} frames have no velodyne scan: {name_frames(missing)}",
            expected="velodyne_points/data/<10 digits>.bin for every frame of the split",
            where=root.absolute(),
            remedy="fetch velodyne_points of these drives, use a split without these frames, or "
            f"name a file with their depth with --ground-truth{listing(missing)}",
        )


def _sweep_orphans(path: Path) -> None:
    for orphan in path.parent.glob(f"{path.name}.*{disk.PARTIAL}"):
        if time.time() - orphan.stat().st_mtime > ORPHAN_AGE_S:
            disk.discard(orphan)


def _source(root: Path, frames: Sequence[Frame], depth: DepthConvention) -> dict[str, Any]:
    dates = sorted({frame.date for frame in frames})
    return {
        "data": str(root.absolute()),
        "depth": depth,
        "frames": len(frames),
        "frames_sha256": frames_sha256(frames),
        "calibration_sha256": {date: calibration_sha256(root, date) for date in dates},
    }


def _project_one(file: h5py.File, root: Path, frame: Frame, depth: DepthConvention) -> None:
    calibration = read_calibration(root, frame.date)
    size = calibration.sizes[frame.camera]
    scan = scan_path(root, frame)
    points = read_scan(scan)
    rows, columns, metres = project_scan(points, calibration, frame.camera, size=size, depth=depth)
    contents: dict[str, NDArray[Any]] = {
        "rows": rows.astype(np.uint16),
        "columns": columns.astype(np.uint16),
        "depth": metres.astype(np.float32),
    }
    group = file.create_group(frame.key)
    for name, values in contents.items():
        group.create_dataset(name, data=values, compression=1, shuffle=True, chunks=True)
    state = scan.stat()
    group.attrs["size"] = size
    group.attrs["crc32c"] = _checksum(size, contents)
    group.attrs["scan"] = (state.st_size, state.st_mtime_ns, _crc32c(points.tobytes()))


def _crc32c(data: bytes) -> int:
    return int(google_crc32c.value(data))


def _checksum(size: Sequence[int], contents: Mapping[str, NDArray[Any]]) -> int:
    parts = [np.array(size, np.int64), *(contents[name] for name in ("rows", "columns", "depth"))]
    return _crc32c(b"".join(part.tobytes() for part in parts))


def read_source(path: Path) -> dict[str, Any]:
    """What a ground truth file was made from.

    Raises:
        GroundTruthError: The file is missing, damaged, or not a ground truth file.
    """
    try:
        with _open(path) as file:
            found = file.attrs.get("format")
            source = json.loads(file.attrs["source"]) if found == FORMAT else None
    except DAMAGE as error:
        raise _damaged(path, f"the file is not readable ({error})") from error
    if not isinstance(source, dict):
        raise _damaged(path, f"the file has format {found!r}")
    return source


def read_depth(path: Path, frame: Frame) -> NDArray[np.float32]:
    """A frame's depth (height, width) in metres, 0 where there is none.

    Raises:
        GroundTruthError: The depth is missing or its checksum fails; the frame is named.
    """
    try:
        with _open(path) as file:
            group = file[frame.key]
            size = tuple(int(length) for length in group.attrs["size"])
            contents = {name: group[name][()] for name in ("rows", "columns", "depth")}
            intact = _checksum(size, contents) == int(group.attrs["crc32c"])
    except DAMAGE as error:
        raise _damaged(path, f"the depth of frame {frame} is not readable ({error})") from error
    if not intact:
        raise _damaged(path, f"the checksum of frame {frame} fails")
    image = np.zeros(size, np.float32)
    image[contents["rows"], contents["columns"]] = contents["depth"]
    return image


def _open(path: Path) -> h5py.File:
    # No lock: the file never changes in place, and network file systems often cannot lock.
    return h5py.File(path, "r", locking=False)


def _disagreement(
    path: Path, root: Path, frames: Sequence[Frame], depth: DepthConvention
) -> str | None:
    """Why the file cannot serve these frames; None if it can."""
    source = read_source(path)
    if source["depth"] != depth:
        return f"the file holds depth = {source['depth']}"
    for date, expected in source["calibration_sha256"].items():
        if calibration_sha256(root, date) not in (None, expected):
            return f"the file was projected with another calibration of {date}"
    try:
        with _open(path) as file:
            lacking = [frame for frame in frames if frame.key not in file]
            if lacking:
                return (
                    f"{len(lacking)} of {len(frames)} frames are not in it: {name_frames(lacking)}"
                )
            changed = [
                frame
                for frame in frames
                if _differs(scan_path(root, frame), *map(int, file[frame.key].attrs["scan"]))
            ]
    except DAMAGE as error:
        raise _damaged(path, f"the file is not readable ({error})") from error
    return f"the file was projected from other scans of {name_frames(changed)}" if changed else None


def _differs(scan: Path, size: int, mtime_ns: int, crc32c: int) -> bool:
    """Whether a scan on disk differs from the recorded one; its bytes are read only if needed.

    A copied data set has new times but the same bytes.
    """
    try:
        state = scan.stat()
    except FileNotFoundError:
        return False
    if (state.st_size, state.st_mtime_ns) == (size, mtime_ns):
        return False
    return _crc32c(scan.read_bytes()) != crc32c


def _damaged(path: Path, found: str) -> GroundTruthError:
    return GroundTruthError(
        found,
        expected="an undamaged ground truth file, as xd-eval writes it",
        where=path,
        remedy="move this file away: the scans are then projected again",
    )
