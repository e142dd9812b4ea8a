"""Drives: what they show and how they move."""

import numpy as np
import pytest

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.pipeline.street.record import motion, rig
from xdistill.pipeline.street.record.drive import Drive, make_drive
from xdistill.pipeline.street.render.camera import Picture, render
from xdistill.pipeline.street.render.shadows import OPEN


@pytest.mark.slow
def test_a_few_drives_show_most_classes(first_pictures: list[Picture]) -> None:
    found: set[int] = set()
    for picture in first_pictures:
        shown = set(np.unique(picture.labels).tolist())
        assert {0, 1, 10} <= shown
        found |= shown
    assert len(found - {IGNORE_INDEX}) >= 15


def test_the_same_seed_gives_the_same_drive(drive: Drive) -> None:
    again = make_drive(1, 1, frames=4)
    other = make_drive(2, 1, frames=4)
    size = (32, 96)
    images = [
        render(d.scene(2), d.camera(2, size), size=size, sensor=d.sensor(2)).image
        for d in (drive, again, other)
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0].astype(int) - images[2]).mean() > 5


def test_more_frames_do_not_change_the_weather() -> None:
    few, many = make_drive(1, 3, frames=3), make_drive(1, 3, frames=9)
    assert few.light == many.light
    np.testing.assert_array_equal(few.gains, many.gains[:3])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_car_drives_as_cars_do(number: int) -> None:
    ride = make_drive(5, number, frames=60).motion
    speed = np.linalg.norm(ride.velocity[:, :2], axis=1)
    assert speed.min() > motion.SLOWEST_M_S * 0.95 and speed.max() < motion.FASTEST_M_S * 1.1
    assert np.ptp(speed) > 0.5
    assert np.degrees(np.abs(ride.rates[:, 2]).max()) < 25
    assert np.abs(ride.acceleration[:, :2]).max() < 6
    assert np.degrees(ride.rates[:, 2].std()) > 1
    pitch = np.degrees(ride.angles[:, 1])
    assert 0.05 < pitch.std() < 1.5
    assert np.abs(ride.position[:, 2] - rig.IMU_HEIGHT_M).max() < 0.06
    np.testing.assert_allclose(np.diff(ride.time), 1 / motion.RATE_HZ)


def test_velocity_is_the_derivative_of_position() -> None:
    ride = make_drive(5, 1, frames=20).motion
    steps = np.diff(ride.position, axis=0) * motion.RATE_HZ
    mean = (ride.velocity[1:] + ride.velocity[:-1]) / 2
    np.testing.assert_allclose(steps[:, :2], mean[:, :2], atol=0.05)


def test_moving_things_are_marked_and_move(drive: Drive) -> None:
    first, later = drive.scene(0).solids, drive.scene(3).solids
    moving = first["moving"] == 1
    assert moving.any() and not moving[: len(drive.still)].any()
    assert len(first) == len(later)
    np.testing.assert_array_equal(first["centre"][~moving], later["centre"][~moving])
    assert np.abs(first["centre"][moving] - later["centre"][moving]).max() > 0.5


def test_moving_things_cast_shadows_that_move(drive: Drive) -> None:
    assert (drive.shadows.top > OPEN).any()
    tops = [drive.scene(frame).shadows.top for frame in (0, 3)]
    assert (tops[0] != tops[1]).any()
    assert (tops[0] >= drive.shadows.top).all()
