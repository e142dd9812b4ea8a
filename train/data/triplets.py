"""Target frames of a training: those with both source frames on disk."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdistill.manifests.errors import shown
from xdistill.pipeline.kitti.errors import MissingFrameError
from xdistill.pipeline.kitti.frames import CAMERA_CHOICES, Frame, find_frames, missing_frames
from xdistill.pipeline.kitti.missing import listing, name_frames, require_frames
from xdistill.pipeline.kitti.splits import EVERYTHING, load_split

OFFSETS = (-1, 1)
"""Source frames of a target frame: the previous and the next one (Monodepth2)."""


class TripletError(MissingFrameError):
    """Target frames without the source frames that training needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The frames to train on."""

    split: str | None
    """Split file or name, or ``all``; None with drives."""
    drives: tuple[str, ...] = ()
    """Drives by full or short name."""
    camera: str = "l"
    """``l``, ``r`` or ``both``; a split names its own cameras."""

    def __post_init__(self) -> None:
        if self.camera not in CAMERA_CHOICES:
            raise TripletError(
                f"there is no camera {shown(self.camera)}",
                expected=f"one of {', '.join(CAMERA_CHOICES)}",
                remedy="correct the camera",
            )

    @property
    def takes_camera(self) -> bool:
        """Whether the camera is chosen here, rather than by the lines of a split."""
        return self.split in (None, EVERYTHING)

    @property
    def options(self) -> str:
        """The selection as options of xd-pipeline segment."""
        words = ["--split", self.split] if self.split else []
        words += [word for drive in self.drives for word in ("--drive", drive)]
        if self.takes_camera and self.camera != "l":
            words += ["--camera", self.camera]
        return f" {shlex.join(words)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Triplets:
    """Target frames whose source frames exist."""

    frames: tuple[Frame, ...]
    """Target frames, in the order of the split."""
    left_out: int
    """Frames without both neighbours; 0 with a split, where that is an error."""

    @property
    def digest(self) -> str:
        """sha256 of the list, to check that a resumed run trains on the same frames."""
        text = "\n".join(map(str, self.frames))
        return hashlib.sha256(text.encode()).hexdigest()


def find_triplets(root: Path, selection: Selection) -> Triplets:
    """Find the target frames of a selection.

    Raises:
        SplitError: The split is unknown, empty or malformed.
        MissingFrameError: Frames of the split are missing, or no frame has both neighbours.
        TripletError: Frames of the split lack a neighbour; they are named.
        KittiError: The root or a drive is missing.
    """
    if selection.split and selection.split != EVERYTHING:
        frames = load_split(selection.split)
        require_frames(root, frames)
        lonely = _without_neighbours(root, frames)
        if lonely:
            raise _lonely(lonely, frames, root)
        return Triplets(frames=tuple(frames), left_out=0)
    found = find_frames(
        root, drives=selection.drives or None, cameras=CAMERA_CHOICES[selection.camera]
    )
    lonely_frames = set(_without_neighbours(root, found))
    kept = tuple(frame for frame in found if frame not in lonely_frames)
    if not kept:
        raise _lonely(found, found, root)
    return Triplets(frames=kept, left_out=len(lonely_frames))


def _without_neighbours(root: Path, frames: Sequence[Frame]) -> list[Frame]:
    """The frames that lack a source frame on disk."""
    # Frame 0 has no previous frame: its number would be negative.
    lonely = {f for f in frames if f.index + min(OFFSETS) < 0}
    for offset in OFFSETS:
        inner = [frame.neighbour(offset) for frame in frames if frame not in lonely]
        lonely |= {frame.neighbour(-offset) for frame in missing_frames(root, inner)}
    return [frame for frame in frames if frame in lonely]


def _lonely(lonely: Sequence[Frame], frames: Sequence[Frame], root: Path) -> TripletError:
    return TripletError(
        f"{len(lonely)} of {len(frames)} frames have no previous or no next frame: "
        + name_frames(lonely),
        expected="the frame before and the frame after on disk",
        where=root.absolute(),
        remedy="remove these frames from the split, or fetch the whole drives" + listing(lonely),
    )
