"""Vectors of the ground: asphalt with markings, paving, kerbs, grass."""

import math

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import band, fractal2, hash_unit, stripes, value2
from xdistill.pipeline.street.vectors import Vector, ahead, mixed, times
from xdistill.pipeline.street.world.road import CARRIAGEWAY, KERB, WALK, Road

LINE_M = 0.14
"""Width of a painted line."""
DASH_PERIOD_M, DASH_SHARE = 9.0, 0.4
ZEBRA_PERIOD_M, ZEBRA_SHARE, ZEBRA_LENGTH_M = 1.0, 0.5, 3.2
ZEBRA_GAP_M = 1.2
"""Between a zebra crossing and the cross street."""
STOP_LINE_M = 0.45
RAIL_GAUGE_M, RAIL_M = 1.435, 0.1
SLAB_M = 0.75
SLAB_JOINT = 0.03
"""Share of a slab that is joint."""
PAINT = 0.62
"""Brightness of road paint, linear."""


@compiled
def ground_colour(
    road: Road, area: int, x: float, lateral: float, along: float, fine: float, coarse: float
) -> Vector:
    """Linear RGB of the ground.

    Args:
        road: The ground's shape.
        area: CARRIAGEWAY, KERB, WALK or TERRAIN.
        x: World x, metres.
        lateral: Position across the road, left positive, metres.
        along: Arc length, metres.
        fine: Pixel's footprint across the line of sight, metres.
        coarse: Pixel's footprint along the line of sight, metres.
    """
    if area == CARRIAGEWAY:
        return _carriageway(road, x, lateral, along, fine, coarse)
    if area == KERB:
        grey = 0.30 + 0.06 * value2(along, 0.0, road.seed)
        return grey, grey * 0.99, grey * 0.95
    if area == WALK:
        return _paving(road, lateral, along, fine, coarse)
    return _grass(road, lateral, along, fine, coarse)


@compiled
def _carriageway(
    road: Road, x: float, lateral: float, along: float, fine: float, coarse: float
) -> Vector:
    """Asphalt with its marks of use, painted lines and rails."""
    blur = math.sqrt(fine * coarse)
    patches = fractal2(along * 0.35, lateral, road.seed + 1, 2.6, 3, blur)
    grain = fractal2(along, lateral, road.seed + 2, 0.22, 2, blur)
    grey = road.asphalt * (1.0 + 0.30 * patches + 0.28 * grain)
    # Tyres polish two tracks in each lane, and repairs leave dark strips.
    track = abs(abs(abs(lateral) - 0.5 * road.lane) - 0.75)
    grey *= 1.0 - 0.10 * band(track, -0.3, 0.3, fine)
    seam = value2(along / 14.0, 0.0, road.seed + 3) * 2.0 * road.half_width - road.half_width
    grey *= 1.0 - 0.35 * band(lateral - seam, 0.0, 0.12, fine)
    gutter = band(road.half_width - abs(lateral), 0.0, 0.3, fine)
    grey *= 1.0 + 0.35 * gutter
    painted = _markings(road, x, lateral, along, fine, coarse)
    worn = road.wear * (0.55 + 0.45 * value2(along * 1.7, lateral * 3.0, road.seed + 4))
    grey += painted * (1.0 - worn) * (PAINT - grey)
    steel = _rails(road, lateral, fine)
    grey += steel * (0.34 - grey)
    return grey, grey * 0.985, grey * 0.965


@compiled
def _markings(
    road: Road, x: float, lateral: float, along: float, fine: float, coarse: float
) -> float:
    """Share of the pixel that is painted."""
    near = 1e9
    for k in range(road.crossings.shape[0]):
        gap = abs(x - road.crossings[k, 0]) - road.crossings[k, 1]
        near = min(near, gap)
    if near < 0.0:
        return 0.0
    if near < ZEBRA_GAP_M + ZEBRA_LENGTH_M + 2.5:
        across = band(near, ZEBRA_GAP_M, ZEBRA_GAP_M + ZEBRA_LENGTH_M, coarse)
        bars = stripes(lateral / ZEBRA_PERIOD_M, ZEBRA_SHARE, fine / ZEBRA_PERIOD_M)
        start = ZEBRA_GAP_M + ZEBRA_LENGTH_M + 1.2
        stop = band(near, start, start + STOP_LINE_M, coarse)
        return max(across * bars, stop * (1.0 if lateral < 0.0 else 0.0))
    dash = stripes(along / DASH_PERIOD_M, DASH_SHARE, coarse / DASH_PERIOD_M)
    centre = dash * band(lateral, -0.5 * LINE_M, 0.5 * LINE_M, fine)
    edge = abs(lateral) - road.lane
    return max(centre, 0.9 * band(edge, 0.05, 0.05 + LINE_M, fine))


@compiled
def _rails(road: Road, lateral: float, fine: float) -> float:
    if math.isnan(road.rails):
        return 0.0
    offset = abs(abs(lateral - road.rails) - 0.5 * RAIL_GAUGE_M)
    return band(offset, -0.5 * RAIL_M, 0.5 * RAIL_M, fine)


@compiled
def _paving(road: Road, lateral: float, along: float, fine: float, coarse: float) -> Vector:
    column, row = math.floor(along / SLAB_M), math.floor(lateral / SLAB_M)
    tint = hash_unit(int(column), int(row), 0, road.seed + 6) - 0.5
    visible = max(0.0, 1.0 - coarse / SLAB_M)
    blur = math.sqrt(fine * coarse)
    dirt = fractal2(along, lateral, road.seed + 7, 1.8, 4, blur)
    joints = max(
        stripes(along / SLAB_M, SLAB_JOINT, coarse / SLAB_M),
        stripes(lateral / SLAB_M, SLAB_JOINT, fine / SLAB_M),
    )
    kerb = band(abs(lateral) - road.half_width, 0.0, 0.22, fine)
    grey = road.paving * (1.0 + 0.22 * tint * visible + 0.22 * dirt) * (1.0 - 0.45 * joints)
    grey += kerb * (0.34 - grey)
    warm = 1.0 + 0.10 * (1.0 - kerb)
    return grey * warm, grey, grey * 0.92


@compiled
def _grass(road: Road, lateral: float, along: float, fine: float, coarse: float) -> Vector:
    blur = math.sqrt(fine * coarse)
    kerb = band(abs(lateral) - road.half_width, 0.0, 0.2, fine)
    blades = fractal2(along, lateral, road.seed + 8, 0.5, 3, blur)
    tufts = fractal2(along, lateral, road.seed + 9, 4.0, 3, blur)
    dry = min(1.0, max(0.0, 0.5 + 1.2 * tufts - road.green))
    colour = ahead((0.055, 0.125, 0.030), (0.19, 0.09, 0.06), dry)
    return mixed(times(colour, 1.0 + 0.55 * blades), (0.3, 0.3, 0.28), kerb)
