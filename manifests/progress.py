"""Log lines and progress on stderr, so that results on stdout stay clean."""

import os
import sys
from collections.abc import Callable
from typing import Never, TypeAlias

import click
from tqdm import tqdm

Advance: TypeAlias = Callable[[int], object]
"""Called with the number of units just finished."""


def unshown(count: int) -> None:
    """An ``Advance`` that shows nothing."""


def note(text: str) -> None:
    """Print a log line to stderr."""
    click.echo(text, err=True)


def progress(*, total: int | None, unit: str, done: int = 0) -> "tqdm[Never]":
    """A bar with rate and remaining time on stderr; a line every 30 s if that is no terminal.

    Args:
        total: Number of all units; None if unknown.
        unit: What is counted; bytes (``B``) are shown as kB, MB, ...
        done: Units finished before.
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
    """Number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
