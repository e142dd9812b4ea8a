"""The HDF5 file that keeps LiDAR depth: how it is laid out, and how it is read without trust.

Layout: a group for every frame, named by the frame's key, with ``rows`` and ``columns`` (uint16)
and ``depth`` (float32, metres) of the pixels that a point falls on. Attributes of a group: ``size``
(height, width), ``crc32c`` of its contents, and ``scan`` (bytes, mtime in ns, crc32c) of the scan
it was projected from. Attributes of the file: ``format`` and ``source``, a JSON record.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import google_crc32c
import h5py
import numpy as np
from numpy.typing import NDArray

from xdistill.manifests import disk
from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.calibration import MAX_SIDE
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.velodyne import DepthConvention

FORMAT = b"xdistill ground truth 2"
"""Version 2 records the calibration by the files that a projection reads."""
COLUMNS: Mapping[str, np.dtype[Any]] = {
    "rows": np.dtype(np.uint16),
    "columns": np.dtype(np.uint16),
    "depth": np.dtype(np.float32),
}
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
OTHER_FORMS = {
    b"PK\x03\x04": "an archive of NumPy (.npz), as Monodepth2's gt_depths.npz is, not an HDF5 file",
    b"\x93NUMPY": "an array of NumPy (.npy), not an HDF5 file",
}
"""First bytes of what people give in place of a ground truth file."""
DAMAGE = (
    *(OSError, RuntimeError, KeyError, IndexError, ValueError, TypeError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)
"""What h5py and NumPy raise on wrong bytes, or on a file of another layout."""


class GroundTruthError(XDistillError, OSError):
    """Ground truth that is missing, damaged, or made from other data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What a file of ground truth was made from."""

    data: str
    """KITTI raw root."""
    depth: DepthConvention
    """Which coordinate of a LiDAR point is its depth."""
    frames: int
    """Number of frames asked for."""
    frames_sha256: str
    """sha256 of their list."""
    calibration_sha256: dict[str, str | None]
    """sha256 of each date's calibration."""

    def __post_init__(self) -> None:
        texts = (self.data, self.frames_sha256, *self.calibration_sha256)
        digests = [digest for digest in self.calibration_sha256.values() if digest is not None]
        if not all(isinstance(text, str) for text in (*texts, *digests)):
            raise TypeError("the record has values of other types")
        if self.depth not in get_args(DepthConvention) or not isinstance(self.frames, int):
            raise ValueError("the record has values that no version writes")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanState:
    """A scan as it was when its depth was projected."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Time of its last change."""
    crc32c: int
    """Checksum of its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseDepth:
    """A frame's depth: only the pixels that a point falls on."""

    size: tuple[int, int]
    """Height and width of the image in pixels."""
    rows: NDArray[Any]
    """Rows of these pixels (N,)."""
    columns: NDArray[Any]
    """Columns (N,)."""
    depth: NDArray[Any]
    """Depths (N,), metres."""
    scan: ScanState
    """The scan it was projected from."""


def as_hdf5(source: Source, depths: Iterable[tuple[Frame, SparseDepth]]) -> bytes:
    """The content of a ground truth file.

    It is built in memory (70 KB a frame of KITTI), not on disk: a full disk ends a process in
    which the HDF5 library writes with SIGSEGV, and some network file systems lack its locks.
    """
    # The newest file version, because it has checksums on its own structures.
    with h5py.File("truth", "w", driver="core", backing_store=False, libver="latest") as file:
        # Fixed-length bytes lie in the object header, which has a checksum; text does not.
        file.attrs["format"] = np.bytes_(FORMAT)
        file.attrs["source"] = np.bytes_(json.dumps(asdict(source), allow_nan=False))
        for frame, depth in depths:
            _add(file.create_group(frame.key), depth)
        file.flush()
        return bytes(file.id.get_file_image())


def _add(group: h5py.Group, depth: SparseDepth) -> None:
    contents = {name: getattr(depth, name).astype(dtype) for name, dtype in COLUMNS.items()}
    for name, values in contents.items():
        group.create_dataset(name, data=values, compression=1, shuffle=True, chunks=True)
    group.attrs["size"] = depth.size
    group.attrs["crc32c"] = _checksum(depth.size, contents)
    group.attrs["scan"] = (depth.scan.size, depth.scan.mtime_ns, depth.scan.crc32c)


