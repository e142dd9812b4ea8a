"""Pictures of depth and labels, written into the page itself."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

Depth = Float32[np.ndarray, "height width"]
Picture = UInt8[np.ndarray, "height width 3"]

ENLARGED = 2
"""Factor by which small frames are enlarged."""
NEAR_M, FAR_M = 4.0, 80.0
"""Depths of the brightest and the darkest colour; in between, colour follows log depth."""
SCALE_M = (4, 10, 20, 40, 80)
"""Depths marked on the colour bar."""
STOPS = 16
"""Colours of the bar; the browser interpolates between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourBar:
    """The colours of depth and what they mean."""

    gradient: str
    """CSS gradient from near to far."""
    marks: tuple[tuple[float, str], ...]
    """Position in percent and text of each mark."""


def depth_colours(depth: Depth) -> Picture:
    """Colour a depth map: bright is near, dark is far, black has no depth.

    Args:
        depth: (height, width) in metres, 0 where there is none.

    Returns:
        RGB (height, width, 3).
    """
    known = depth > 0
    near = np.log(FAR_M / np.maximum(depth, NEAR_M)) / np.log(FAR_M / NEAR_M)
    level = np.clip(255 * near, 0, 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.where(known[..., None], colours, 0).astype(np.uint8)


def depth_bar() -> ColourBar:
    """The colour bar of ``depth_colours``."""
    stops = depth_colours(np.geomspace(NEAR_M, FAR_M, STOPS, dtype=np.float32)[None])[0]
    marks = ((100 * np.log(m / NEAR_M) / np.log(FAR_M / NEAR_M), f"{m} m") for m in SCALE_M)
    return ColourBar(
        gradient=f"linear-gradient(to right, {', '.join(map(css_colour, stops.tolist()))})",
        marks=tuple((round(float(place), 1), text) for place, text in marks),
    )


def css_colour(rgb: Sequence[int]) -> str:
    """A colour (red, green, blue), 0-255 each, in CSS."""
    return "rgb({}, {}, {})".format(*rgb)


def enlarge(picture: Picture) -> UInt8[np.ndarray, "_ _ 3"]:
    """Repeat pixels, so that no label gets a colour between two others."""
    return picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def data_address(picture: Picture) -> str:
    """An RGB picture as an address that holds its PNG."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
