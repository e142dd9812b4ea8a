"""Rays and solids, with distances worked out by hand."""

import math

import numpy as np
import pytest

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.shapes import MISS, meet
from xdistill.pipeline.street.world.solids import (
    Look,
    Solids,
    box,
    cylinder,
    ellipsoid,
    joined,
    placed,
    prism,
)

LOOK = Look(label=2, texture=tx.PLAIN, colour=(0.5, 0.5, 0.5))


def forward(solids: Solids, y: float = 0.0, z: float = 0.0) -> tuple[float, ...]:
    """Distance and normal along +x from the origin, shifted sideways."""
    distance, normal = meet(solids[0], (0.0, y, z), (1.0, 0.0, 0.0))
    return distance, *normal


def test_a_box_is_met_on_its_front() -> None:
    cube = box(LOOK, centre=(5, 0, 0), size=(2, 2, 2))
    assert forward(cube) == pytest.approx((4, -1, 0, 0))
    assert forward(cube, y=1.01)[0] == MISS
    assert meet(cube[0], (10.0, 0.0, 0.0), (1.0, 0.0, 0.0))[0] == MISS


def test_a_turned_box_is_met_on_its_edge() -> None:
    cube = box(LOOK, centre=(5, 0, 0), size=(2, 2, 2), yaw=math.pi / 4)
    assert forward(cube, y=1e-9)[0] == pytest.approx(5 - math.sqrt(2))


def test_an_ellipsoid_is_met_at_its_half_axis() -> None:
    ball = ellipsoid(LOOK, centre=(5, 0, 0), half=(3, 1, 1))
    assert forward(ball) == pytest.approx((2, -1, 0, 0))
    assert forward(ball, z=0.6)[0] == pytest.approx(5 - 3 * 0.8)
    assert forward(ball, z=1.001)[0] == MISS


def test_a_cylinder_stands_or_lies() -> None:
    upright = cylinder(LOOK, centre=(5, 0, 0), radius=1, length=4)
    assert forward(upright, y=0.6)[0] == pytest.approx(5 - 0.8)
    assert forward(upright, z=2.01)[0] == MISS
    along = cylinder(LOOK, centre=(5, 0, 0), radius=1, length=4, pitch=math.pi / 2)
    assert forward(along, y=0.9)[0] == pytest.approx(3)
    across = cylinder(LOOK, centre=(5, 0, 0), radius=1, length=4, roll=math.pi / 2)
    assert forward(across, y=1.9)[0] == pytest.approx(4)


def test_a_prism_has_its_outline() -> None:
    wedge = prism(LOOK, profile=[(-1, -1), (1, -1), (1, 1)], width=2, centre=(5, 0, 0))
    assert forward(wedge)[0] == pytest.approx(5)
    assert forward(wedge, z=-0.5)[0] == pytest.approx(4.5)
    assert forward(wedge, z=0.999)[0] == pytest.approx(5.999)
    normal = forward(wedge)[1:]
    assert normal == pytest.approx((-math.sqrt(0.5), 0, math.sqrt(0.5)))


def test_a_leaning_prism_narrows_upwards() -> None:
    cabin = prism(
        LOOK, profile=[(-1, -1), (1, -1), (1, 1), (-1, 1)], width=2, centre=(5, 0, 0), lean=0.5
    )
    assert forward(cabin, y=1.2, z=-0.5)[0] == pytest.approx(4)
    assert forward(cabin, y=1.2, z=0.5)[0] == MISS


def test_placing_moves_and_turns(rng: np.random.Generator) -> None:
    cube = placed(box(LOOK, centre=(1, 0, 0), size=(2, 1, 1)), x=5, y=2, z=1, yaw=math.pi / 2)
    np.testing.assert_allclose(cube["centre"], [[5, 3, 1]])
    assert forward(cube, y=3.0, z=1.0)[0] == pytest.approx(4.5)


def test_leaves_have_gaps_that_belong_to_the_tree(rng: np.random.Generator) -> None:
    """A ray through a gap goes through it from wherever it comes."""
    leaves = Look(label=8, texture=tx.FOLIAGE, colour=(0.1, 0.3, 0.1))
    crown = ellipsoid(leaves, centre=(0, 0, 0), half=(2, 2, 2))[0]
    passed = 0
    for _ in range(200):
        start = rng.normal(size=3)
        start *= 10 / np.linalg.norm(start)
        towards = -start / 10 + rng.normal(0, 0.05, 3)
        towards /= np.linalg.norm(towards)
        far = start + 30 * towards
        there = meet(crown, tuple(start), tuple(towards))[0]
        back = meet(crown, tuple(far), tuple(-towards))[0]
        assert (there == MISS) == (back == MISS)
        passed += there == MISS
    assert 5 < passed < 150


def test_joining_keeps_the_order() -> None:
    one, two = (box(LOOK, centre=(k, 0, 0), size=(1, 1, 1)) for k in (1, 2))
    np.testing.assert_array_equal(joined(one, two)["centre"][:, 0], [1, 2])
