"""The weather of a drive: one draw of light."""

import numpy as np

from xdistill.pipeline.street.render.light import LIGHT, Light
from xdistill.pipeline.street.world.solids import linear_light


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
