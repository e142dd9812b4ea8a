"""Commands of the demo: shown as a reader would type them, run with this very Python."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from xdistill.manifests.errors import XDistillError


class DemoError(XDistillError, RuntimeError):
    """A demo that cannot go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command line."""

    words: tuple[str, ...]
    """As typed: program and arguments."""
    resumable: Path | None = None
    """A file; once it is there, the command is called with ``--resume``."""

    @property
    def current(self) -> tuple[str, ...]:
        """The words as they are called now."""
        resuming = self.resumable is not None and self.resumable.exists()
        return (*self.words, "--resume") if resuming else self.words

    @property
    def text(self) -> str:
        """The line to type."""
        return shlex.join(self.words)

    def arguments(self) -> list[str]:
        """What to start: this Python, which runs the program's entry point.

        Raises:
            DemoError: No such program is installed.
        """
        program, *rest = self.current
        if program == "python":
            return [sys.executable, *rest]
        module, _, attribute = _programs()[program].partition(":")
        # The name in front, so that messages of the program name it and not "-c".
        start = f"import sys; sys.argv[0] = {program!r}; from {module} import {attribute} as main"
        return [sys.executable, "-c", f"{start}; main()", *rest]


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
            f"no {', '.join(missing)}",
            expected="the programs of an installed xdistill",
            where=sys.prefix,
            remedy="install it again: pip install --editable '.[dev]'",
        )
    return found
