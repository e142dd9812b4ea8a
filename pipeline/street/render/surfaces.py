"""Colours of solids: which painter a texture goes to, and those of plants and plain things."""

import math

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import fractal3
from xdistill.pipeline.street.render.paint_things import thing
from xdistill.pipeline.street.render.paint_walls import facade, masonry, planks, tiles
from xdistill.pipeline.street.render.paints import Paint, blend
from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Solid


@compiled
def paint(
    solid: Solid,
    x: float,
    y: float,
    z: float,
    nx: float,
    ny: float,
    nz: float,
    fine: float,
    coarse: float,
) -> Paint:
    """What a solid looks like at a point of its surface.

    Args:
        solid: The solid.
        x: Point in the solid's own frame, with y and z; metres.
        nx: Outward normal in that frame, with ny and nz.
        fine: Pixel's footprint across the line of sight, metres.
        coarse: Pixel's footprint along the line of sight, metres.
    """
    texture = solid["texture"]
    blur = math.sqrt(fine * coarse)
    if texture == tx.FOLIAGE or texture == tx.HEDGE:
        return _leaves(solid, x, y, z, blur)
    if texture == tx.FACADE:
        return facade(solid, x, y, z, nx, ny, nz, fine, coarse)
    # Flat faces are painted over (u, v): along the face and up.
    u = x if abs(ny) > abs(nx) else y
    if texture == tx.MASONRY:
        return masonry(solid, u, z, fine, coarse)
    if texture == tx.PLANKS:
        return planks(solid, u, z, fine, coarse)
    if texture == tx.TILES:
        return tiles(solid, y, z, ny, blur)
    if texture >= tx.PAINT:
        return thing(solid, x, y, z, nx, ny, nz, fine, coarse)
    return _plain(solid, x, y, z, blur)


@compiled
def _plain(solid: Solid, x: float, y: float, z: float, blur: float) -> Paint:
    texture = solid["texture"]
    if texture == tx.BARK:
        ridges = fractal3(4.0 * x, 4.0 * y, z, solid["seed"], 0.5, 3, 2.0 * blur)
        return blend(solid, 0.0, 1.0 + 0.6 * ridges, 0.0)
    if texture == tx.METAL:
        streaks = fractal3(3.0 * x, 3.0 * y, z, solid["seed"], 0.8, 2, blur)
        return blend(solid, 0.0, 1.0 + 0.2 * streaks, 0.12)
    mottle = fractal3(x, y, z, solid["seed"], 2.0, 2, blur)
    return blend(solid, 0.0, 1.0 + 0.04 * mottle, 0.0)


@compiled
def _leaves(solid: Solid, x: float, y: float, z: float, blur: float) -> Paint:
    """Light and dark clumps; darker inside and below."""
    seed = solid["seed"] + int(1000.0 * solid["half"][0])
    clumps = fractal3(x, y, z, seed, 0.9, 2, blur)
    leaves = fractal3(x, y, z, seed + 11, 0.22, 2, blur)
    share = min(1.0, max(0.0, 0.42 + 0.9 * clumps + 0.8 * leaves))
    height = 0.72 + 0.28 * z / solid["half"][2]
    return blend(solid, share, height * max(0.15, 0.8 + 0.7 * clumps + 0.6 * leaves), 0.0)
