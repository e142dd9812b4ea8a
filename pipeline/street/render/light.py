"""The light of a drive: its weather, and what sun, sky and air do to a colour."""

import math
from typing import Any

import numpy as np

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import fractal2, smooth, value2
from xdistill.pipeline.street.vectors import Vector, ahead, dot, mixed, times
from xdistill.pipeline.street.world.solids import linear_light

CLOUD_WAVELENGTH = 1.3
"""Size of clouds on the plane z = 1 above the observer."""


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


def weather(rng: np.random.Generator) -> Light:
    """Sunny or overcast light with its haze."""
    overcast = rng.random() < 0.35
    elevation = rng.uniform(1.0, 1.3) if overcast else rng.uniform(0.5, 1.15)
    azimuth = rng.uniform(-np.pi, np.pi)
    sun = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation)]
    strength = rng.uniform(0.12, 0.3) if overcast else rng.uniform(1.5, 2.1)
    warm = linear_light((1.0, rng.uniform(0.93, 0.98), rng.uniform(0.82, 0.92)))
    grey = linear_light((0.86, 0.88, 0.91))
    blue = linear_light((0.50, 0.66, 0.88))
    tint = np.array([1.0, 1.0, 1.0]) if overcast else np.array([0.86, 0.95, 1.12])
    light = np.zeros((), LIGHT)
    light["sun"] = [*sun, np.sin(elevation)]
    light["sunshine"] = strength * warm
    light["skylight"] = (rng.uniform(0.75, 0.95) if overcast else rng.uniform(0.32, 0.42)) * tint
    # The sky is about as bright as white paper on the ground below it.
    white = ground_light(light)
    light["zenith"] = white * (0.95 * grey if overcast else 0.9 * blue)
    light["horizon"] = white * linear_light((0.88, 0.90, 0.92))
    light["clouds"] = rng.uniform(0.4, 0.7) if overcast else rng.uniform(0.0, 0.6)
    light["haze"] = np.exp(rng.uniform(np.log(0.0012), np.log(0.005)))
    light["seed"] = rng.integers(1 << 30)
    return light[()]


def ground_light(light: Light) -> float:
    """Irradiance of open ground, in the units of the light's colours (green)."""
    return float(light["skylight"][1] + light["sunshine"][1] * light["sun"][2])


@compiled
def sky(light: Light, ray: Vector) -> Vector:
    """Colour of the sky in a direction."""
    height = max(ray[2], 0.0)
    cover = 0.0
    if light["clouds"] > 0.0 and height > 0.02:
        u, v = ray[0] / (height + 0.12), ray[1] / (height + 0.12)
        noise = 0.5 + 0.9 * fractal2(
            u, v, light["seed"], CLOUD_WAVELENGTH, 4, 0.02 / (height + 0.12)
        )
        cover = smooth(1.0 - light["clouds"] - 0.25, 1.0 - light["clouds"] + 0.25, noise)
        cover *= smooth(0.02, 0.2, height)
    white = 0.85 * (light["skylight"][1] + 0.45 * light["sunshine"][1])
    clear = mixed(light["horizon"], light["zenith"], 1.0 - math.exp(-3.5 * height))
    glare = 0.25 * max(0.0, dot(ray, light["sun"])) ** 24
    return ahead(mixed(clear, (white, white, white), cover), light["sunshine"], glare)


@compiled
def mirrored(light: Light, point: Vector, ray: Vector) -> Vector:
    """What a glossy surface at a point shows: sky above an imagined skyline, street below it."""
    azimuth = math.atan2(ray[1], ray[0])
    shift, seed = 0.07 * point[0], light["seed"] + 5
    skyline = 0.15 + 0.55 * value2(3.0 * azimuth + shift, 0.07 * point[1], seed)
    rise = ray[2] / math.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + 1e-9)
    above = smooth(skyline - 0.05, skyline + 0.05, rise)
    ground = 0.12 if rise > 0.0 else 0.16
    return ahead(times(sky(light, ray), above), light["skylight"], (1.0 - above) * ground)


@compiled
def lit(light: Light, colour: Vector, normal: Vector, sun_share: float) -> Vector:
    """Light that a matt surface sends back (Lambert), with some returned from the ground."""
    facing = max(0.0, dot(normal, light["sun"])) * sun_share
    above, below = 0.5 + 0.5 * normal[2], 0.22 * (0.5 - 0.5 * normal[2])
    light_in = ahead(times(light["sunshine"], facing), light["skylight"], above + below)
    return colour[0] * light_in[0], colour[1] * light_in[1], colour[2] * light_in[2]


@compiled
def hazed(light: Light, colour: Vector, distance: float) -> Vector:
    """A colour seen through the air (Beer-Lambert)."""
    return mixed(light["horizon"], colour, math.exp(-light["haze"] * distance))
