"""Pictures of test frames for the report: image, labels, groups, true and predicted depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from xdistill.grouping.classes import cityscapes
from xdistill.grouping.scheme import load_scheme
from xdistill.manifests import disk
from xdistill.pipeline.demo.stages import RUNS, DemoSettings
from xdistill.pipeline.demo.step import DemoError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import read_image
from xdistill.pipeline.kitti.splits import read_split
from xdistill.pipeline.store import LabelReader
from xdistill.pipeline.street.record.folder import DEPTH, DEPTH_STEPS
from xdistill.train.evaluation.predictions import read_disparities
from xdistill.train.page.pictures import Depth, css_colour, data_address, depth_colours, enlarge

EXAMPLES = 4
"""Number of test frames shown, spread over the drives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One test frame in the report."""

    frame: str
    """As a split line."""
    panels: dict[str, str]
    """Data address of each picture by its caption."""


def examples(settings: DemoSettings) -> list[Example]:
    """Some test frames with image, labels, groups, exact depth and both predictions."""
    frames = read_split(settings.split("test"))
    predictions = {name: read_disparities(settings.predictions(name), frames) for name in RUNS}
    return [
        _example(settings, frames[n], {name: np.array(p[n]) for name, p in predictions.items()})
        for n in spread(len(frames), EXAMPLES)
    ]


def spread(count: int, wanted: int) -> list[int]:
    """Indices in the middle of ``wanted`` equal parts of ``count``, at most ``count`` of them."""
    wanted = min(count, wanted)
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def _example(
    settings: DemoSettings, frame: Frame, disparities: dict[str, Float32[np.ndarray, "_ _"]]
) -> Example:
    truth = exact_depth(settings.street, frame)
    scheme = load_scheme("4")
    classes = LabelReader(settings.store, "classes").read(frame.sequence, frame.index)
    groups = LabelReader(settings.store, scheme.array).read(frame.sequence, frame.index)
    pictures = {
        "image": read_image(image_path(settings.street, frame)),
        "teacher's labels": cityscapes().palette()[classes],
        "four groups": scheme.palette()[groups],
        "true depth": depth_colours(truth),
    }
    for name, disparity in disparities.items():
        pictures[f"depth, {name}"] = depth_colours(aligned(disparity, truth))
    panels = {caption: data_address(enlarge(picture)) for caption, picture in pictures.items()}
    return Example(frame=str(frame), panels=panels)


def exact_depth(street: Path, frame: Frame) -> Depth:
    """The street's exact depth (height, width) in metres, 0 in the sky.

    Raises:
        DemoError: The file is missing or damaged.
    """
    path = street / DEPTH / frame.sequence / f"{frame.index:010d}.png"
    try:
        steps = cv2.imdecode(np.frombuffer(disk.read_bytes(path), np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        steps = None
    if steps is None:
        raise DemoError(
            f"the depth of {frame} is missing or damaged",
            where=path.absolute(),
            remedy="render the street again",
        )
    return np.asarray(steps / DEPTH_STEPS, np.float32)


def aligned(disparity: Float32[np.ndarray, "_ _"], truth: Depth) -> Depth:
    """Depth at the size of the ground truth and with its median, as in the scores."""
    height, width = truth.shape
    depth = 1 / cv2.resize(disparity, (width, height))
    known = truth > 0
    ratio = np.median(truth[known]) / np.median(depth[known]) if known.any() else 1.0
    return np.asarray(depth * ratio, np.float32)


def legends() -> dict[str, list[tuple[str, str]]]:
    """Name and CSS colour of the ``classes`` and of the ``groups``."""
    classes, scheme = cityscapes(), load_scheme("4")
    return {
        "classes": _colours(classes.names, classes.colours),
        "groups": _colours(scheme.groups, scheme.colours),
    }


def _colours(
    names: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> list[tuple[str, str]]:
    return [(name, css_colour(rgb)) for name, rgb in zip(names, colours, strict=True)]
