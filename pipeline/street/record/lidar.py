"""A LiDAR scan of the scene: 64 rings over the sector that the camera sees."""

import math

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import hash_unit
from xdistill.pipeline.street.render.shade import Scene, painted
from xdistill.pipeline.street.render.trace import SKY, View, trace, view_from
from xdistill.pipeline.street.vectors import Vector, ahead, dot, turned
from xdistill.pipeline.street.world.solids import Floats

UPPER_DEGREES = 2.0 - np.arange(32) / 3.0
LOWER_DEGREES = -8.83 - np.arange(32) / 2.0
"""Elevations of the two blocks of lasers (Velodyne HDL-64E)."""
AZIMUTH_STEP_DEGREES = 0.35
"""The sensor's step at 20 turns a second."""
HALF_SECTOR_DEGREES = 45.0
RANGE_M = 90.0
RANGE_NOISE_M = 0.01
GLASS_GLOSS = 0.4
GLASS_LOST, OTHERS_LOST = 0.9, 0.01
"""Shares of the beams that do not return, from glass and from anything else."""
BEAM_RADIANS = 0.0025


def scan(scene: Scene, pose: Floats, *, seed: int) -> NDArray[np.float32]:
    """Points (N, 4) of one scan: x forward, y left, z up in metres, and reflectance 0-1.

    Args:
        scene: The frame.
        pose: (4, 4) velodyne to world, metres.
        seed: Decides range noise and dropouts.
    """
    elevations = np.radians(np.concatenate([UPPER_DEGREES, LOWER_DEGREES]))
    half = int(HALF_SECTOR_DEGREES / AZIMUTH_STEP_DEGREES)
    azimuths = np.radians(AZIMUTH_STEP_DEGREES * np.arange(half, -half - 1, -1))
    view = view_from(scene.solids, pose[:3, 3])
    turn = np.ascontiguousarray(pose[:3, :3])
    points = _sweep(scene, view, turn, elevations, azimuths, seed)
    return points[points[:, 0] > 0]


@compiled
def _sweep(
    scene: Scene, view: View, turn: Floats, elevations: Floats, azimuths: Floats, seed: int
) -> NDArray[np.float32]:
    """One row per beam; zeros where nothing returns."""
    points = np.zeros((elevations.shape[0] * azimuths.shape[0], 4), np.float32)
    for ring in range(elevations.shape[0]):
        up, level = math.sin(elevations[ring]), math.cos(elevations[ring])
        for step in range(azimuths.shape[0]):
            ray = level * math.cos(azimuths[step]), level * math.sin(azimuths[step]), up
            luck = hash_unit(step, ring, 0, seed)
            distance, reflectance = _beam(scene, view, turned(turn, ray), luck)
            if distance > 0.0:
                noise = hash_unit(step, ring, 1, seed) + hash_unit(step, ring, 2, seed) - 1.0
                # Two uniform numbers have a standard deviation of 0.41.
                distance += RANGE_NOISE_M * noise / 0.41
                row = ring * azimuths.shape[0] + step
                for k in range(3):
                    points[row, k] = distance * ray[k]
                points[row, 3] = reflectance
    return points


@compiled
def _beam(scene: Scene, view: View, ray: Vector, luck: float) -> tuple[float, float]:
    """Range in metres, 0 where nothing returns, and reflectance."""
    surface = trace(scene.solids, scene.road, view, ray)
    t = surface[0]
    if surface[1] == SKY or t > RANGE_M:
        return 0.0, 0.0
    (colour, gloss, _), normal = painted(
        scene, surface, ahead(view.origin, ray, t), ray, BEAM_RADIANS
    )
    if luck < (GLASS_LOST if gloss > GLASS_GLOSS else OTHERS_LOST):
        return 0.0, 0.0
    facing = max(0.0, -dot(ray, normal))
    brightness = (colour[0] + colour[1] + colour[2]) / 3.0
    return t, min(0.99, brightness * (0.3 + 0.7 * facing))
