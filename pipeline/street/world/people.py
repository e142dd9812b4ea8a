"""People on foot and riders, built from ellipsoids; x forward, z = 0 ground."""

import numpy as np

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Look, Solids, Triple, box, ellipsoid, joined

PERSON, RIDER = 11, 12
CLOTHES: tuple[Triple, ...] = (
    (0.15, 0.17, 0.25),
    (0.55, 0.10, 0.12),
    (0.85, 0.83, 0.78),
    (0.20, 0.35, 0.55),
    (0.25, 0.25, 0.26),
    (0.70, 0.55, 0.20),
    (0.25, 0.40, 0.25),
    (0.45, 0.30, 0.45),
    (0.12, 0.12, 0.13),
    (0.80, 0.45, 0.40),
)
SKINS: tuple[Triple, ...] = ((0.85, 0.66, 0.55), (0.70, 0.50, 0.38), (0.45, 0.30, 0.22))
HAIRS: tuple[Triple, ...] = ((0.10, 0.08, 0.07), (0.35, 0.22, 0.12), (0.70, 0.60, 0.40))


def person(rng: np.random.Generator) -> Solids:
    """Someone of 1.55 to 1.95 m who walks or stands."""
    scale = rng.uniform(1.55, 1.95) / 1.75
    stride = rng.uniform(0.15, 0.40) if rng.random() < 0.75 else 0.02
    top, legs, skin, hair = _outfit(rng, PERSON)
    wide = rng.uniform(0.9, 1.2)
    parts = [
        _limb(legs, x=stride * 0.45, y=0.10, z=0.43, half=(0.105, 0.10, 0.47), pitch=-stride),
        _limb(legs, x=-stride * 0.45, y=-0.10, z=0.43, half=(0.105, 0.10, 0.47), pitch=stride),
        _limb(top, x=0.0, y=0.0, z=1.14, half=(0.15, 0.24 * wide, 0.37), pitch=0.05),
        _limb(top, x=-stride * 0.3, y=0.27 * wide, z=1.10, half=(0.07, 0.07, 0.34), pitch=stride),
        _limb(top, x=stride * 0.3, y=-0.27 * wide, z=1.10, half=(0.07, 0.07, 0.34), pitch=-stride),
        _limb(skin, x=0.03, y=0.0, z=1.60, half=(0.10, 0.09, 0.13), pitch=0.0),
        _limb(hair, x=-0.02, y=0.0, z=1.65, half=(0.11, 0.10, 0.11), pitch=0.0),
    ]
    if rng.random() < 0.3:
        bag = Look(label=PERSON, texture=tx.CLOTH, colour=CLOTHES[rng.integers(len(CLOTHES))])
        parts.append(box(bag, centre=(-0.22, 0.0, 1.20), size=(0.20, 0.32, 0.45)))
    if rng.random() < 0.3:
        parts.append(_limb(top, x=0.0, y=0.0, z=0.75, half=(0.20, 0.24, 0.42), pitch=0.0))
    return _scaled(joined(parts), scale)


def rider(rng: np.random.Generator) -> Solids:
    """Someone sitting on a two-wheeler, hands on the bar."""
    top, legs, skin, hair = _outfit(rng, RIDER)
    lean = rng.uniform(0.25, 0.5)
    helmet = Look(label=RIDER, texture=tx.PLAIN, colour=CLOTHES[rng.integers(len(CLOTHES))])
    parts = [
        _limb(legs, x=0.00, y=0.14, z=0.72, half=(0.12, 0.10, 0.40), pitch=-0.5),
        _limb(legs, x=0.05, y=-0.14, z=0.62, half=(0.12, 0.10, 0.42), pitch=-0.25),
        _limb(top, x=-0.12, y=0.0, z=1.27, half=(0.16, 0.24, 0.38), pitch=lean),
        _limb(top, x=0.16, y=0.22, z=1.22, half=(0.07, 0.07, 0.34), pitch=-0.9),
        _limb(top, x=0.16, y=-0.22, z=1.22, half=(0.07, 0.07, 0.34), pitch=-0.9),
        _limb(skin, x=0.10, y=0.0, z=1.68, half=(0.10, 0.09, 0.13), pitch=0.0),
        _limb(
            helmet if rng.random() < 0.7 else hair,
            x=0.06,
            y=0.0,
            z=1.74,
            half=(0.14, 0.12, 0.12),
            pitch=0.2,
        ),
    ]
    return joined(parts)


def _outfit(rng: np.random.Generator, label: int) -> tuple[Look, Look, Look, Look]:
    """Looks of the upper body, the legs, the skin and the hair."""
    top, legs = rng.integers(len(CLOTHES), size=2)
    return (
        Look(label=label, texture=tx.CLOTH, colour=CLOTHES[top]),
        Look(label=label, texture=tx.CLOTH, colour=CLOTHES[legs]),
        Look(label=label, texture=tx.PLAIN, colour=SKINS[rng.integers(len(SKINS))]),
        Look(label=label, texture=tx.PLAIN, colour=HAIRS[rng.integers(len(HAIRS))]),
    )


def _limb(look: Look, *, x: float, y: float, z: float, half: Triple, pitch: float) -> Solids:
    return ellipsoid(look, centre=(x, y, z), half=half, pitch=pitch)


def _scaled(solids: Solids, scale: float) -> Solids:
    result = solids.copy()
    result["centre"] *= scale
    result["half"] *= scale
    result["planes"][..., 3] *= scale
    return result
