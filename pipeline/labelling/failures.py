"""Frames that could not be labelled, told by kind: thousands may fail for one reason."""

import re
from collections.abc import Iterator, Mapping

from xdistill.pipeline.kitti.frames import Frame

NAMED = 5
"""Frames of one kind that are named after the first."""


def kind_of(reason: str) -> str:
    """What a failure has in common with others: its first line, whatever the numbers in it."""
    return re.sub(r"\d+(, \d+)*", "#", reason.partition("\n")[0])


def by_kind(failures: Mapping[Frame, str]) -> dict[str, list[Frame]]:
    """The failed frames by kind of failure, both in the order of the frames."""
    kinds: dict[str, list[Frame]] = {}
    for frame in sorted(failures):
        kinds.setdefault(kind_of(failures[frame]), []).append(frame)
    return kinds


def lines(failures: Mapping[Frame, str]) -> Iterator[str]:
    """The first failure of each kind in full, and how many others there are."""
    for first, *others in by_kind(failures).values():
        yield f"failed: {first}: {failures[first]}"
        if others:
            named = ", ".join(map(str, others[:NAMED]))
            left = len(others) - NAMED
            yield f"failed alike: {named}" + (f" and {left} other frames" if left > 0 else "")
