"""Sun, sky and air: what a surface receives and what lies between it and the camera."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import fractal2, smooth, value2

Colour = tuple[float, float, float]
CLOUD_WAVELENGTH = 1.3
"""Size of clouds on the plane z = 1 above the observer."""
SHADOW_BIAS_M = 0.25
"""A surface does not shade itself."""


LIGHT = np.dtype(
    [
        ("sun", "f8", 3),
        ("sunshine", "f8", 3),
        ("skylight", "f8", 3),
        ("zenith", "f8", 3),
        ("horizon", "f8", 3),
        ("clouds", "f8"),
        ("haze", "f8"),
        ("seed", "i8"),
    ]
)
"""The light of one drive; colours are linear RGB. ``sun``: unit direction towards the sun.
``sunshine``: irradiance of a surface that faces the sun. ``skylight``: irradiance from above.
``zenith``: colour of the sky overhead. ``horizon``: colour of the sky at the horizon and of the
haze. ``clouds``: share of the sky that is covered. ``haze``: extinction, 1 / metre. ``seed``:
decides the clouds."""

Light = Any
"""One record of LIGHT."""


class Shadows(NamedTuple):
    """Height of the topmost surface along each sun ray, by where the ray meets z = 0."""

    top: NDArray[np.float32]
    """(rows, columns) metres; rows along x, columns along y."""
    x: float
    """World x of row 0, metres."""
    y: float
    """World y of column 0, metres."""
    cell: float
    """Metres."""


@compiled
def sky(light: Light, dx: float, dy: float, dz: float) -> Colour:
    """Colour of the sky in a direction."""
    height = max(dz, 0.0)
    blend = 1.0 - math.exp(-3.5 * height)
    towards = max(0.0, dx * light["sun"][0] + dy * light["sun"][1] + dz * light["sun"][2])
    glare = 0.25 * towards**24
    cover = 0.0
    if light["clouds"] > 0.0 and height > 0.02:
        u, v = dx / (height + 0.12), dy / (height + 0.12)
        noise = 0.5 + 0.9 * fractal2(
            u, v, light["seed"], CLOUD_WAVELENGTH, 4, 0.02 / (height + 0.12)
        )
        cover = smooth(1.0 - light["clouds"] - 0.25, 1.0 - light["clouds"] + 0.25, noise)
        cover *= smooth(0.02, 0.2, height)
    white = 0.85 * (light["skylight"][1] + 0.45 * light["sunshine"][1])
    red = light["horizon"][0] + blend * (light["zenith"][0] - light["horizon"][0])
    green = light["horizon"][1] + blend * (light["zenith"][1] - light["horizon"][1])
    blue = light["horizon"][2] + blend * (light["zenith"][2] - light["horizon"][2])
    return (
        red + cover * (white - red) + glare * light["sunshine"][0],
        green + cover * (white - green) + glare * light["sunshine"][1],
        blue + cover * (white - blue) + glare * light["sunshine"][2],
    )


@compiled
def mirrored(light: Light, x: float, y: float, dx: float, dy: float, dz: float) -> Colour:
    """What a glossy surface at (x, y) shows: sky above an imagined skyline, street below it."""
    azimuth = math.atan2(dy, dx)
    skyline = 0.15 + 0.55 * value2(3.0 * azimuth + 0.07 * x, 0.07 * y, light["seed"] + 5)
    rise = dz / math.sqrt(dx * dx + dy * dy + 1e-9)
    red, green, blue = sky(light, dx, dy, dz)
    above = smooth(skyline - 0.05, skyline + 0.05, rise)
    ground = 0.12 if rise > 0.0 else 0.16
    return (
        above * red + (1.0 - above) * ground * light["skylight"][0],
        above * green + (1.0 - above) * ground * light["skylight"][1],
        above * blue + (1.0 - above) * ground * light["skylight"][2],
    )


@compiled
def sunlit(shadows: Shadows, light: Light, x: float, y: float, z: float) -> float:
    """Share of the sun that reaches a point: 0 in shadow, 1 in the open."""
    u = (x - light["sun"][0] / light["sun"][2] * z - shadows.x) / shadows.cell - 0.5
    v = (y - light["sun"][1] / light["sun"][2] * z - shadows.y) / shadows.cell - 0.5
    if not (0.0 <= u < shadows.top.shape[0] - 1.0 and 0.0 <= v < shadows.top.shape[1] - 1.0):
        return 1.0
    i, j = int(u), int(v)
    a, b = u - i, v - j
    level = z + SHADOW_BIAS_M
    near = (1.0 - b) * (shadows.top[i, j] < level) + b * (shadows.top[i, j + 1] < level)
    far = (1.0 - b) * (shadows.top[i + 1, j] < level) + b * (shadows.top[i + 1, j + 1] < level)
    return float((1.0 - a) * near + a * far)


@compiled
def lit(light: Light, colour: Colour, nx: float, ny: float, nz: float, sun_share: float) -> Colour:
    """Light that a matt surface sends back (Lambert), with some returned from the ground."""
    facing = (
        max(0.0, nx * light["sun"][0] + ny * light["sun"][1] + nz * light["sun"][2]) * sun_share
    )
    above, below = 0.5 + 0.5 * nz, 0.22 * (0.5 - 0.5 * nz)
    r, g, b = light["skylight"][0], light["skylight"][1], light["skylight"][2]
    return (
        colour[0] * (facing * light["sunshine"][0] + (above + below) * r),
        colour[1] * (facing * light["sunshine"][1] + (above + below) * g),
        colour[2] * (facing * light["sunshine"][2] + (above + below) * b),
    )


@compiled
def hazed(light: Light, colour: Colour, distance: float) -> Colour:
    """A colour seen through the air (Beer-Lambert)."""
    clear = math.exp(-light["haze"] * distance)
    return (
        light["horizon"][0] + clear * (colour[0] - light["horizon"][0]),
        light["horizon"][1] + clear * (colour[1] - light["horizon"][1]),
        light["horizon"][2] + clear * (colour[2] - light["horizon"][2]),
    )
