"""Colour of what a ray meets: paint, light, shadow, reflection and haze together."""

import math
from typing import NamedTuple

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.render import paint_things as things
from xdistill.pipeline.street.render import paint_walls as walls
from xdistill.pipeline.street.render.light import Light, hazed, lit, mirrored, sky
from xdistill.pipeline.street.render.paint_ground import ground_colour
from xdistill.pipeline.street.render.paints import Paint, leaves, plain
from xdistill.pipeline.street.render.shadows import Shadows, sunlit
from xdistill.pipeline.street.render.trace import GROUND, SKY, Surface, View
from xdistill.pipeline.street.vectors import (
    Vector,
    ahead,
    between,
    dot,
    mixed,
    times,
    turned,
    turned_back,
)
from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.road import KERB, Road, across
from xdistill.pipeline.street.world.solids import Solid, Solids

GRAZING = 0.08
"""Least cosine between ray and normal that a footprint is stretched by."""
SHADOW_OFFSET_M = 0.3


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


@compiled
def painted(
    scene: Scene, surface: Surface, point: Vector, ray: Vector, spread: float
) -> tuple[Paint, Vector]:
    """Paint at a point of a surface, and its world normal.

    Args:
        scene: The frame.
        surface: What ``trace`` found; not the sky.
        point: World point, metres.
        ray: Unit direction in which the point was met.
        spread: Angle that a pixel covers, radians.
    """
    distance, number, facing, area = surface
    fine = distance * spread
    if number == GROUND:
        return _painted_ground(scene.road, area, point, fine, fine / max(-ray[2], GRAZING))
    axes, centre = scene.solids[number]["axes"], scene.solids[number]["centre"]
    normal = turned_back(axes, facing)
    coarse = fine / max(-dot(normal, ray), GRAZING)
    own = turned(axes, between(centre, point))
    return _painted_solid(scene.solids[number], own, facing, fine, coarse), normal


@compiled
def _painted_ground(
    road: Road, area: int, point: Vector, fine: float, coarse: float
) -> tuple[Paint, Vector]:
    lateral, along = across(road, point[0], point[1])
    colour = ground_colour(road, area, point[0], lateral, along, fine, coarse)
    if area == KERB:
        return (colour, 0.0, 0.0), (0.0, -1.0 if lateral > 0.0 else 1.0, 0.0)
    return (colour, 0.0, 0.0), (0.0, 0.0, 1.0)


@compiled
def _painted_solid(
    solid: Solid, point: Vector, normal: Vector, fine: float, coarse: float
) -> Paint:
    """Paint at a point of a solid with an outward normal, both in its own frame."""
    texture, blur = solid["texture"], math.sqrt(fine * coarse)
    # Flat faces are painted over (u, z): along the face and up.
    u, z = point[0] if abs(normal[1]) > abs(normal[0]) else point[1], point[2]
    if texture == tx.FOLIAGE or texture == tx.HEDGE:
        return leaves(solid, point, blur)
    if texture == tx.FACADE:
        return walls.facade(solid, point, normal, fine, coarse)
    if texture == tx.MASONRY:
        return walls.masonry(solid, u, z, fine, coarse)
    if texture == tx.PLANKS:
        return walls.planks(solid, u, z, fine, coarse)
    if texture == tx.TILES:
        return walls.tiles(solid, point, normal, blur)
    if texture == tx.PAINT:
        return things.bodywork(solid, point, normal, fine)
    if texture == tx.CABIN:
        return things.cabin(solid, u, z, normal[2], fine)
    if texture == tx.WHEEL:
        return things.wheel(solid, point, fine)
    if texture == tx.BANDED:
        return things.banded(solid, u, z, normal[2], fine, coarse)
    if texture == tx.SIGN:
        return things.sign(solid, point, normal, fine)
    if texture == tx.LAMPS:
        return things.lamps(solid, point, normal, fine)
    if texture == tx.MESH:
        return things.mesh(solid, u, z, blur)
    if texture == tx.GLOW:
        return times(solid["colour"], 1.0), 0.0, 1.0
    return plain(solid, point, blur)


@compiled
def shaded(scene: Scene, view: View, surface: Surface, ray: Vector, spread: float) -> Vector:
    """Linear RGB that arrives along the ray; arguments as for ``painted``."""
    distance, light = surface[0], scene.light
    if surface[1] == SKY:
        return sky(light, ray)
    point = ahead(view.origin, ray, distance)
    (base, gloss, glow), normal = painted(scene, surface, point, ray, spread)
    if glow > 0.5:
        return hazed(light, base, distance)
    # A little off the surface, so that a face along the sun's rays does not shade itself.
    share = sunlit(scene.shadows, light, ahead(point, normal, SHADOW_OFFSET_M))
    colour = lit(light, base, normal, share)
    if gloss > 0.0:
        facing = -dot(ray, normal)
        gloss *= 0.35 + 0.65 * math.pow(1.0 - max(0.0, facing), 3.0)
        mirror = mirrored(light, point, ahead(ray, normal, 2.0 * facing))
        colour = mixed(colour, mirror, gloss)
    return hazed(light, colour, distance)
