"""Images of another size than their calibration's rectified ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from xdistill.pipeline.kitti.errors import CalibrationError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.rectified import require_rectified, sequence_sizes, size_notes

DRIVE = "2011_09_26/2011_09_26_drive_0007_sync"
FRAMES = [Frame(DRIVE, 0, "l"), Frame(DRIVE, 1, "l")]


def folder(tmp_path: Path, image: tuple[int, int], *, rectified: str = "1242 375") -> Path:
    """A root with an image of a width and height, beside a calibration of others."""
    root = tmp_path / "kitti"
    path = root / FRAMES[0].sequence / "data" / "0000000000.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.zeros((image[1], image[0]), np.uint8))
    (root / "2011_09_26" / "calib_cam_to_cam.txt").write_text(f"S_rect_02: {rectified}\n")
    return root


@pytest.mark.parametrize("size", [(1242, 375)])
def test_rectified_images_need_no_word(tmp_path: Path, size: tuple[int, int]) -> None:
    root = folder(tmp_path, size)
    require_rectified(root, FRAMES)
    assert size_notes(root, FRAMES) == []


@pytest.mark.parametrize("size", [(1392, 512), (375, 1242), (1242, 400), (1400, 375)])
def test_what_no_resizing_gives_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    root = folder(tmp_path, size)
    with pytest.raises(CalibrationError) as caught:
        require_rectified(root, FRAMES)
    message = str(caught.value)
    assert message.startswith(f"the images of {DRIVE}/image_02 are {size[0]}x{size[1]} where the ")
    assert "1242x375" in message and "0000000000.png" in message and "_sync" in message
    assert "not rectified" in size_notes(root, FRAMES)[0]


# Halved, to a network's sizes, cut to KITTI's benchmark size, doubled.
@pytest.mark.parametrize("size", [(621, 188), (640, 192), (512, 256), (1216, 352), (2484, 750)])
def test_what_may_be_resized_is_told(tmp_path: Path, size: tuple[int, int]) -> None:
    root = folder(tmp_path, size)
    require_rectified(root, FRAMES)
    (text,) = size_notes(root, FRAMES)
    assert f"are {size[0]}x{size[1]} where" in text and "resized, not as cropped" in text


def test_sequences_of_one_kind_are_told_together(tmp_path: Path) -> None:
    root = folder(tmp_path, (640, 192))
    drives = [f"2011_09_26/2011_09_26_drive_000{n}_sync" for n in range(4)]
    for drive in drives:
        path = root / drive / "image_02" / "data" / "0000000005.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((192, 640), np.uint8))
    (text,) = size_notes(root, [Frame(drive, 5, "l") for drive in drives])
    assert text.startswith(f"the images of {drives[0]}/image_02, ") and "and 2 more" in text


def test_the_first_frame_of_each_sequence_is_looked_at(tmp_path: Path) -> None:
    root = folder(tmp_path, (1242, 375))
    assert [*sequence_sizes(root, [*FRAMES, Frame(DRIVE, 0, "r")])] == [FRAMES[0]]


@pytest.mark.parametrize("lacking", ["calibration", "image", "whole image"])
def test_what_is_not_there_is_no_mismatch(tmp_path: Path, lacking: str) -> None:
    root = folder(tmp_path, (1392, 512))
    image = root / FRAMES[0].sequence / "data" / "0000000000.png"
    if lacking == "calibration":
        (root / "2011_09_26" / "calib_cam_to_cam.txt").unlink()
    elif lacking == "image":
        image.unlink()
    else:
        image.write_bytes(b"\x89PNG")
    require_rectified(root, FRAMES)
    assert size_notes(root, FRAMES) == []
