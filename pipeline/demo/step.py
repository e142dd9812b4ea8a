"""What the demo runs: commands as a reader would type them, grouped into stages."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from xdistill.manifests.errors import XDistillError


class DemoError(XDistillError, RuntimeError):
    """The demo cannot start or continue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command line, run by this Python whatever the shell's PATH says."""

    words: tuple[str, ...]
    """As typed: program and arguments."""
    resumable: Path | None = None
    """Once this file exists, the command is run with ``--resume``."""

    @property
    def text(self) -> str:
        """The line to type."""
        return shlex.join(self.words)

    def arguments(self) -> list[str]:
        """The process to start: this Python, calling the program's entry point.

        Raises:
            DemoError: The program is not installed.
        """
        program, *rest = self.words
        if self.resumable is not None and self.resumable.exists():
            rest.append("--resume")
        if program == "python":
            return [sys.executable, *rest]
        module, _, attribute = _programs()[program].partition(":")
        # The name comes first, so that the program's messages say it rather than "-c".
        start = f"import sys; sys.argv[0] = {program!r}; from {module} import {attribute} as main"
        return [sys.executable, "-c", f"{start}; main()", *rest]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Steps that run side by side, and how to measure their progress."""

    name: str
    """Names its record and its logs."""
    title: str
    """What it does, for the reader."""
    steps: tuple[Step, ...]
    """Run side by side."""
    seconds: float
    """Expected duration on two idle cores."""
    work: Callable[[], None] | None = None
    """Done in this process before the steps."""
    share_done: Callable[[], float] | None = None
    """Share done, 0-1; None estimates it from the elapsed time."""

    @property
    def record(self) -> list[str]:
        """What decides its result: its commands."""
        return [step.text for step in self.steps]


def _programs() -> Mapping[str, str]:
    """Entry points of this package's programs, ``module:attribute`` by name."""
    found = {
        point.name: point.value
        for point in entry_points(group="console_scripts")
        if point.value.startswith("xdistill.")
    }
    missing = [name for name in ("xd-pipeline", "xd-train", "xd-eval") if name not in found]
    if missing:
        raise DemoError(
            f"this environment lacks {', '.join(missing)}",
            expected="the programs of an installed xdistill",
            where=sys.prefix,
            remedy="install it again: pip install --editable '.[dev]'",
        )
    return found
