"""Colour of what a ray meets: paint, light, shadow, reflection and haze together."""

import math
from typing import NamedTuple

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.render.light import (
    Colour,
    Light,
    Shadows,
    hazed,
    lit,
    mirrored,
    sky,
    sunlit,
)
from xdistill.pipeline.street.render.paint_ground import ground_colour
from xdistill.pipeline.street.render.paints import Paint
from xdistill.pipeline.street.render.surfaces import paint
from xdistill.pipeline.street.render.trace import GROUND, SKY, Sectors, Surface
from xdistill.pipeline.street.world.road import KERB, Road, across
from xdistill.pipeline.street.world.solids import Floats, Solids


class Scene(NamedTuple):
    """Everything one frame shows, as arrays for the compiler."""

    solids: Solids
    """What stands or moves on the ground."""
    road: Road
    """The ground."""
    light: Light
    """Sun, sky and air."""
    shadows: Shadows
    """Where the sun does not reach."""


class View(NamedTuple):
    """An origin for rays, with the solids around it listed by direction."""

    sectors: Sectors
    """The lists."""
    x: float
    """World coordinates of the origin, with y and z; metres."""
    y: float
    z: float


GRAZING = 0.08
"""Least cosine between ray and normal that a footprint is stretched by."""
SHADOW_OFFSET_M = 0.3


@compiled
def painted(
    scene: Scene,
    surface: Surface,
    px: float,
    py: float,
    pz: float,
    dx: float,
    dy: float,
    dz: float,
    spread: float,
) -> tuple[Paint, float, float, float]:
    """Paint at the point p of a surface met along d, and its world normal.

    Args:
        scene: The frame.
        surface: What ``trace`` found; not the sky.
        px: World point, with py and pz; metres.
        dx: Unit ray, with dy and dz.
        spread: Angle that a pixel covers, radians.
    """
    t, i, a, b, c, area = surface
    fine = t * spread
    if i == GROUND:
        return _painted_ground(scene.road, area, px, py, fine, fine / max(-dz, GRAZING))
    m, o = scene.solids[i]["axes"], scene.solids[i]["centre"]
    nx, ny, nz = turned(m[:, 0], a, b, c), turned(m[:, 1], a, b, c), turned(m[:, 2], a, b, c)
    coarse = fine / max(-(nx * dx + ny * dy + nz * dz), GRAZING)
    u, v, w = px - o[0], py - o[1], pz - o[2]
    x, y, z = turned(m[0], u, v, w), turned(m[1], u, v, w), turned(m[2], u, v, w)
    return paint(scene.solids[i], x, y, z, a, b, c, fine, coarse), nx, ny, nz


@compiled
def turned(row: Floats, x: float, y: float, z: float) -> float:
    """One coordinate of a turned vector: its product with a row of the rotation."""
    return float(row[0] * x + row[1] * y + row[2] * z)


@compiled
def _painted_ground(
    road: Road, area: int, x: float, y: float, fine: float, coarse: float
) -> tuple[Paint, float, float, float]:
    lateral, along = across(road, x, y)
    r, g, b = ground_colour(road, area, x, lateral, along, fine, coarse)
    if area == KERB:
        return (r, g, b, 0.0, 0.0), 0.0, -1.0 if lateral > 0.0 else 1.0, 0.0
    return (r, g, b, 0.0, 0.0), 0.0, 0.0, 1.0


@compiled
def shaded(
    scene: Scene, view: View, surface: Surface, dx: float, dy: float, dz: float, spread: float
) -> Colour:
    """Linear RGB that arrives along the ray; arguments as for ``painted``."""
    t, light = surface[0], scene.light
    if surface[1] == SKY:
        return sky(light, dx, dy, dz)
    px, py, pz = view.x + t * dx, view.y + t * dy, view.z + t * dz
    look, nx, ny, nz = painted(scene, surface, px, py, pz, dx, dy, dz, spread)
    base = (look[0], look[1], look[2])
    if look[4] > 0.5:
        return hazed(light, base, t)
    # A little off the surface, so that a face along the sun's rays does not shade itself.
    off = SHADOW_OFFSET_M
    share = sunlit(scene.shadows, light, px + off * nx, py + off * ny, pz + off * nz)
    r, g, b = lit(light, base, nx, ny, nz, share)
    if look[3] > 0.0:
        facing = -(dx * nx + dy * ny + dz * nz)
        gloss = look[3] * (0.35 + 0.65 * math.pow(1.0 - max(0.0, facing), 3.0))
        mx, my, mz = dx + 2.0 * facing * nx, dy + 2.0 * facing * ny, dz + 2.0 * facing * nz
        sr, sg, sb = mirrored(light, px, py, mx, my, mz)
        r, g, b = r + gloss * (sr - r), g + gloss * (sg - g), b + gloss * (sb - b)
    return hazed(light, (r, g, b), t)
