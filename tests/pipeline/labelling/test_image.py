"""Labels of one image, by a teacher given as text or loaded before."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from xdistill.pipeline.kitti.errors import ImageError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.labelling.image import label_image
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.protocol import FrameLabelError, Prediction, TeacherError, fingerprint_of


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (20, 31, 3), np.uint8)


def test_a_file_and_its_pixels_have_the_same_labels(tmp_path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "frame.png"), image[..., ::-1])
    spec = "bright_teacher:without_confidence"
    teacher = load_teacher(spec)
    for labels in (
        label_image(image, teacher=spec),
        label_image(image, teacher=teacher),
        label_image(tmp_path / "frame.png", teacher=teacher),
        label_image(str(tmp_path / "frame.png"), teacher=teacher),
    ):
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, image[..., 0] % 19)


def test_a_kitti_frame_finds_its_label_file(tmp_path: Path, image: np.ndarray) -> None:
    labels = image[..., 0] % 19
    frame = Frame("2011_09_26/2011_09_26_drive_0001_sync", 5, "l")
    files = {
        tmp_path / "kitti" / frame.sequence / "data" / "0000000005.png": image,
        tmp_path / "labels" / f"{frame.key}.png": labels,
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), content)
    path = image_path(tmp_path / "kitti", frame)
    assert np.array_equal(label_image(path, teacher=f"png:{tmp_path / 'labels'}"), labels)
    with pytest.raises(FrameLabelError):
        label_image(image, teacher=f"png:{tmp_path / 'labels'}")


class Careless:
    """A teacher that takes no wide frames, and whose labels have another size."""

    record = {"kind": "careless"}
    fingerprint = fingerprint_of(record)
    calls_at_once = 1

    def check_size(self, height: int, width: int) -> None:
        if width > 31:
            raise TeacherError(f"frames of {width}x{height} are too wide")

    def label(self, images: list[np.ndarray], keys: list[str]) -> Prediction:
        return Prediction(classes=np.zeros((1, 3, 3), np.uint8))


def test_what_a_teacher_cannot_do_is_said(image: np.ndarray) -> None:
    with pytest.raises(TeacherError, match="frames of 62x20 are too wide"):
        label_image(np.tile(image, (1, 2, 1)), teacher=Careless())
    with pytest.raises(TeacherError, match=r"classes has shape \(1, 3, 3\)(.*\n)*.*careless"):
        label_image(image, teacher=Careless())
    with pytest.raises(TeacherError, match="'nobody' names no teacher"):
        label_image(image, teacher="nobody")
    with pytest.raises(ImageError, match="none.png cannot be read"):
        label_image("none.png", teacher=Careless())
