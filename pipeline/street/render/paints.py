"""What a painter returns, and mixing two colours."""

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.world.solids import Solid

Paint = tuple[float, float, float, float, float]
"""Linear RGB, gloss (share that mirrors the street) and glow (share that shines by itself)."""


@compiled
def blend(solid: Solid, share: float, level: float, gloss: float) -> Paint:
    """The colour mixed with a share of the accent, at a brightness."""
    c, a = solid["colour"], solid["accent"]
    return (
        level * (c[0] + share * (a[0] - c[0])),
        level * (c[1] + share * (a[1] - c[1])),
        level * (c[2] + share * (a[2] - c[2])),
        gloss,
        0.0,
    )
