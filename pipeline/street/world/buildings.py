"""Houses, walls and fences in their own frame: x along the road, y = 0 middle, z = 0 ground."""

import math

import numpy as np

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Look, Solids, Triple, box, joined, prism

BUILDING, WALL, FENCE = 2, 3, 4
PLASTERS: tuple[Triple, ...] = (
    (0.86, 0.83, 0.76),
    (0.80, 0.72, 0.58),
    (0.75, 0.75, 0.74),
    (0.82, 0.66, 0.52),
    (0.66, 0.70, 0.72),
    (0.88, 0.80, 0.60),
    (0.62, 0.55, 0.50),
    (0.72, 0.78, 0.70),
    (0.90, 0.88, 0.86),
    (0.70, 0.50, 0.44),
)
BRICKS: tuple[Triple, ...] = ((0.52, 0.30, 0.24), (0.60, 0.42, 0.32), (0.45, 0.36, 0.32))
ROOFS: tuple[Triple, ...] = (
    (0.48, 0.26, 0.20),
    (0.34, 0.30, 0.29),
    (0.55, 0.36, 0.26),
    (0.28, 0.29, 0.32),
)
BLANK_SHARE = 0.12
"""Buildings without windows: textureless walls."""


def block(rng: np.random.Generator, *, length: float, depth: float, storeys: int) -> Solids:
    """A flat-roofed building with balconies at times."""
    storey = rng.uniform(2.9, 3.4)
    height = storeys * storey + 0.8
    look = _front(rng, storey=storey)
    parts = [box(look, centre=(0, 0, height / 2), size=(length, depth, height))]
    if rng.random() < 0.35 and look.texture == tx.FACADE:
        slab = Look(label=BUILDING, texture=tx.PLAIN, colour=PLASTERS[rng.integers(len(PLASTERS))])
        for level in range(1, storeys):
            parts.append(
                box(
                    slab,
                    centre=(0, 0, level * storey + 0.55),
                    size=(0.35 * length, depth + 1.9, 1.0),
                )
            )
    return joined(parts)


def house(rng: np.random.Generator, *, length: float, depth: float) -> Solids:
    """A house of one or two storeys with a pitched roof whose ridge runs along x."""
    storey, storeys = 2.8, int(rng.integers(1, 4))
    eaves, rise = storey * storeys + 0.3, rng.uniform(0.35, 0.55) * depth
    look = _front(rng, storey=storey)
    roof = Look(
        label=BUILDING,
        texture=tx.TILES,
        colour=ROOFS[rng.integers(len(ROOFS))],
        accent=look.colour,
    )
    outline = [(-depth / 2 - 0.4, -rise / 2), (depth / 2 + 0.4, -rise / 2), (0.0, rise / 2)]
    ridge = prism(
        roof, profile=outline, width=length + 0.5, centre=(0, 0, eaves + rise / 2), yaw=math.pi / 2
    )
    chimney = Look(label=BUILDING, texture=tx.PLAIN, colour=BRICKS[0])
    return joined(
        [
            box(look, centre=(0, 0, eaves / 2), size=(length, depth, eaves)),
            ridge,
            box(chimney, centre=(0.25 * length, 0, eaves + rise), size=(0.7, 0.7, 1.2)),
        ]
    )


def _front(rng: np.random.Generator, *, storey: float) -> Look:
    """Plaster or brick with windows; blank at times."""
    if rng.random() < BLANK_SHARE:
        return Look(label=BUILDING, texture=tx.PLAIN, colour=PLASTERS[rng.integers(len(PLASTERS))])
    brick = rng.random() < 0.3
    colours = BRICKS if brick else PLASTERS
    style = tx.BRICK_STYLE if brick else tx.PLAIN_STYLE
    light = rng.random() < 0.6
    return Look(
        label=BUILDING,
        texture=tx.FACADE,
        colour=colours[rng.integers(len(colours))],
        accent=(0.85, 0.84, 0.80) if light else (0.38, 0.36, 0.35),
        params=(storey, rng.uniform(1.9, 3.2), rng.uniform(0.35, 0.62), style),
    )


def wall(rng: np.random.Generator, *, length: float, height: float, look: Look) -> Solids:
    """A free-standing wall with a cap stone."""
    thickness = rng.uniform(0.25, 0.4)
    return box(look, centre=(0, 0, height / 2), size=(length, thickness, height))


def wall_look(rng: np.random.Generator) -> Look:
    """Brick, blocks or bare concrete."""
    kind = rng.integers(3)
    if kind == 2:
        return Look(label=WALL, texture=tx.PLAIN, colour=(0.66, 0.65, 0.63))
    size = (0.42, 0.14) if kind == 0 else (0.85, 0.42)
    colour = BRICKS[rng.integers(len(BRICKS))] if kind == 0 else (0.62, 0.58, 0.52)
    return Look(
        label=WALL,
        texture=tx.MASONRY,
        colour=colour,
        accent=(0.72, 0.70, 0.66),
        params=(*size, 0.8, 0.0),
    )


def fence_look(rng: np.random.Generator) -> Look:
    """Wooden boards or metal bars."""
    if rng.random() < 0.65:
        woods: tuple[Triple, ...] = ((0.55, 0.40, 0.26), (0.66, 0.62, 0.55), (0.40, 0.28, 0.20))
        return Look(
            label=FENCE,
            texture=tx.PLANKS,
            colour=woods[rng.integers(3)],
            accent=(0.14, 0.10, 0.08),
            params=(rng.uniform(0.16, 0.3), 0.0, 0.0, 0.0),
        )
    return Look(
        label=FENCE,
        texture=tx.MESH,
        colour=(0.34, 0.38, 0.33),
        accent=(0.10, 0.14, 0.12),
        params=(rng.uniform(0.2, 0.35), 0.0, 0.0, 0.0),
    )


def fence(*, length: float, height: float, look: Look) -> Solids:
    """A run of fence between two posts."""
    post = Look(label=FENCE, texture=tx.PLAIN, colour=(0.25, 0.22, 0.20))
    return joined(
        [
            box(look, centre=(0, 0, height / 2 + 0.05), size=(length, 0.06, height - 0.1)),
            box(post, centre=(length / 2, 0, height / 2 + 0.06), size=(0.14, 0.14, height + 0.12)),
        ]
    )
