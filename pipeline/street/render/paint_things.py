"""Colours of vehicles, signs, lamps and railings."""

import math

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import band, stripes
from xdistill.pipeline.street.render.paints import Paint, blend
from xdistill.pipeline.street.vectors import Vector, ahead, mixed, times
from xdistill.pipeline.street.world.solids import Solid


@compiled
def wheel(solid: Solid, point: Vector, fine: float) -> Paint:
    """A bright hub in a dark tyre."""
    x, y, _ = point
    grey = 0.012 + 0.25 * band(math.sqrt(x * x + y * y), 0.0, 0.58 * solid["half"][0], fine)
    return (grey, grey, grey), 0.0, 0.0


@compiled
def mesh(solid: Solid, u: float, z: float, blur: float) -> Paint:
    """Bars in a frame."""
    pitch = solid["params"][0]
    bars = stripes(u / pitch, 0.45, blur / pitch)
    frame = 1.0 - band(abs(z), 0.0, solid["half"][2] - 0.08, blur)
    return blend(solid, max(bars, frame), 1.0, 0.1)


@compiled
def bodywork(solid: Solid, point: Vector, normal: Vector, fine: float) -> Paint:
    """Paint, a dark sill, and on the two ends lamps, grille and number plate."""
    x, y, z = point
    length, lamp = solid["params"][0], solid["params"][1]
    width = solid["half"][1]
    ends = 1.0 if abs(x) > length - 0.28 else 0.0
    lamps = ends * band(abs(z - lamp), 0.0, 0.11, fine) * band(abs(y), 0.52 * width, width, fine)
    plate = ends * band(abs(z - lamp + 0.24), 0.0, 0.07, fine) * band(abs(y), 0.0, 0.27, fine)
    sill = band(z, -2.0, solid["params"][2], fine)
    doors = 0.0
    if ends == 0.0:
        doors = stripes((x + 0.25) / 1.05, 0.03, fine / 1.05) * 0.5
    rest = 1.0 - min(1.0, max(lamps, plate))
    dark = 1.0 - max(0.9 * sill, doors)
    bulbs = (0.9, 0.9, 0.85) if x > 0.0 else (0.55, 0.02, 0.02)
    colour = ahead(times(times(solid["colour"], rest), dark), bulbs, lamps)
    gloss = (0.10 + 0.25 * max(0.0, normal[2])) * (1.0 - sill)
    return ahead(colour, (0.6, 0.6, 0.55), plate), gloss, 0.0


@compiled
def cabin(solid: Solid, u: float, z: float, nz: float, fine: float) -> Paint:
    """Glass below the roof's edge, between pillars."""
    if nz > 0.9:
        return blend(solid, 0.0, 1.0, 0.3)
    pillar = solid["params"][1]
    posts = 0.0 if pillar == 0.0 else stripes(u / pillar + 0.04, 0.08, fine / pillar)
    roof = 1.0 - band(z, -9.0, solid["params"][0], fine)
    body = min(1.0, posts + roof)
    colour = ahead(times(solid["colour"], body), (0.02, 0.024, 0.028), 1.0 - body)
    return colour, 0.1 * body + 0.6 * (1.0 - body), 0.0


@compiled
def banded(solid: Solid, u: float, z: float, nz: float, fine: float, coarse: float) -> Paint:
    """Side of a bus or tram: windows in a band, a stripe of the accent below."""
    low, high, pitch = solid["params"][0], solid["params"][1], solid["params"][2]
    side = 1.0 if abs(nz) < 0.5 else 0.0
    glass = side * band(z, low, high, fine) * stripes(u / pitch, 0.9, coarse / pitch)
    stripe = side * band(z, low - 0.75, low - 0.35, fine)
    body = blend(solid, stripe, 1.0, 0.08)[0]
    colour = ahead(times(body, 1.0 - glass), (0.02, 0.022, 0.025), glass)
    return colour, 0.08 + 0.5 * glass, 0.0


@compiled
def sign(solid: Solid, point: Vector, normal: Vector, fine: float) -> Paint:
    """Face towards -x: rim, ground and a figure; the back is bare metal."""
    if normal[0] > -0.5:
        return (0.28, 0.28, 0.29), 0.05, 0.0
    _, y, z = point
    width, height, style = solid["half"][1], solid["half"][2], solid["params"][0]
    if style == 0.0:
        radius = math.sqrt(y * y + z * z) / width
        inner = band(radius, 0.0, 0.68, fine / width)
        bar = band(abs(z), 0.0, 0.16 * height, fine) * band(abs(y), 0.0, 0.5 * width, fine)
    else:
        rim = 0.12 if style == 1.0 else 0.06
        across, up = abs(y) / width, abs(z) / height
        inner = band(across, 0.0, 1.0 - rim, fine / width) * band(up, 0.0, 1.0 - rim, fine / height)
        lines = stripes(z / height * 2.0 + 0.3, 0.35, 2.0 * fine / height)
        bar = lines * band(across, 0.0, 0.65, fine / width)
    plate = blend(solid, min(1.0, inner * (1.0 - bar)), 1.0, 0.05)[0]
    mark = solid["params"][1]
    return mixed(plate, (mark, mark, mark), inner * bar), 0.05, 0.0


@compiled
def lamps(solid: Solid, point: Vector, normal: Vector, fine: float) -> Paint:
    """Three lamps on a dark housing, seen from -x; one is lit."""
    if normal[0] > -0.5:
        return (0.02, 0.02, 0.02), 0.0, 0.0
    _, y, z = point
    height = solid["half"][2]
    position = (z + height) / (2.0 * height) * 3.0
    lamp = min(2.0, max(0.0, math.floor(position)))
    off = (position - lamp - 0.5) * 2.0 * height / 3.0
    radius = math.sqrt(off * off + y * y) / (height / 3.0)
    share = band(radius, 0.0, 0.78, 3.0 * fine / height)
    lit = 1.0 if lamp == solid["params"][0] else 0.06
    red = share * lit * (1.6 if lamp > 0.5 else 0.05)
    green = share * lit * (0.1 if lamp > 1.5 else (0.9 if lamp > 0.5 else 1.5))
    blue = share * lit * (0.7 if lamp < 0.5 else 0.05)
    return (0.02 + red, 0.02 + green, 0.02 + blue), 0.0, share if lit == 1.0 else 0.0
