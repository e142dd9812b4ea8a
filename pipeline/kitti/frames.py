"""Frames of KITTI raw: their names, their files, and which of them are on disk."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast

from xdistill.manifests.disk import PathLike, as_path
from xdistill.pipeline.kitti.errors import KittiError, MissingFrameError, SplitError

Camera = Literal["l", "r"]
CAMERAS: Mapping[Camera, str] = {"l": "image_02", "r": "image_03"}
"""Folder of the left and of the right colour camera."""
CAMERA_CHOICES: Mapping[str, tuple[Camera, ...]] = {"l": ("l",), "r": ("r",), "both": ("l", "r")}
"""Values of ``--camera``."""
SUFFIXES = (".png", ".jpg")
"""As published, and as users recompress it; where both exist the lossless one is read."""

EXAMPLE = "2011_09_26/2011_09_26_drive_0013_sync 50 l"
"""A split line, for messages."""
DRIVE = re.compile(r"\w[\w.-]*/\w[\w.-]*")
IMAGE_NAME = re.compile(r"(\d{10})\.(?:png|jpg)")


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
        fields = text.split()
        if (
            len(fields) != 3
            or not DRIVE.fullmatch(fields[0])
            or not re.fullmatch("[0-9]{1,10}", fields[1])
            or fields[2] not in CAMERAS
        ):
            raise SplitError(
                f"{text.strip()!r} names no frame",
                expected=f"date/drive, frame number, l or r: {EXAMPLE}",
                remedy="correct the line",
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
        MissingFrameError: Neither exists.
    """
    found = as_frame(frame)
    folder = as_path(root) / found.sequence / "data"
    for suffix in SUFFIXES:
        path = folder / f"{found.index:010d}{suffix}"
        if path.is_file():
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
        KittiError: It does not.
    """
    folder = as_path(root)
    if not folder.is_dir():
        raise KittiError(
            "the KITTI raw folder does not exist",
            expected="a folder with <date>/<drive>/image_02/data/0000000000.png",
            where=folder.absolute(),
            remedy="name it with --data, or set XDISTILL_DATA",
        )


def present_indices(root: PathLike, sequence: str) -> set[int]:
    """Numbers of one sequence's frames that have an image; empty if its folder is missing."""
    try:
        names = os.listdir(as_path(root) / sequence / "data")
    except FileNotFoundError:
        return set()
    return {int(match[1]) for name in names if (match := IMAGE_NAME.fullmatch(name))}


def find_frames(
    root: PathLike, *, drives: Sequence[str] | None, cameras: Sequence[Camera]
) -> list[Frame]:
    """Every frame on disk of the given drives and cameras, sorted.

    Args:
        root: KITTI raw root.
        drives: Drives by full or by short unique name (``2011_09_26_drive_0013_sync``,
            ``0013``); None takes every drive.
        cameras: ``l``, ``r`` or both.

    Raises:
        KittiError: The root or a drive is missing, a short name matches several drives, or no
            frame was found.
    """
    require_root(root)
    folder = as_path(root)
    known = _drives(folder)
    chosen = known if drives is None else [_match(name, known, folder) for name in drives]
    frames: list[Frame] = []
    for drive in sorted(set(chosen)):
        found = [
            Frame(drive, index, camera)
            for camera in set(cameras)
            for index in present_indices(folder, f"{drive}/{CAMERAS[camera]}")
        ]
        if drives is not None and not found:
            raise _no_frames(folder / drive, cameras)
        frames += sorted(found)
    if not frames:
        raise _no_frames(folder, cameras)
    return frames


def _drives(root: Path) -> list[str]:
    """Drives with a colour camera's folder, by full name."""
    return sorted(
        {
            f"{folder.parent.parent.name}/{folder.parent.name}"
            for camera in CAMERAS.values()
            for folder in root.glob(f"*/*/{camera}")
        }
    )


def _match(name: str, known: Sequence[str], root: Path) -> str:
    """The one drive that a full or short name means."""
    matches = [
        drive
        for drive in known
        if name in (drive, drive.split("/")[1]) or f"_drive_{name}_" in drive
    ]
    if len(matches) == 1:
        return matches[0]
    raise KittiError(
        f"drive {name!r} matches {shorten(matches)}" if matches else f"there is no drive {name!r}",
        expected=f"one of {shorten(known)}" if known else "folders <date>/<drive>/image_02",
        where=root.absolute(),
        remedy="give the full name" if matches else "check the name, or download the drive",
    )


def _no_frames(folder: Path, cameras: Sequence[Camera]) -> KittiError:
    folders = " or ".join(CAMERAS[camera] for camera in cameras)
    return KittiError(
        "the folder has no frames",
        expected=f"images {folders}/data/0000000000.png (or .jpg)",
        where=folder.absolute(),
        remedy="check --data and --camera",
    )


def shorten(names: Sequence[str], *, limit: int = 8) -> str:
    """A list for a message: the first ``limit`` names and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
