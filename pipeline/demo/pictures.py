"""Pictures for the report, as data addresses inside the page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.classes import cityscapes
from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.demo.commands import DemoError
from xdistill.pipeline.demo.stages import BASELINE, DISTILLED, Settings
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.pipeline.kitti.images import read_image
from xdistill.pipeline.kitti.splits import read_split
from xdistill.pipeline.store import LabelReader

Picture = NDArray[np.uint8]

EXAMPLES = 4
"""Test frames shown, spread over the drives."""
ENLARGED = 2
"""Frames of the street are small."""
NEAR_M, FAR_M = 4.0, 80.0
"""Depths of the brightest and the darkest colour; between them the colour follows log depth."""
DEPTH_STEPS = 256
"""The street's depth files hold 1/256 m."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One test frame as the report shows it."""

    frame: str
    """As a split line."""
    panels: dict[str, str]
    """Data address of each picture by its caption."""


def examples(settings: Settings) -> list[Example]:
    """Test frames with image, labels, groups, exact depth and both predictions."""
    frames = read_split(settings.split("test"))
    predictions = {
        name: np.load(settings.predictions(name), mmap_mode="r") for name in (BASELINE, DISTILLED)
    }
    chosen = spread(len(frames), EXAMPLES)
    return [
        Example(
            frame=str(frames[n]),
            panels=_panels(
                settings, frames[n], {name: np.array(p[n]) for name, p in predictions.items()}
            ),
        )
        for n in chosen
    ]


def spread(count: int, wanted: int) -> list[int]:
    """Indices in the middle of ``wanted`` equal parts of ``count``, fewer where there are fewer."""
    wanted = min(count, wanted)
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def _panels(
    settings: Settings, frame: Frame, disparities: dict[str, NDArray[np.float32]]
) -> dict[str, str]:
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
    return {caption: data_address(enlarge(picture)) for caption, picture in pictures.items()}


def exact_depth(street: Path, frame: Frame) -> NDArray[np.float32]:
    """The street's own depth (height, width) in metres, 0 in the sky.

    Raises:
        DemoError: Missing or damaged.
    """
    path = street / "depth" / frame.sequence / f"{frame.index:010d}.png"
    steps = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if steps is None:
        raise DemoError(
            "no depth of this frame", where=path.absolute(), remedy="render the street again"
        )
    return np.asarray(steps / DEPTH_STEPS, np.float32)


def aligned(disparity: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth at the truth's size, with its median where there is truth, as the scores have it."""
    height, width = truth.shape
    depth = 1 / cv2.resize(disparity, (width, height))
    known = truth > 0
    ratio = np.median(truth[known]) / np.median(depth[known]) if known.any() else 1.0
    return np.asarray(depth * ratio, np.float32)


def depth_colours(depth: NDArray[np.float32]) -> Picture:
    """Bright is near, dark is far, on a logarithmic scale; black where there is no depth."""
    known = depth > 0
    near = np.log(FAR_M / np.maximum(depth, NEAR_M)) / np.log(FAR_M / NEAR_M)
    level = np.clip(255 * near, 0, 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.where(known[..., None], colours, 0).astype(np.uint8)


def enlarge(picture: Picture) -> Picture:
    """Repeat pixels, so that no label gets a colour of its own between two others."""
    return picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def data_address(picture: Picture) -> str:
    """A PNG inside an address, which needs no file."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def legend(which: str) -> Sequence[tuple[str, str]]:
    """Name and CSS colour of the ``classes`` or the ``groups``."""
    if which == "classes":
        table = cityscapes()
        pairs = zip(table.names, table.colours, strict=True)
    else:
        scheme = load_scheme("4")
        pairs = zip(scheme.groups, scheme.colours, strict=True)
    return [(name, f"rgb{tuple(colour)}") for name, colour in pairs]
