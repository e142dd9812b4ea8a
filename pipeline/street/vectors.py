"""Points, directions and colours in compiled code: tuples, which live in registers."""

from typing import Any

from xdistill.pipeline.street.compiled import compiled

Vector = tuple[float, float, float]
"""Also accepted below: an array of three, such as the field of a record."""


@compiled
def dot(a: Any, b: Any) -> float:
    """Inner product."""
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@compiled
def times(a: Any, factor: float) -> Vector:
    """A vector scaled."""
    return a[0] * factor, a[1] * factor, a[2] * factor


@compiled
def ahead(start: Any, direction: Any, distance: float) -> Vector:
    """The point ``start + distance * direction``."""
    return (
        start[0] + distance * direction[0],
        start[1] + distance * direction[1],
        start[2] + distance * direction[2],
    )


@compiled
def between(a: Any, b: Any) -> Vector:
    """The way from a to b."""
    return b[0] - a[0], b[1] - a[1], b[2] - a[2]


@compiled
def mixed(a: Any, b: Any, share: float) -> Vector:
    """From a (share 0) to b (share 1)."""
    return ahead(a, between(a, b), share)


@compiled
def turned(matrix: Any, a: Any) -> Vector:
    """The product of a (3, 3) matrix and a vector."""
    return (
        float(matrix[0, 0] * a[0] + matrix[0, 1] * a[1] + matrix[0, 2] * a[2]),
        float(matrix[1, 0] * a[0] + matrix[1, 1] * a[1] + matrix[1, 2] * a[2]),
        float(matrix[2, 0] * a[0] + matrix[2, 1] * a[1] + matrix[2, 2] * a[2]),
    )


@compiled
def turned_back(matrix: Any, a: Any) -> Vector:
    """The product of a transposed (3, 3) matrix and a vector."""
    return (
        float(matrix[0, 0] * a[0] + matrix[1, 0] * a[1] + matrix[2, 0] * a[2]),
        float(matrix[0, 1] * a[0] + matrix[1, 1] * a[1] + matrix[2, 1] * a[2]),
        float(matrix[0, 2] * a[0] + matrix[1, 2] * a[1] + matrix[2, 2] * a[2]),
    )
