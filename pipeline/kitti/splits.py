"""Split lists: which frames a command works on, by file or by published name."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from xdistill.manifests import environment, loader
from xdistill.manifests.disk import PathLike, as_path
from xdistill.manifests.download import cache_folder, fetch
from xdistill.pipeline.kitti.errors import MissingFrameError, SplitError
from xdistill.pipeline.kitti.frames import (
    CAMERAS,
    EXAMPLE,
    Frame,
    find_frames,
    present_indices,
    require_root,
    shorten,
)


def read_split(path: PathLike) -> list[Frame]:
    """Read a split file of the eigen_zhou form, one frame a line; blank lines are skipped.

    Raises:
        SplitError: The file is missing, not text or empty, or a line names no frame (its number
            is given).
    """
    file = as_path(path)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SplitError(
            f"the split cannot be read ({error})",
            expected="a text file with one frame a line",
            where=file,
            remedy="check the path",
        ) from error
    frames = [
        _parse(line, number, file) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    if not frames:
        raise SplitError(
            "the split is empty",
            expected=f"one frame a line: {EXAMPLE}",
            where=file,
            remedy="give another split",
        )
    return frames


def _parse(line: str, number: int, path: Path) -> Frame:
    try:
        return Frame.parse(line)
    except SplitError as error:
        raise SplitError(
            f"line {number}: {error.headline}",
            expected=f"date/drive, frame number, l or r: {EXAMPLE}",
            where=path,
            remedy="correct the line",
        ) from None


def resolve_split(name_or_path: str) -> Path:
    """The file of a split, given by published name or by path.

    A published list is read from the folder in XDISTILL_SPLITS, else from the cache folder, into
    which it is downloaded if need be; its sha256 is checked each time.

    Raises:
        SplitError: Neither a published name nor an existing file.
        FetchError: The published list could not be downloaded, or the file differs from it.
    """
    known = loader.names("splits")
    if name_or_path not in known:
        path = as_path(name_or_path)
        if path.is_file():
            return path
        raise SplitError(
            f"there is no split {name_or_path!r}",
            expected=f"the path of a split file, or one of {', '.join(known)}",
            where=path.absolute(),
            remedy="check the spelling",
        )
    manifest = loader.load("splits", name_or_path)
    own_folder = environment.folder(environment.SPLITS)
    target = own_folder / manifest["file"] if own_folder else None
    if target is None or not target.is_file():
        target = cache_folder() / "splits" / manifest["file"]
    return fetch(manifest["address"], target, sha256=manifest["sha256"])


def load_split(name_or_path: str) -> list[Frame]:
    """Read the frames of a split given by published name or by path.

    Raises:
        SplitError: The split is unknown, empty or malformed.
        FetchError: A published list could not be downloaded.
    """
    return read_split(resolve_split(name_or_path))


def list_frames(split: PathLike) -> list[Frame]:
    """The frames of a split, or all frames of a KITTI raw folder.

    Args:
        split: Published name (``kitti-eigen-test``), split file, or KITTI raw root, of which the
            frames of both colour cameras are listed, sorted.

    Raises:
        SplitError: The split is unknown, empty or malformed.
        FetchError: The published list could not be downloaded.
        KittiError: The folder holds no frame.
    """
    path = as_path(split)
    if path.is_dir():
        return find_frames(path, drives=None, cameras=list(CAMERAS))
    return load_split(str(path))


def missing_frames(root: PathLike, frames: Iterable[Frame]) -> list[Frame]:
    """The frames that have no image, in the order given.

    Raises:
        KittiError: The root is missing.
    """
    require_root(root)
    present: dict[str, set[int]] = {}
    missing = []
    for frame in frames:
        if frame.sequence not in present:
            present[frame.sequence] = present_indices(root, frame.sequence)
        if frame.index not in present[frame.sequence]:
            missing.append(frame)
    return missing


def require_frames(root: PathLike, frames: Sequence[Frame]) -> None:
    """Check that every frame has an image.

    Raises:
        KittiError: The root is missing.
        MissingFrameError: Frames are missing: how many, of which drives.
    """
    missing = missing_frames(root, frames)
    if missing:
        raise MissingFrameError(
            f"{len(missing)} of {len(frames)} frames have no image: {by_drive(missing)}",
            expected="an image for every frame of the split",
            where=as_path(root).absolute(),
            remedy="download these drives, or give a split without them",
        )


def by_drive(frames: Iterable[Frame]) -> str:
    """Drives with their number of frames, most first, for a message."""
    counts = Counter(frame.drive for frame in frames)
    return shorten([f"{drive} ({count})" for drive, count in counts.most_common()])
