"""Frames of KITTI raw and their names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, cast

from xdistill.pipeline.kitti.errors import SplitError

Camera = Literal["l", "r"]
CAMERAS: Mapping[Camera, str] = {"l": "image_02", "r": "image_03"}
"""Folder of the left and of the right colour camera."""
CAMERA_CHOICES: Mapping[str, tuple[Camera, ...]] = {"l": ("l",), "r": ("r",), "both": ("l", "r")}
"""Values of ``--camera``."""
LAST_INDEX = 9_999_999
"""Ten million frames are eleven days at KITTI's 10 Hz. Larger numbers in the ten digits of a name
are times and dates: Unix seconds have been above 1 000 000 000 since 2001."""

NAMED = 8
"""Names or ranges that a message lists before it counts the rest."""
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


def shorten(names: Sequence[str], *, limit: int = NAMED) -> str:
    """A list for a message: the first ``limit`` names and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def name_frames(frames: Sequence[Frame], *, limit: int = NAMED) -> str:
    """Frames for a message, as ranges of numbers: the first ``limit``, and how many more frames.

    ``2011_09_26/2011_09_26_drive_0013_sync l: 17, 33-35 and 52 more frames``.
    """
    runs = runs_of(frames)
    named: dict[str, list[str]] = {}
    for run in runs[:limit]:
        first, last = run[0], run[-1]
        numbers = f"{first.index}-{last.index}" if first != last else str(first.index)
        named.setdefault(f"{first.drive} {first.camera}", []).append(numbers)
    text = "; ".join(f"{sequence}: {', '.join(numbers)}" for sequence, numbers in named.items())
    rest = sum(map(len, runs[limit:]))
    return text + (f" and {rest} more frames" if rest else "")


def runs_of(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames in order, in runs of consecutive numbers of one camera."""
    runs: list[list[Frame]] = []
    for frame in sorted(set(frames), key=lambda frame: (frame.sequence, frame.index)):
        if runs and runs[-1][-1].neighbour(1) == frame:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs
