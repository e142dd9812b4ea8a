"""Log lines and progress on stderr, so that results on stdout stay clean."""

import os
import sys
from collections.abc import Callable
from typing import Never, TypeAlias

import click
from tqdm import tqdm

Advance: TypeAlias = Callable[[int], object]
"""Called with the number of units that have just been finished."""


def unshown(count: int) -> None:
    """An ``Advance`` that shows nothing."""


def note(text: str) -> None:
    """A log line: to stderr, so that results on stdout stay clean."""
    click.echo(text, err=True)


def progress(*, total: int | None, unit: str, done: int = 0) -> "tqdm[Never]":
    """A bar with rate and time left on stderr; a line every 30 s where that is no terminal.

    Args:
        total: Of all units; None where nobody knows.
        unit: What is counted; bytes (``B``) are shown as kB, MB, ...
        done: Units that were there before.
    """
    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(
        total=total,
        unit=unit,
        initial=done,
        unit_scale=unit == "B",
        mininterval=interval,
        dynamic_ncols=True,
    )


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
