"""Whether images on disk are the rectified ones that their calibration describes.

KITTI raw comes twice: synced and rectified, and as recorded, 1392x512 and distorted. Both have the
same calibration, which describes the rectified images alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.errors import CalibrationError
from xdistill.pipeline.kitti.frames import Frame, image_path, shorten
from xdistill.pipeline.kitti.images import image_size

STRETCH = 1.05
"""Largest change of the aspect ratio that a resizing explains, such as 1242x375 to 640x192."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """Images of a sequence whose size is not that of the rectified images."""

    sequence: str
    """Drive and camera."""
    path: Path
    """The first of them."""
    size: tuple[int, int]
    """Their height and width in pixels."""
    rectified: tuple[int, int]
    """Height and width of the rectified images: S_rect."""

    @property
    def resized(self) -> bool:
        """Whether they can be the rectified images, resized.

        Smaller ones may have any shape: networks take what fits a multiple of 32. Nobody enlarges
        images into another shape.
        """
        down, across = (have / want for have, want in zip(self.size, self.rectified, strict=True))
        return max(down, across) <= 1 or max(down / across, across / down) <= STRETCH

    def __str__(self) -> str:
        have, want = (f"{width}x{height}" for height, width in (self.size, self.rectified))
        return f"{have} where the calibration is of rectified images of {want}"


def sequence_sizes(
    root: Path, frames: Iterable[Frame]
) -> dict[Frame, tuple[Path, tuple[int, int]]]:
    """The first frame of each sequence, with its image's file and its height and width.

    Sequences without an image are left out, and those whose image is damaged: that is reported
    where the image is read.
    """
    first: dict[str, Frame] = {}
    for frame in frames:
        first.setdefault(frame.sequence, frame)
    found = {}
    for frame in first.values():
        try:
            path = image_path(root, frame)
            found[frame] = (path, image_size(path))
        except XDistillError:
            continue
    return found


def mismatches(root: Path, frames: Iterable[Frame]) -> list[Mismatch]:
    """Sequences whose images have another size than their calibration says, where it says one."""
    result = []
    for frame, (path, size) in sequence_sizes(root, frames).items():
        try:
            rectified = read_calibration(root, frame.date).size(frame.camera)
        except XDistillError:
            continue
        if size != rectified:
            result.append(
                Mismatch(sequence=frame.sequence, path=path, size=size, rectified=rectified)
            )
    return result


def require_rectified(root: Path, frames: Iterable[Frame]) -> None:
    """Check that the images can be those that the calibration describes.

    Raises:
        CalibrationError: No resizing of the rectified images gives images of this size.
    """
    for found in mismatches(root, frames):
        if not found.resized:
            raise CalibrationError(
                f"the images of {found.sequence} are {found}",
                expected="KITTI's synced and rectified images, or a calibration of these images",
                where=found.path,
                remedy="download the synced and rectified drive (its name ends in _sync); for "
                "images of your own, write their S_rect and P_rect into calib_cam_to_cam.txt",
            )


def size_notes(root: Path, frames: Iterable[Frame]) -> list[str]:
    """What a user should know of images of another size, each kind in one sentence."""
    kinds: dict[str, list[str]] = {}
    for found in mismatches(root, frames):
        meaning = "taken as resized, not as cropped" if found.resized else "not rectified"
        kinds.setdefault(f"{found}: {meaning}", []).append(found.sequence)
    return [
        f"the images of {shorten(sequences, limit=2)} are {text}"
        for text, sequences in kinds.items()
    ]
