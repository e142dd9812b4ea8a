"""Colours of house fronts, roofs, walls and fences."""

import math

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import band, fractal2, hash_unit, stripes
from xdistill.pipeline.street.render.paints import Paint, blend
from xdistill.pipeline.street.vectors import Vector, ahead, times
from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Solid


@compiled
def masonry(solid: Solid, u: float, z: float, fine: float, coarse: float) -> Paint:
    length, height = solid["params"][0], solid["params"][1]
    row = math.floor(z / height)
    shift = 0.5 * (row - 2.0 * math.floor(0.5 * row))
    brick = hash_unit(int(math.floor(u / length + shift)), int(row), 1, solid["seed"]) - 0.5
    joint = max(
        stripes(u / length + shift, 0.05, coarse / length), stripes(z / height, 0.13, fine / height)
    )
    contrast = solid["params"][2]
    visible = max(0.0, 1.0 - coarse / length)
    stains = fractal2(u, z, solid["seed"] + 3, 2.2, 4, math.sqrt(fine * coarse))
    cap = band(solid["half"][2] - z, 0.0, 0.14, fine)
    level = 1.0 + contrast * (0.7 * brick * visible + 0.35 * stains) + 0.25 * cap
    return blend(solid, contrast * joint, level, 0.0)


@compiled
def planks(solid: Solid, u: float, z: float, fine: float, coarse: float) -> Paint:
    width = solid["params"][0]
    tint = hash_unit(int(math.floor(u / width)), 0, 2, solid["seed"]) - 0.5
    visible = max(0.0, 1.0 - coarse / width)
    grooves = stripes(u / width, 0.16, coarse / width)
    rails = stripes((z + solid["half"][2]) / (0.8 * solid["half"][2]) + 0.2, 0.1, fine)
    grain = fractal2(6.0 * u, z, solid["seed"] + 4, 1.2, 3, 2.0 * math.sqrt(fine * coarse))
    level = 1.0 + 0.35 * tint * visible + 0.25 * grain
    return blend(solid, max(grooves, 0.6 * rails), level, 0.0)


@compiled
def tiles(solid: Solid, point: Vector, normal: Vector, blur: float) -> Paint:
    """Rows of tiles on the slopes; the gables are wall."""
    _, y, z = point
    if abs(normal[1]) > 0.7:
        return blend(solid, 1.0, 0.95, 0.0)
    rows = stripes(z / 0.32, 0.22, blur / 0.32)
    columns = stripes(y / 0.28, 0.18, blur / 0.28)
    weather = fractal2(y, z, solid["seed"] + 5, 3.0, 4, blur)
    dark = 1.0 - 0.45 * max(rows, 0.7 * columns)
    return blend(solid, 0.0, dark * (1.0 + 0.3 * weather), 0.0)


@compiled
def facade(solid: Solid, point: Vector, normal: Vector, fine: float, coarse: float) -> Paint:
    """Wall with rows of windows, a base, a cornice, and at times a different ground floor."""
    if abs(normal[2]) > 0.7:
        return (0.16, 0.155, 0.15), 0.0, 0.0
    seed, z = solid["seed"], point[2]
    axis = 0 if abs(normal[1]) > abs(normal[0]) else 1
    u, reach = point[axis], solid["half"][axis]
    height = z + solid["half"][2]
    storey, pitch, share = solid["params"][0], solid["params"][1], solid["params"][2]
    columns = max(1.0, math.floor(2.0 * reach / pitch))
    a = (u + reach) / (2.0 * reach) * columns
    b = height / storey
    top = math.floor((2.0 * solid["half"][2] - 0.4) / storey)
    inside = 1.0 if b < top else 0.0
    step = 2.0 * reach / columns
    low, tall = (0.06, 0.74) if b < 1.0 and seed % 3 == 0 else (0.32, 0.52)
    across = stripes(a - 0.5 * (1.0 - share), share, coarse / step)
    window = inside * across * stripes(b - low, tall, fine / storey)
    border = 0.22 / step
    framed = stripes(a - 0.5 * (1.0 - share) + border, share + 2.0 * border, coarse / step)
    frame = inside * framed * stripes(b - low + 0.045, tall + 0.09, fine / storey) - window
    room = hash_unit(int(math.floor(a)), int(math.floor(b)), 3, seed)
    wall = _wall(solid, u, z, height, fine, coarse)
    return _with_window(wall, min(1.0, window), min(1.0, max(0.0, frame)), room)


@compiled
def _with_window(wall: Paint, window: float, frame: float, room: float) -> Paint:
    """A wall's paint with shares of glass and of window frame."""
    dark = 0.015 + 0.10 * (room - 0.5 if room > 0.5 else 0.0)
    curtain = 0.25 if room > 0.85 else 0.0
    rest = 1.0 - window - frame if window + frame < 1.0 else 0.0
    colour = ahead(times(wall[0], rest), (0.55, 0.54, 0.52), frame)
    glass = ahead(colour, (1.0, 1.0, 0.95), window * (dark + curtain))
    return glass, window * (0.55 if curtain == 0.0 else 0.25), 0.0


@compiled
def _wall(solid: Solid, u: float, z: float, height: float, fine: float, coarse: float) -> Paint:
    """Plaster or brick, a dark base and a light cornice."""
    blur = math.sqrt(fine * coarse)
    stains = fractal2(0.6 * u, 0.25 * height, solid["seed"] + 6, 2.0, 4, blur)
    base = band(height, -1.0, 0.6, fine)
    cornice = band(2.0 * solid["half"][2] - height, 0.0, 0.35, fine)
    if solid["params"][3] == tx.BRICK_STYLE:
        joint = max(stripes(height / 0.12, 0.14, fine / 0.12), 0.0)
        grain = fractal2(u, 3.0 * height, solid["seed"] + 7, 0.6, 3, blur)
        level = 1.0 + 0.35 * grain + 0.25 * stains
        return blend(solid, max(0.5 * joint, cornice), level, 0.0)
    share = max(0.6 * base, cornice)
    return blend(solid, share, 1.0 + 0.16 * stains, 0.0)
