"""How fast a teacher was when it last labelled, for the time that a plan names."""

import json
import platform
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from xdistill.manifests import disk
from xdistill.manifests.download import cache_folder
from xdistill.teachers.choice.spec import TeacherSpec


class Rate(NamedTuple):
    """A measured rate."""

    frames_per_s: float
    """Frames in a second, from the first image read to the last commit."""
    machine: str
    """Where it was measured."""


def remember(teacher: TeacherSpec, *, frames: int, seconds: float) -> None:
    """Keep the rate of a run; a cache that cannot be written keeps none."""
    if not frames:
        return
    rate = {"frames_per_s": frames / seconds, "machine": platform.node()}
    path = _file(teacher)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, [json.dumps(rate, allow_nan=False).encode()])
    except OSError:
        return


def recall(teacher: TeacherSpec) -> Rate | None:
    """The rate of the last run with this teacher and these settings, if one is known."""
    try:
        return Rate(**json.loads(disk.read_text(_file(teacher))))
    except (OSError, ValueError, TypeError):
        return None


def _file(teacher: TeacherSpec) -> Path:
    return cache_folder() / "rates" / f"{sha256(repr(teacher).encode()).hexdigest()[:16]}.json"


def time_text(frames: int, rate: Rate | None) -> str:
    """The time that a number of frames takes."""
    if rate is None:
        return "known from the first frames on: label for a minute, then ask for the plan again"
    minutes = round(frames / rate.frames_per_s / 60)
    spent = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"
    return f"about {spent} at {rate.frames_per_s:.3g} frames/s, as last measured on {rate.machine}"
