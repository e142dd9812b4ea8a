"""Vectors agree with numpy."""

import numpy as np

from xdistill.pipeline.street.vectors import (
    ahead,
    between,
    dot,
    mixed,
    times,
    turned,
    turned_back,
)


def test_vectors_agree_with_numpy(rng: np.random.Generator) -> None:
    a, b, matrix, share = rng.normal(size=3), rng.normal(size=3), rng.normal(size=(3, 3)), 0.3
    pairs = [
        (dot(tuple(a), tuple(b)), a @ b),
        (times(tuple(a), share), share * a),
        (ahead(tuple(a), tuple(b), share), a + share * b),
        (between(tuple(a), tuple(b)), b - a),
        (mixed(tuple(a), tuple(b), share), (1 - share) * a + share * b),
        (turned(matrix, tuple(a)), matrix @ a),
        (turned_back(matrix, tuple(a)), matrix.T @ a),
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, atol=1e-12)
