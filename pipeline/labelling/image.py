"""Labels of one image."""

import os

import numpy as np
from numpy.typing import NDArray

from xdistill.manifests.disk import PathLike, as_path
from xdistill.pipeline.kitti.images import as_image
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.protocol import Teacher, require_maps


def label_image(
    image: PathLike | NDArray[np.uint8], *, teacher: str | Teacher, device: str | None = None
) -> NDArray[np.uint8]:
    """Label one image with a teacher.

    Args:
        image: PNG or JPEG file, or RGB (height, width, 3) uint8.
        teacher: A teacher from ``load_teacher``, to label many images with, or the text that
            ``--teacher`` takes: ``street``, ``ocrnet-hr48``, ``hf:NAME``, ``mymodule:factory``.
        device: Where a teacher given as text runs: cpu, cuda or cuda:N; None takes cuda where it
            is available.

    Returns:
        Train ids 0-18 (height, width), 255 where there is none.

    Raises:
        ImageError: The file is missing or damaged, or the array is not an RGB image.
        TeacherError: The text names no teacher, or the teacher cannot label images of this size.
        FetchError: Its published weights could not be downloaded.
    """
    pixels = as_image(image)
    chosen = load_teacher(teacher, device=device) if isinstance(teacher, str) else teacher
    chosen.check_size(*pixels.shape[:2])
    prediction = chosen.label([pixels], [_key(image)])
    classes = require_maps(prediction, [pixels], where=str(chosen.record["kind"])).classes
    return np.asarray(classes[0])


def _key(image: PathLike | NDArray[np.uint8]) -> str:
    """What a teacher knows the image by: of a KITTI frame, its key."""
    if not isinstance(image, str | os.PathLike):
        return "image"
    path = as_path(image).absolute()
    # <date>/<drive>/image_02/data/<number>.png
    folders = path.parts[-5:-2] if path.parent.name == "data" else ()
    return "/".join((*folders, path.stem))
