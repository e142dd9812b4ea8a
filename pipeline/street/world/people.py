"""People on foot and riders, built from ellipsoids; x forward, z = 0 ground."""

import numpy as np

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import Look, Solids, Triple, box, ellipsoid, joined, pick

PERSON, RIDER = 11, 12
CLOTHES: tuple[Triple, ...] = (
    (0.15, 0.17, 0.25), (0.55, 0.10, 0.12), (0.85, 0.83, 0.78), (0.20, 0.35, 0.55),
    (0.25, 0.25, 0.26), (0.70, 0.55, 0.20), (0.25, 0.40, 0.25), (0.45, 0.30, 0.45),
    (0.12, 0.12, 0.13), (0.80, 0.45, 0.40),
)  # fmt: skip
SKINS: tuple[Triple, ...] = ((0.85, 0.66, 0.55), (0.70, 0.50, 0.38), (0.45, 0.30, 0.22))
HAIRS: tuple[Triple, ...] = ((0.10, 0.08, 0.07), (0.35, 0.22, 0.12), (0.70, 0.60, 0.40))


def person(rng: np.random.Generator) -> Solids:
    """Someone of 1.55 to 1.95 m who walks or stands."""
    scale = rng.uniform(1.55, 1.95) / 1.75
    stride = rng.uniform(0.15, 0.40) if rng.random() < 0.75 else 0.02
    top, legs, skin, hair = _outfit(rng, PERSON)
    wide = rng.uniform(0.9, 1.2)
    parts = [
        ellipsoid(legs, (stride * 0.45, 0.10, 0.43), half=(0.105, 0.10, 0.47), pitch=-stride),
        ellipsoid(legs, (-stride * 0.45, -0.10, 0.43), half=(0.105, 0.10, 0.47), pitch=stride),
        ellipsoid(top, (0.0, 0.0, 1.14), half=(0.15, 0.24 * wide, 0.37), pitch=0.05),
        ellipsoid(top, (-stride * 0.3, 0.27 * wide, 1.10), half=(0.07, 0.07, 0.34), pitch=stride),
        ellipsoid(top, (stride * 0.3, -0.27 * wide, 1.10), half=(0.07, 0.07, 0.34), pitch=-stride),
        ellipsoid(skin, (0.03, 0.0, 1.60), half=(0.10, 0.09, 0.13)),
        ellipsoid(hair, (-0.02, 0.0, 1.65), half=(0.11, 0.10, 0.11)),
    ]
    if rng.random() < 0.3:
        bag = Look(label=PERSON, texture=tx.CLOTH, colour=pick(rng, CLOTHES))
        parts.append(box(bag, (-0.22, 0.0, 1.20), size=(0.20, 0.32, 0.45)))
    if rng.random() < 0.3:
        parts.append(ellipsoid(top, (0.0, 0.0, 0.75), half=(0.20, 0.24, 0.42)))
    return _scaled(joined(*parts), scale)


def rider(rng: np.random.Generator) -> Solids:
    """Someone sitting on a two-wheeler, hands on the bar."""
    top, legs, skin, hair = _outfit(rng, RIDER)
    lean = rng.uniform(0.25, 0.5)
    helmet = Look(label=RIDER, colour=pick(rng, CLOTHES))
    head = helmet if rng.random() < 0.7 else hair
    return joined(
        ellipsoid(legs, (0.00, 0.14, 0.72), half=(0.12, 0.10, 0.40), pitch=-0.5),
        ellipsoid(legs, (0.05, -0.14, 0.62), half=(0.12, 0.10, 0.42), pitch=-0.25),
        ellipsoid(top, (-0.12, 0.0, 1.27), half=(0.16, 0.24, 0.38), pitch=lean),
        ellipsoid(top, (0.16, 0.22, 1.22), half=(0.07, 0.07, 0.34), pitch=-0.9),
        ellipsoid(top, (0.16, -0.22, 1.22), half=(0.07, 0.07, 0.34), pitch=-0.9),
        ellipsoid(skin, (0.10, 0.0, 1.68), half=(0.10, 0.09, 0.13)),
        ellipsoid(head, (0.06, 0.0, 1.74), half=(0.14, 0.12, 0.12), pitch=0.2),
    )


def _outfit(rng: np.random.Generator, label: int) -> tuple[Look, Look, Look, Look]:
    """Looks of the upper body, the legs, the skin and the hair."""
    top, legs = rng.integers(len(CLOTHES), size=2)
    return (
        Look(label=label, texture=tx.CLOTH, colour=CLOTHES[top]),
        Look(label=label, texture=tx.CLOTH, colour=CLOTHES[legs]),
        Look(label=label, colour=pick(rng, SKINS)),
        Look(label=label, colour=pick(rng, HAIRS)),
    )


def _scaled(solids: Solids, scale: float) -> Solids:
    result = solids.copy()
    result["centre"] *= scale
    result["half"] *= scale
    result["planes"][..., 3] *= scale
    return result
