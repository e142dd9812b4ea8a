"""The KITTI raw folder: which drives, frames and images are on disk.

A folder that cannot be read is an error: what it holds would be left out in silence.
"""

import os
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from xdistill.manifests.disk import PathLike, as_path, write
from xdistill.manifests.download import cache_folder
from xdistill.manifests.progress import note
from xdistill.pipeline.kitti import layout
from xdistill.pipeline.kitti.errors import KittiError, MissingFrameError
from xdistill.pipeline.kitti.frames import (
    CAMERAS,
    FOLDER,
    LAST_INDEX,
    NAMED,
    Camera,
    Frame,
    as_frame,
    name_frames,
    runs_of,
    shorten,
)

SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
"""As published, and as users recompress it; where several exist the first of these is read."""
IMAGE_NAME = re.compile(rf"([0-9]{{10}})(?:{'|'.join(map(re.escape, SUFFIXES))})")
NOT_DRIVES = {"__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN"}
"""Folders that archives and file systems bring with them."""


def image_path(root: PathLike, frame: Frame | str) -> Path:
    """The frame's image file, png or jpg.

    Args:
        root: KITTI raw root.
        frame: The frame, or its split line.

    Raises:
        MissingFrameError: There is none.
        KittiError: Its folder cannot be read.
    """
    found = as_frame(frame)
    folder = as_path(root) / found.sequence / "data"
    for suffix in SUFFIXES:
        path = folder / f"{found.index:010d}{suffix}"
        try:
            # Whatever has the name: what cannot be read as an image says so when it is read.
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise unreadable(folder, error) from error
        return path
    raise MissingFrameError(
        f"frame {found} has no image",
        expected=f"{found.index:010d}.png or .jpg",
        where=folder,
        remedy="download the drive into this folder, or remove the frame from the split",
    )


def require_root(root: PathLike) -> None:
    """Check that the KITTI raw root exists.

    Raises:
        KittiError: It does not, or cannot be read.
    """
    folder = as_path(root)
    try:
        os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        raise layout.missing_root(folder) from None
    except OSError as error:
        raise unreadable(folder, error) from error


def names_in(folder: Path) -> list[str]:
    """Names in a folder; none if it does not exist.

    Raises:
        KittiError: It cannot be read, or is a file.
    """
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def unreadable(folder: Path, error: OSError) -> KittiError:
    """The error that says why a folder's content is unknown: to leave it out would be silent."""
    return KittiError(
        f"the folder cannot be read ({error.strerror})",
        expected="a folder that you may read and enter",
        where=folder.absolute(),
        remedy="ask its owner for the permission to read it, or name other drives with --drive or "
        "--split",
    )


def present_indices(root: PathLike, sequence: str) -> set[int]:
    """Numbers of one sequence's frames that have an image; empty if its folder is missing.

    Raises:
        KittiError: The folder cannot be read.
    """
    return _indices(names_in(as_path(root) / sequence / "data"))


def _indices(names: Iterable[str]) -> set[int]:
    numbers = (int(match[1]) for name in names if (match := IMAGE_NAME.fullmatch(name)))
    return {number for number in numbers if number <= LAST_INDEX}


def find_frames(
    root: PathLike, *, drives: Sequence[str] | None, cameras: Sequence[Camera]
) -> list[Frame]:
    """Every frame on disk of the given drives and cameras, sorted.

    Images whose names are no frame numbers are left out, with a note.

    Args:
        root: KITTI raw root.
        drives: Drives by full or by short unique name (``2011_09_26_drive_0013_sync``,
            ``0013``); None takes every drive.
        cameras: ``l``, ``r`` or both.

    Raises:
        KittiError: The root or a drive is missing or cannot be read, a short name matches several
            drives, or no frame was found.
    """
    require_root(root)
    folder = as_path(root)
    known, closed = _drives(folder)
    if drives is None and closed:
        raise closed[0]
    chosen = known if drives is None else [_match(name, known, folder, closed) for name in drives]
    frames: list[Frame] = []
    for drive in sorted(set(chosen)):
        found = [
            Frame(drive, index, camera)
            for camera in set(cameras)
            for index in _found_indices(folder / drive / CAMERAS[camera] / "data")
        ]
        if drives is not None and not found:
            raise layout.no_frames(folder, cameras, drive=drive)
        frames += sorted(found)
    if not frames:
        raise layout.no_frames(folder, cameras)
    return frames