def crc32c(data: bytes) -> int:
    """The checksum that groups and scans are recorded with."""
    return int(google_crc32c.value(data))


def _checksum(size: Sequence[int], contents: Mapping[str, NDArray[Any]]) -> int:
    parts = [np.array(size, np.int64), *(contents[name] for name in COLUMNS)]
    return crc32c(b"".join(part.tobytes() for part in parts))


def read_source(path: Path) -> Source:
    """What a ground truth file was made from.

    Raises:
        GroundTruthError: The file is missing, damaged, or not a ground truth file.
    """
    _require_hdf5(path)
    with _open(path, reading="the file") as file:
        found = file.attrs.get("format")
        source = None
        if isinstance(found, bytes) and found == FORMAT:
            source = Source(**json.loads(file.attrs["source"]))
    if source is None:
        raise _foreign(path, f"the file has format {found!r}, not {FORMAT!r}")
    return source


def read_depth(path: Path, frame: Frame) -> NDArray[np.float32]:
    """A frame's depth (height, width) in metres, 0 where there is none.

    Raises:
        GroundTruthError: The depth is missing or its checksum fails; the frame is named.
    """
    with _open(path, reading=f"the depth of frame {frame}") as file:
        group = file[frame.key]
        height, width = (int(length) for length in group.attrs["size"])
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise ValueError(f"its size is {width}x{height}")
        contents = {name: _column(group[name], name, height * width) for name in COLUMNS}
        intact = _checksum((height, width), contents) == int(group.attrs["crc32c"])
        if intact:
            image = np.zeros((height, width), np.float32)
            image[contents["rows"], contents["columns"]] = contents["depth"]
    if not intact:
        raise _damaged(path, f"the checksum of frame {frame} fails")
    return image


def _column(dataset: h5py.Dataset, name: str, most: int) -> NDArray[Any]:
    """One column's values; nothing is read that has not at most one value a pixel."""
    if dataset.dtype != COLUMNS[name] or len(dataset.shape) != 1 or dataset.size > most:
        raise ValueError(f"{name} is {dataset.dtype} of shape {dataset.shape}")
    return np.asarray(dataset[()])


def recorded_scans(path: Path, frames: Iterable[Frame]) -> dict[Frame, ScanState | None]:
    """The scans that frames were projected from; None for a frame that the file lacks.

    Raises:
        GroundTruthError: The file is damaged.
    """
    found: dict[Frame, ScanState | None] = {}
    with _open(path, reading="the file") as file:
        for frame in frames:
            found[frame] = None
            if frame.key in file:
                size, mtime_ns, crc = (int(value) for value in file[frame.key].attrs["scan"])
                found[frame] = ScanState(size=size, mtime_ns=mtime_ns, crc32c=crc)
    return found


@contextmanager
def _open(path: Path, *, reading: str) -> Iterator[h5py.File]:
    """The open file; whatever is wrong with it within the context is reported as damage."""
    try:
        # No lock: the file never changes in place, and network file systems often cannot lock.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except DAMAGE as error:
        raise _damaged(path, f"{reading} is not readable ({error})") from error


def _require_hdf5(path: Path) -> None:
    """Look at the first bytes: only a regular file is opened, and other forms are named."""
    try:
        with os.fdopen(disk.open_regular(path), "rb") as file:
            start = file.read(len(HDF5_SIGNATURE))
    except OSError as error:
        raise _foreign(path, f"the ground truth is not readable ({error.strerror})") from error
    if start != HDF5_SIGNATURE:
        forms = (form for mark, form in OTHER_FORMS.items() if start.startswith(mark))
        raise _foreign(path, f"the ground truth is {next(forms, 'not an HDF5 file')}")


def _foreign(path: Path, found: str) -> GroundTruthError:
    """The error of a file that xd-eval did not write, which stays where it is."""
    return GroundTruthError(
        found,
        expected="a ground truth file that this version of xd-eval wrote (HDF5)",
        where=path,
        remedy="leave --ground-truth out, so that the scans are projected, or name another file",
    )


def _damaged(path: Path, found: str) -> GroundTruthError:
    return GroundTruthError(
        found,
        expected="an undamaged ground truth file, as xd-eval writes it",
        where=path,
        remedy="move this file away: the scans are then projected again",
    )
