"""LiDAR depth of frames: projected once into a file, checked whenever it is read."""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from xdistill.manifests import disk
from xdistill.manifests.download import cache_folder
from xdistill.manifests.progress import note, progress
from xdistill.pipeline.kitti.calibration import calibration_sha256, read_calibration
from xdistill.pipeline.kitti.frames import Frame, require_root
from xdistill.pipeline.kitti.missing import listing, name_frames
from xdistill.pipeline.kitti.rectified import require_rectified, size_notes
from xdistill.pipeline.kitti.velodyne import (
    DepthConvention,
    missing_scans,
    project_scan,
    read_scan,
    scan_path,
)
from xdistill.train.evaluation.published_splits import frames_sha256
from xdistill.train.evaluation.truth_file import (
    FORMAT,
    GroundTruthError,
    ScanState,
    Source,
    SparseDepth,
    as_hdf5,
    crc32c,
    read_source,
    recorded_scans,
)

ORPHAN_AGE_S = 24 * 3600.0
"""A partial file older than this was left behind by a killed process."""


def prepare_ground_truth(
    root: Path, frames: Sequence[Frame], *, depth: DepthConvention, path: Path | None = None
) -> Path:
    """Return the file with the frames' depth; project the scans where it does not exist yet.

    Args:
        root: KITTI raw root.
        frames: Frames whose depth is needed.
        depth: Which coordinate of a LiDAR point is its depth.
        path: The file. None takes one in the cache folder, and projects it again whenever scans
            or calibration have changed, or the file is damaged. A file named here is used even
            where its scans no longer exist, and refused where it disagrees with the request.

    Raises:
        GroundTruthError: Frames have no scan, or the file is damaged or made from other data.
        CalibrationError: Images are not those that the calibration describes.
        KittiError, CalibrationError, ScanError: As in ``project_scans``.
    """
    require_rectified(root, frames)
    for text in size_notes(root, frames):
        note(f"note: {text}")
    target = path or _default_path(root, frames, depth=depth)
    with _reported(target):
        present = target.exists()
    if present:
        try:
            reason = _disagreement(target, root, frames, depth)
        except GroundTruthError as error:
            if path is not None:
                raise
            # A file in the cache is ours to replace.
            reason = error.headline
        if reason is None:
            return target
        if path is not None:
            raise _refused(path, reason, root, frames, depth)
        note(f"the scans are projected again: {reason}")
    project_scans(root, frames, target, depth=depth)
    return target


def _refused(
    path: Path, reason: str, root: Path, frames: Sequence[Frame], depth: DepthConvention
) -> GroundTruthError:
    return GroundTruthError(
        reason,
        expected=f"depth = {depth} of all {len(frames)} frames, from the scans under {root}",
        where=path,
        remedy="name another file with --ground-truth, or move this one away: the scans are "
        "then projected again",
    )


def _default_path(root: Path, frames: Sequence[Frame], *, depth: DepthConvention) -> Path:
    record = json.dumps([str(root.resolve()), frames_sha256(frames), str(FORMAT)], allow_nan=False)
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
        ScanError: A scan is damaged.
    """
    require_root(root)
    _require_scans(root, frames)
    for date, camera in {(frame.date, frame.camera): None for frame in frames}:
        read_calibration(root, date).velo_to_pixels(camera)
    with _reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_orphans(path)
        # Before the work: a folder that cannot be written is known now.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    content = as_hdf5(_source(root, frames, depth), _projected(root, frames, depth))
    with _reported(path):
        # Each process writes its own file, so that two at once do no harm.
        disk.write(path, [content])


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Report what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise GroundTruthError(
            f"the depth cannot be written ({error.strerror})",
            where=path.absolute(),
            remedy="make room there, set XDISTILL_CACHE to a folder that can be written, or name a "
            "file in one with --ground-truth",
        ) from error


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
        # Another process may sweep at the same time.
        with suppress(FileNotFoundError):
            if time.time() - orphan.stat().st_mtime > ORPHAN_AGE_S:
                disk.discard(orphan)


def _source(root: Path, frames: Sequence[Frame], depth: DepthConvention) -> Source:
    dates = sorted({frame.date for frame in frames})
    return Source(
        data=str(root.absolute()),
        depth=depth,
        frames=len(frames),
        frames_sha256=frames_sha256(frames),
        calibration_sha256={date: calibration_sha256(root, date) for date in dates},
    )


def _projected(
    root: Path, frames: Sequence[Frame], depth: DepthConvention
) -> Iterator[tuple[Frame, SparseDepth]]:
    """Each frame's depth, once; a bar follows."""
    unique = dict.fromkeys(frames)
    with progress(total=len(unique), unit="scan") as bar:
        for frame in unique:
            yield frame, _project_one(root, frame, depth)
            bar.update()


def _project_one(root: Path, frame: Frame, depth: DepthConvention) -> SparseDepth:
    calibration = read_calibration(root, frame.date)
    size = calibration.size(frame.camera)
    scan = scan_path(root, frame)
    points = read_scan(scan)
    state = scan.stat()
    rows, columns, metres = project_scan(points, calibration, frame.camera, size=size, depth=depth)
    return SparseDepth(
        size=size,
        rows=rows,
        columns=columns,
        depth=metres,
        scan=ScanState(
            size=state.st_size, mtime_ns=state.st_mtime_ns, crc32c=crc32c(points.tobytes())
        ),
    )


def _disagreement(
    path: Path, root: Path, frames: Sequence[Frame], depth: DepthConvention
) -> str | None:
    """Why the file cannot serve these frames; None if it can."""
    source = read_source(path)
    if source.depth != depth:
        return f"the file holds depth = {source.depth}"
    for date, expected in source.calibration_sha256.items():
        if calibration_sha256(root, date) not in (None, expected):
            return f"the file was projected with another calibration of {date}"
    scans = recorded_scans(path, frames)
    lacking = [frame for frame in frames if scans[frame] is None]
    if lacking:
        return f"{len(lacking)} of {len(frames)} frames are not in it: {name_frames(lacking)}"
    changed = [frame for frame, scan in scans.items() if scan and _differs(root, frame, scan)]
    return f"the file was projected from other scans of {name_frames(changed)}" if changed else None


def _differs(root: Path, frame: Frame, recorded: ScanState) -> bool:
    """Whether a scan on disk differs from the recorded one; its bytes are read only if needed.

    A copied data set has new times but the same bytes.
    """
    scan = scan_path(root, frame)
    try:
        state = scan.stat()
    except OSError:
        return False
    if (state.st_size, state.st_mtime_ns) == (recorded.size, recorded.mtime_ns):
        return False
    return crc32c(read_scan(scan).tobytes()) != recorded.crc32c
