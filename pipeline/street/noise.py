"""Seeded value noise and box-filtered patterns, from which every texture is made."""

import math

from xdistill.pipeline.street.compiled import compiled

WORD = 0xFFFFFFFF
TO_UNIT = 1.0 / 4294967296.0
OCTAVE_GAIN = 0.6
"""Amplitude of an octave relative to the next coarser one."""


@compiled
def hash_unit(x: int, y: int, z: int, seed: int) -> float:
    """A number in [0, 1) that four integers determine."""
    state = (x * 374761393 + y * 668265263 + z * 1440662683 + seed * 3266489917) & WORD
    state = ((state ^ (state >> 15)) * 739982445) & WORD
    state = ((state ^ (state >> 12)) * 695872825) & WORD
    return (state ^ (state >> 15)) * TO_UNIT


@compiled
def smooth(edge0: float, edge1: float, value: float) -> float:
    """0 below ``edge0``, 1 above ``edge1``, a cubic in between."""
    position = min(1.0, max(0.0, (value - edge0) / (edge1 - edge0)))
    return position * position * (3.0 - 2.0 * position)


@compiled
def value2(u: float, v: float, seed: int) -> float:
    """Value noise over the plane with a lattice of 1, in [0, 1)."""
    left, low = math.floor(u), math.floor(v)
    a, b = u - left, v - low
    a, b = a * a * (3.0 - 2.0 * a), b * b * (3.0 - 2.0 * b)
    i, j = int(left), int(low)
    bottom = hash_unit(i, j, 0, seed) * (1.0 - a) + hash_unit(i + 1, j, 0, seed) * a
    top = hash_unit(i, j + 1, 0, seed) * (1.0 - a) + hash_unit(i + 1, j + 1, 0, seed) * a
    return bottom * (1.0 - b) + top * b


@compiled
def value3(x: float, y: float, z: float, seed: int) -> float:
    """Value noise over space with a lattice of 1, in [0, 1)."""
    floor = math.floor(z)
    c = z - floor
    c = c * c * (3.0 - 2.0 * c)
    level = seed + 7919 * int(floor)
    return value2(x, y, level) * (1.0 - c) + value2(x, y, level + 7919) * c


@compiled
def fractal2(u: float, v: float, seed: int, wavelength: float, octaves: int, blur: float) -> float:
    """Sum of octaves over the plane, about zero mean, within (-1, 1).

    Octaves finer than the pixel's footprint ``blur`` fade out, so that a texture looks the same
    from frame to frame instead of flickering.
    """
    total, weight, amplitude = 0.0, 0.0, 1.0
    for octave in range(octaves):
        visible = 1.0 - smooth(0.3, 0.8, blur / wavelength)
        if visible > 0.0:
            height = value2(u / wavelength, v / wavelength, seed + 101 * octave)
            total += visible * amplitude * (2.0 * height - 1.0)
        weight += amplitude
        amplitude *= OCTAVE_GAIN
        wavelength *= 0.5
    return total / weight


@compiled
def fractal3(
    x: float, y: float, z: float, seed: int, wavelength: float, octaves: int, blur: float
) -> float:
    """Sum of octaves over space; otherwise like ``fractal2``."""
    total, weight, amplitude = 0.0, 0.0, 1.0
    for octave in range(octaves):
        visible = 1.0 - smooth(0.3, 0.8, blur / wavelength)
        if visible > 0.0:
            scale = 1.0 / wavelength
            height = value3(x * scale, y * scale, z * scale, seed + 101 * octave)
            total += visible * amplitude * (2.0 * height - 1.0)
        weight += amplitude
        amplitude *= OCTAVE_GAIN
        wavelength *= 0.5
    return total / weight


@compiled
def stripes(u: float, duty: float, blur: float) -> float:
    """Share of a window of width ``blur`` around u where u - floor(u) < duty.

    The exact box filter of a stripe pattern of period 1; a sharp edge where ``blur`` is 0.
    """
    if blur < 1e-6:
        return 1.0 if u - math.floor(u) < duty else 0.0
    return (_covered(u + 0.5 * blur, duty) - _covered(u - 0.5 * blur, duty)) / blur


@compiled
def _covered(u: float, duty: float) -> float:
    """Integral of the stripe pattern from 0 to u."""
    whole = math.floor(u)
    return whole * duty + min(u - whole, duty)


@compiled
def band(u: float, low: float, high: float, blur: float) -> float:
    """Share of a window of width ``blur`` around u that lies in [low, high]."""
    if blur < 1e-6:
        return 1.0 if low <= u <= high else 0.0
    overlap = min(high, u + 0.5 * blur) - max(low, u - 0.5 * blur)
    return min(1.0, max(0.0, overlap / blur))
