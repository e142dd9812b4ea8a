"""Colours of vehicles, signs, lamps and clothes."""

import math

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import band, fractal3, stripes
from xdistill.pipeline.street.render.paints import Paint, blend
from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Solid


@compiled
def thing(
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
    """Vehicles, signs, lamps, clothes."""
    texture = solid["texture"]
    u = x if abs(ny) > abs(nx) else y
    if texture == tx.PAINT:
        return bodywork(solid, x, y, z, nx, nz, fine)
    if texture == tx.CABIN:
        return cabin(solid, u, z, nz, fine)
    if texture == tx.WHEEL:
        hub = band(math.sqrt(x * x + y * y), 0.0, 0.58 * solid["half"][0], fine)
        grey = 0.012 + 0.25 * hub
        return grey, grey, grey, 0.0, 0.0
    if texture == tx.BANDED:
        return banded(solid, u, z, nz, fine, coarse)
    if texture == tx.SIGN:
        return sign(solid, y, z, nx, fine)
    if texture == tx.LAMPS:
        return lamps(solid, y, z, nx, fine)
    return simple(solid, x, y, z, u, math.sqrt(fine * coarse))


@compiled
def simple(solid: Solid, x: float, y: float, z: float, u: float, blur: float) -> Paint:
    texture = solid["texture"]
    if texture == tx.GLASS:
        return 0.02, 0.025, 0.03, 0.75, 0.0
    if texture == tx.GLOW:
        return solid["colour"][0], solid["colour"][1], solid["colour"][2], 0.0, 1.0
    if texture == tx.MESH:
        pitch = solid["params"][0]
        bars = stripes(u / pitch, 0.45, blur / pitch)
        frame = 1.0 - band(abs(z), 0.0, solid["half"][2] - 0.08, blur)
        return blend(solid, max(bars, frame), 1.0, 0.1)
    folds = fractal3(x, y, z, solid["seed"], 0.35, 3, blur)
    return blend(solid, 0.0, 1.0 + 0.45 * folds, 0.0)


@compiled
def bodywork(
    solid: Solid, x: float, y: float, z: float, nx: float, nz: float, fine: float
) -> Paint:
    """Paint, a dark sill, and on the two ends lamps, grille and number plate."""
    length, lamp = solid["params"][0], solid["params"][1]
    width = solid["half"][1]
    ends = 1.0 if abs(x) > length - 0.28 else 0.0
    lamps = ends * band(abs(z - lamp), 0.0, 0.11, fine) * band(abs(y), 0.52 * width, width, fine)
    plate = ends * band(abs(z - lamp + 0.24), 0.0, 0.07, fine) * band(abs(y), 0.0, 0.27, fine)
    sill = band(z, -2.0, solid["params"][2], fine)
    doors = 0.0
    if ends == 0.0:
        doors = stripes((x + 0.25) / 1.05, 0.03, fine / 1.05) * 0.5
    front = 1.0 if x > 0.0 else 0.0
    rest = 1.0 - min(1.0, max(lamps, plate))
    dark = 1.0 - max(0.9 * sill, doors)
    c = solid["colour"]
    return (
        rest * c[0] * dark + lamps * (0.9 if front else 0.55) + plate * 0.6,
        rest * c[1] * dark + lamps * (0.9 if front else 0.02) + plate * 0.6,
        rest * c[2] * dark + lamps * (0.85 if front else 0.02) + plate * 0.55,
        (0.10 + 0.25 * max(0.0, nz)) * (1.0 - sill),
        0.0,
    )


@compiled
def cabin(solid: Solid, u: float, z: float, nz: float, fine: float) -> Paint:
    """Glass below the roof's edge, between pillars."""
    if nz > 0.9:
        return blend(solid, 0.0, 1.0, 0.3)
    pillar = solid["params"][1]
    posts = 0.0 if pillar == 0.0 else stripes(u / pillar + 0.04, 0.08, fine / pillar)
    roof = 1.0 - band(z, -9.0, solid["params"][0], fine)
    body = min(1.0, posts + roof)
    c = solid["colour"]
    return (
        body * c[0] + (1.0 - body) * 0.02,
        body * c[1] + (1.0 - body) * 0.024,
        body * c[2] + (1.0 - body) * 0.028,
        0.1 * body + 0.6 * (1.0 - body),
        0.0,
    )


@compiled
def banded(solid: Solid, u: float, z: float, nz: float, fine: float, coarse: float) -> Paint:
    """Side of a bus or tram: windows in a band, a stripe of the accent below."""
    low, high, pitch = solid["params"][0], solid["params"][1], solid["params"][2]
    side = 1.0 if abs(nz) < 0.5 else 0.0
    glass = side * band(z, low, high, fine) * stripes(u / pitch, 0.9, coarse / pitch)
    stripe = side * band(z, low - 0.75, low - 0.35, fine)
    body = blend(solid, stripe, 1.0, 0.08)
    return (
        body[0] * (1.0 - glass) + 0.02 * glass,
        body[1] * (1.0 - glass) + 0.022 * glass,
        body[2] * (1.0 - glass) + 0.025 * glass,
        0.08 + 0.5 * glass,
        0.0,
    )


@compiled
def sign(solid: Solid, y: float, z: float, nx: float, fine: float) -> Paint:
    """Face towards -x: rim, ground and a figure; the back is bare metal."""
    if nx > -0.5:
        return 0.28, 0.28, 0.29, 0.05, 0.0
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
    figure = inner * bar
    paint = blend(solid, min(1.0, inner * (1.0 - bar)), 1.0, 0.05)
    mark = solid["params"][1]
    return (
        paint[0] + figure * (mark - paint[0]),
        paint[1] + figure * (mark - paint[1]),
        paint[2] + figure * (mark - paint[2]),
        0.05,
        0.0,
    )


@compiled
def lamps(solid: Solid, y: float, z: float, nx: float, fine: float) -> Paint:
    """Three lamps on a dark housing, seen from -x; one is lit."""
    if nx > -0.5:
        return 0.02, 0.02, 0.02, 0.0, 0.0
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
    return 0.02 + red, 0.02 + green, 0.02 + blue, 0.0, share if lit == 1.0 else 0.0
