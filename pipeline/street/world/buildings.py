"""Houses, walls and fences in their own frame: x along the road, y = 0 middle, z = 0 ground."""

import math

import numpy as np

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Look, Solids, Triple, box, joined, pick, prism

BUILDING, WALL, FENCE = 2, 3, 4
PLASTERS: tuple[Triple, ...] = (
    (0.86, 0.83, 0.76), (0.80, 0.72, 0.58), (0.75, 0.75, 0.74), (0.82, 0.66, 0.52),
    (0.66, 0.70, 0.72), (0.88, 0.80, 0.60), (0.62, 0.55, 0.50), (0.72, 0.78, 0.70),
    (0.90, 0.88, 0.86), (0.70, 0.50, 0.44),
)  # fmt: skip
BRICKS: tuple[Triple, ...] = ((0.52, 0.30, 0.24), (0.60, 0.42, 0.32), (0.45, 0.36, 0.32))
ROOFS: tuple[Triple, ...] = (
    (0.48, 0.26, 0.20), (0.34, 0.30, 0.29), (0.55, 0.36, 0.26), (0.28, 0.29, 0.32),
)  # fmt: skip
WOODS: tuple[Triple, ...] = ((0.55, 0.40, 0.26), (0.66, 0.62, 0.55), (0.40, 0.28, 0.20))
BLANK_SHARE = 0.12
"""Buildings without windows: textureless walls."""


def block(rng: np.random.Generator, *, length: float, depth: float, storeys: int) -> Solids:
    """A flat-roofed building with balconies at times."""
    storey = rng.uniform(2.9, 3.4)
    height = storeys * storey + 0.8
    look = _front(rng, storey=storey)
    parts = [box(look, (0, 0, height / 2), size=(length, depth, height))]
    if rng.random() < 0.35 and look.texture == tx.FACADE:
        slab = Look(label=BUILDING, colour=pick(rng, PLASTERS))
        size = (0.35 * length, depth + 1.9, 1.0)
        parts += [box(slab, (0, 0, k * storey + 0.55), size=size) for k in range(1, storeys)]
    return joined(*parts)


def house(rng: np.random.Generator, *, length: float, depth: float) -> Solids:
    """A house of one or two storeys with a pitched roof whose ridge runs along x."""
    storey, storeys = 2.8, int(rng.integers(1, 4))
    eaves, rise = storey * storeys + 0.3, rng.uniform(0.35, 0.55) * depth
    look = _front(rng, storey=storey)
    roof = Look(label=BUILDING, texture=tx.TILES, colour=pick(rng, ROOFS), accent=look.colour)
    outline = [(-depth / 2 - 0.4, -rise / 2), (depth / 2 + 0.4, -rise / 2), (0.0, rise / 2)]
    centre, chimney = (0, 0, eaves + rise / 2), Look(label=BUILDING, colour=BRICKS[0])
    return joined(
        box(look, (0, 0, eaves / 2), size=(length, depth, eaves)),
        prism(roof, centre, profile=outline, width=length + 0.5, yaw=math.pi / 2),
        box(chimney, (0.25 * length, 0, eaves + rise), size=(0.7, 0.7, 1.2)),
    )


def _front(rng: np.random.Generator, *, storey: float) -> Look:
    """Plaster or brick with windows; blank at times."""
    if rng.random() < BLANK_SHARE:
        return Look(label=BUILDING, colour=pick(rng, PLASTERS))
    brick = rng.random() < 0.3
    colours, style = (BRICKS, tx.BRICK_STYLE) if brick else (PLASTERS, tx.PLAIN_STYLE)
    frame = (0.85, 0.84, 0.80) if rng.random() < 0.6 else (0.38, 0.36, 0.35)
    colour = pick(rng, colours)
    params = (storey, rng.uniform(1.9, 3.2), rng.uniform(0.35, 0.62), style)
    return Look(label=BUILDING, texture=tx.FACADE, colour=colour, accent=frame, params=params)


def wall(rng: np.random.Generator, *, length: float, height: float, look: Look) -> Solids:
    """A free-standing wall with a cap stone."""
    return box(look, (0, 0, height / 2), size=(length, rng.uniform(0.25, 0.4), height))


def wall_look(rng: np.random.Generator) -> Look:
    """Brick, blocks or bare concrete."""
    kind = rng.integers(3)
    if kind == 2:
        return Look(label=WALL, colour=(0.66, 0.65, 0.63))
    params = (0.42, 0.14, 0.8) if kind == 0 else (0.85, 0.42, 0.8)
    colour = pick(rng, BRICKS) if kind == 0 else (0.62, 0.58, 0.52)
    accent = (0.72, 0.70, 0.66)
    return Look(label=WALL, texture=tx.MASONRY, colour=colour, accent=accent, params=params)


def fence_look(rng: np.random.Generator) -> Look:
    """Wooden boards or metal bars."""
    if rng.random() < 0.65:
        texture, colour, accent = tx.PLANKS, pick(rng, WOODS), (0.14, 0.10, 0.08)
        params = (rng.uniform(0.16, 0.3),)
    else:
        texture, colour, accent = tx.MESH, (0.34, 0.38, 0.33), (0.10, 0.14, 0.12)
        params = (rng.uniform(0.2, 0.35),)
    return Look(label=FENCE, texture=texture, colour=colour, accent=accent, params=params)


def fence(*, length: float, height: float, look: Look) -> Solids:
    """A run of fence between two posts."""
    post = Look(label=FENCE, colour=(0.25, 0.22, 0.20))
    return joined(
        box(look, (0, 0, height / 2 + 0.05), size=(length, 0.06, height - 0.1)),
        box(post, (length / 2, 0, height / 2 + 0.06), size=(0.14, 0.14, height + 0.12)),
    )
