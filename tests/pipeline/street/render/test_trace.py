"""The lists by direction give what testing every solid gives."""

import numpy as np
import pytest

from xdistill.pipeline.street.record.drive import Drive
from xdistill.pipeline.street.render.trace import GROUND, SKY, trace, view_from
from xdistill.pipeline.street.world.road import (
    CARRIAGEWAY,
    KERB,
    KERB_M,
    TERRAIN,
    WALK,
    across,
    at,
    meet_ground,
    region,
)
from xdistill.pipeline.street.world.shapes import MISS, meet


@pytest.mark.slow
def test_no_solid_is_overlooked(drive: Drive, rng: np.random.Generator) -> None:
    scene = drive.scene(1)
    origin = drive.motion.position[1] + np.array([0.0, 0.0, 0.8])
    view = view_from(scene.solids, origin)
    met = 0
    for _ in range(150):
        ray = rng.normal(size=3) * [1, 1, 0.15]
        ray /= np.linalg.norm(ray)
        surface = trace(scene.solids, scene.road, view, tuple(ray))
        ground = meet_ground(scene.road, view.origin, tuple(ray))[0]
        distances = [meet(solid, view.origin, tuple(ray))[0] for solid in scene.solids]
        nearest = int(np.argmin(distances))
        assert surface[0] == min(ground, distances[nearest])
        if distances[nearest] < ground:
            assert surface[1] == nearest
            met += 1
        else:
            assert surface[1] == (GROUND if ground < MISS else SKY)
    assert met > 30


def test_the_ground_is_where_it_says(drive: Drive, rng: np.random.Generator) -> None:
    road, found = drive.road, set()
    x, y, heading = at(road, 20.0, -1.6)
    for angle in np.linspace(-np.pi, np.pi, 400):
        ray = np.array([np.cos(angle), np.sin(angle), -rng.uniform(0.05, 0.6)])
        ray /= np.linalg.norm(ray)
        distance, area = meet_ground(road, (x, y, 1.65), tuple(ray))
        px, py, pz = np.array([x, y, 1.65]) + distance * ray
        lateral, _ = across(road, px, py)
        found.add(area)
        if area == CARRIAGEWAY:
            assert abs(pz) < 1e-9 and region(road, px, lateral) == CARRIAGEWAY
        elif area == KERB:
            assert 0 < pz < KERB_M
            assert abs(abs(lateral) - road.half_width) < 1e-6 or len(road.crossings)
        else:
            assert abs(pz - KERB_M) < 1e-9 and region(road, px, lateral) == area
    assert found == {CARRIAGEWAY, KERB, WALK, TERRAIN}


def test_along_and_across_invert_each_other(drive: Drive) -> None:
    for along in (0.0, 13.7, 60.2):
        for lateral in (-6.0, 0.0, 3.3):
            x, y, _ = at(drive.road, along, lateral)
            back, distance = across(drive.road, x, y)
            assert abs(back - lateral) < 0.15
            assert abs(distance - along) < 0.3


def test_above_the_horizon_is_no_ground(drive: Drive) -> None:
    assert meet_ground(drive.road, (0.0, 0.0, 1.65), (1.0, 0.0, 0.0))[0] == MISS
    assert meet_ground(drive.road, (0.0, 0.0, 1.65), (0.8, 0.0, 0.6))[0] == MISS