def drives_in(root: PathLike) -> list[str]:
    """Drives with a colour camera's folder, by full name.

    Raises:
        KittiError: The root is missing or cannot be read.
    """
    require_root(root)
    return _drives(as_path(root))[0]


def _found_indices(folder: Path) -> set[int]:
    """Numbers of the frames in a folder of images; what looks like an image but is none is noted.

    AppleDouble files (``._0000000000.png``) and other hidden files are no images.
    """
    names = [name for name in names_in(folder) if not name.startswith(".")]
    indices = _indices(names)
    strays = sorted(name for name in names if name.endswith(SUFFIXES) and not _indices([name]))
    if strays:
        note(
            f"note: in {folder}, {shorten(strays, limit=3)} left out: frames have a number of ten "
            f"digits, from 0 to {LAST_INDEX}"
        )
    return indices


def _drives(root: Path) -> tuple[list[str], list[KittiError]]:
    """Drives with a colour camera's folder, by full name; and the folders that cannot be read."""
    known, closed = [], []
    for date in _folders_in(root):
        try:
            drives = _folders_in(root / date)
        except KittiError as error:
            closed.append(error)
            continue
        for drive in drives:
            try:
                cameras = set(_folders_in(root / date / drive))
            except KittiError as error:
                closed.append(error)
                # Its name is known: asked for, it says why it cannot be read.
                cameras = set(CAMERAS.values())
            if cameras & set(CAMERAS.values()):
                known.append(f"{date}/{drive}")
    return sorted(known), closed


def _folders_in(folder: Path) -> list[str]:
    """Names that may be folders of a drive; none in a file."""
    try:
        names = names_in(folder)
    except KittiError as error:
        if isinstance(error.__cause__, NotADirectoryError):
            return []
        raise
    return sorted(name for name in names if re.fullmatch(FOLDER, name) and name not in NOT_DRIVES)


def _match(name: str, known: Sequence[str], root: Path, closed: Sequence[KittiError]) -> str:
    """The one drive that a full or short name means."""
    matches = [
        drive
        for drive in known
        if name in (drive, drive.split("/")[1]) or f"_drive_{name}_" in drive
    ]
    if len(matches) == 1:
        return matches[0]
    if not matches and closed:
        raise closed[0]
    if not known:
        raise layout.no_frames(root, list(CAMERAS))
    raise KittiError(
        f"drive {name!r} matches {shorten(matches)}" if matches else f"there is no drive {name!r}",
        expected=f"one of {shorten(known)}",
        where=root.absolute(),
        remedy="give the full name" if matches else "check the name, or download the drive",
    )


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
        MissingFrameError: Frames are missing; they are named.
    """
    missing = missing_frames(root, frames)
    if len(missing) == len(frames) and not layout.is_root(as_path(root)):
        raise layout.no_frames(as_path(root), sorted({frame.camera for frame in missing}))
    if missing:
        raise MissingFrameError(
            f"{len(missing)} of {len(frames)} frames have no image: {name_frames(missing)}",
            expected="an image for every frame of the split",
            where=as_path(root).absolute(),
            remedy=f"download these drives, or give a split without them{listing(missing)}",
        )


def listing(frames: Sequence[Frame], *, limit: int = NAMED) -> str:
    """Where all frames are listed, for the end of a remedy, if a message names the first alone.

    The list is a split file in the cache folder; without room there, the message does without.
    """
    if len(runs_of(frames)) <= limit:
        return ""
    lines = "".join(f"{frame}\n" for frame in frames).encode()
    path = cache_folder() / "missing" / f"{sha256(lines).hexdigest()[:12]}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [lines])
    except OSError:
        return ""
    return f"; all {len(frames)} are listed in {path}"
