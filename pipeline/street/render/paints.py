"""What a painter returns; plants and plain things."""

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import fractal3
from xdistill.pipeline.street.vectors import Vector, mixed, times
from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Solid

Paint = tuple[Vector, float, float]
"""Linear RGB, gloss (share that mirrors the street) and glow (share that shines by itself)."""


@compiled
def blend(solid: Solid, share: float, level: float, gloss: float) -> Paint:
    """The colour mixed with a share of the accent, at a brightness."""
    return times(mixed(solid["colour"], solid["accent"], share), level), gloss, 0.0


@compiled
def plain(solid: Solid, point: Vector, blur: float) -> Paint:
    """Bark, metal, cloth, and what has nearly no texture."""
    texture, (x, y, z) = solid["texture"], point
    if texture == tx.BARK:
        ridges = fractal3(4.0 * x, 4.0 * y, z, solid["seed"], 0.5, 3, 2.0 * blur)
        return blend(solid, 0.0, 1.0 + 0.6 * ridges, 0.0)
    if texture == tx.METAL:
        streaks = fractal3(3.0 * x, 3.0 * y, z, solid["seed"], 0.8, 2, blur)
        return blend(solid, 0.0, 1.0 + 0.2 * streaks, 0.12)
    if texture == tx.CLOTH:
        folds = fractal3(x, y, z, solid["seed"], 0.35, 3, blur)
        return blend(solid, 0.0, 1.0 + 0.45 * folds, 0.0)
    mottle = fractal3(x, y, z, solid["seed"], 2.0, 2, blur)
    return blend(solid, 0.0, 1.0 + 0.04 * mottle, 0.0)


@compiled
def leaves(solid: Solid, point: Vector, blur: float) -> Paint:
    """Light and dark clumps; darker inside and below."""
    x, y, z = point
    seed = solid["seed"] + int(1000.0 * solid["half"][0])
    clumps = fractal3(x, y, z, seed, 0.9, 2, blur)
    single = fractal3(x, y, z, seed + 11, 0.22, 2, blur)
    share = min(1.0, max(0.0, 0.42 + 0.9 * clumps + 0.8 * single))
    height = 0.72 + 0.28 * z / solid["half"][2]
    return blend(solid, share, height * max(0.15, 0.8 + 0.7 * clumps + 0.6 * single), 0.0)
