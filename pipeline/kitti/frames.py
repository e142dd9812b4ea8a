"""Frames of KITTI raw: their names, their files, and which of them are on disk.

A folder that cannot be read is an error: what it holds would be left out in silence.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast

from xdistill.manifests.disk import PathLike, as_path
from xdistill.manifests.progress import note
from xdistill.pipeline.kitti import layout
from xdistill.pipeline.kitti.errors import KittiError, MissingFrameError, SplitError

Camera = Literal["l", "r"]
CAMERAS: Mapping[Camera, str] = dict(zip(("l", "r"), layout.COLOUR, strict=True))
"""Folder of the left and of the right colour camera."""
CAMERA_CHOICES: Mapping[str, tuple[Camera, ...]] = {"l": ("l",), "r": ("r",), "both": ("l", "r")}
"""Values of ``--camera``."""
LAST_INDEX = 9_999_999
"""Ten million frames are eleven days at KITTI's 10 Hz. Larger numbers in the ten digits of a name
are times and dates: Unix seconds have been above 1 000 000 000 since 2001."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
"""As published, and as users recompress it; where several exist the first of these is read."""
IMAGE_NAME = re.compile(rf"([0-9]{{10}})(?:{'|'.join(map(re.escape, SUFFIXES))})")
NOT_DRIVES = {"__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN"}
"""Folders that archives and file systems bring with them."""
EXAMPLE = "2011_09_26/2011_09_26_drive_0013_sync 50 l"
"""A split line, for messages."""
FOLDER = r"[^\s./\\](?:[^/\\\x00-\x1f\x7f]*[^\s/\\])?"
"""A folder's name: blanks within it are part of it, hidden folders belong to the system."""
DRIVE = re.compile(f"{FOLDER}/{FOLDER}")


@dataclass(frozen=True, slots=True, order=True)
class Frame:
    """One image of one camera. As text it is a split line: ``<date>/<drive> 50 l``."""

    drive: str
    """Date and drive: ``2011_09_26/2011_09_26_drive_0013_sync``."""
    index: int
    """Frame number within the drive, from 0."""
    camera: Camera
    """``l`` is image_02, ``r`` is image_03."""

    def __str__(self) -> str:
        return f"{self.drive} {self.index} {self.camera}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a split line such as ``2011_09_26/2011_09_26_drive_0013_sync 0000000050 l``.

        Raises:
            SplitError: The line does not have three fields, or one of them has another form.
        """
        # From the right, since the names of folders may hold blanks.
        fields = text.strip().rsplit(maxsplit=2)
        if (
            len(fields) != 3
            or not DRIVE.fullmatch(fields[0])
            or not re.fullmatch("[0-9]{1,10}", fields[1])
            or fields[2] not in CAMERAS
        ):
            raise SplitError(
                f"{text.strip()[:120]!r} names no frame",
                expected=f"date/drive, frame number, l or r: {EXAMPLE}",
                remedy="correct the line",
            )
        if int(fields[1]) > LAST_INDEX:
            raise SplitError(
                f"{text.strip()[:120]!r} has a number that is no frame's",
                expected=f"numbers of frames from 0 to {LAST_INDEX}; a time is none",
                remedy="number the drive's frames from 0, and name its images so",
            )
        return cls(fields[0], int(fields[1]), cast(Camera, fields[2]))

    @classmethod
    def of_sequence(cls, sequence: str, index: int) -> Self:
        """A frame of the sequence ``<date>/<drive>/image_02``.

        Raises:
            SplitError: The sequence is of no colour camera.
        """
        drive, _, folder = sequence.rpartition("/")
        for camera, name in CAMERAS.items():
            if name == folder:
                return cls(drive, index, camera)
        raise SplitError(
            f"{sequence!r} is not a sequence of a colour camera",
            expected="date/drive/image_02 or image_03",
        )

    @property
    def date(self) -> str:
        """Folder of the drive's calibration: ``2011_09_26``."""
        return self.drive.split("/")[0]

    @property
    def sequence(self) -> str:
        """Drive and camera, as folder relative to the root and as group in the label store."""
        return f"{self.drive}/{CAMERAS[self.camera]}"

    @property
    def key(self) -> str:
        """The image's path relative to the root without ``data/`` and its extension."""
        return f"{self.sequence}/{self.index:010d}"

    def neighbour(self, offset: int) -> "Frame":
        """The frame ``offset`` frames later (earlier where negative) of the same camera."""
        return Frame(self.drive, self.index + offset, self.camera)


def as_frame(frame: Frame | str) -> Frame:
    """The frame, or the one that a split line names.

    Raises:
        SplitError: The text names no frame, or the value is neither text nor frame.
    """
    if isinstance(frame, Frame):
        return frame
    if not isinstance(frame, str):
        raise SplitError(
            f"{frame!r} is {type(frame).__name__}, not a frame",
            expected=f"a Frame, or its split line: {EXAMPLE}",
            remedy="pass one of those that list_frames gives",
        )
    return Frame.parse(frame)


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
            raise layout.no_frames(folder, [CAMERAS[c] for c in cameras], drive=drive)
        frames += sorted(found)
    if not frames:
        raise layout.no_frames(folder, [CAMERAS[c] for c in cameras])
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
        names = os.listdir(folder)
    except NotADirectoryError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error
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
        raise layout.no_frames(root, layout.COLOUR)
    raise KittiError(
        f"drive {name!r} matches {shorten(matches)}" if matches else f"there is no drive {name!r}",
        expected=f"one of {shorten(known)}",
        where=root.absolute(),
        remedy="give the full name" if matches else "check the name, or download the drive",
    )


def shorten(names: Sequence[str], *, limit: int = 8) -> str:
    """A list for a message: the first ``limit`` names and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
