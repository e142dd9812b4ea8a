"""Ctrl-C, SIGTERM and SIGHUP: one convention for every command.

A signal raises ``Stopped`` in the main thread, so that whatever is under way ends as it does after
any error: what is finished is kept. Work that should not be cut off in its middle runs
``deferred``. A signal that the parent hands down as ignored, as a shell does for what it runs in
the background and nohup for SIGHUP, stays ignored.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from xdistill.manifests.progress import note

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what batch systems, containers and ``kill`` send; a closed terminal."""
EXIT_STATUS = 128
"""Added to a signal's number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
AT_ONCE = "once more ends it at once"


class Stopped(KeyboardInterrupt):
    """A signal asked to stop.

    Whoever lets it pass may add what is kept and the command that goes on, for the last line.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.kept: str | None = None
        self.next: str | None = None
        super().__init__(self.name)

    @property
    def name(self) -> str:
        """The signal as a user knows it."""
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name

    @property
    def status(self) -> int:
        """The exit status of the command."""
        return EXIT_STATUS + self.number


@dataclass(slots=True)
class _Deferral:
    """Work to be finished before a signal takes effect."""

    ending: str | None
    """What is said at once; None defers every signal, and says nothing."""
    asked: int | None = None
    """The signal that came meanwhile."""


_deferrals: list[_Deferral] = []
"""From the outermost inwards; of the main thread, the only one that handles signals."""
_announced: list[int] = []
"""Signals since ``stoppable`` began, of which the first is answered."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise ``Stopped`` at the signals, from now on to the end of the context.

    Outside the main thread, where Python allows no handlers, signals act as before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number in SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    _announced.clear()
    try:
        for number in taken:
            signal.signal(number, _handle)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def stops_reported(again: str) -> Iterator[None]:
    """End a command that a signal stops with a line that says what is kept and how to go on.

    Args:
        again: The command that goes on, unless whoever was stopped says another.
    """
    try:
        with stoppable():
            yield
    except Stopped as stop:
        note(f"stopped by {stop.name}" + (f": {stop.kept}" if stop.kept else ""))
        note(f"next: {stop.next or again}")
        sys.exit(stop.status)


@contextmanager
def keeping(say: Callable[[], str]) -> Iterator[None]:
    """Let the last line of a stopped command say what the work inside keeps."""
    try:
        yield
    except Stopped as stop:
        stop.kept = say()
        raise


@contextmanager
def deferred(ending: str | None = None) -> Iterator[None]:
    """Let the work inside finish: the first signal raises ``Stopped`` behind it.

    Args:
        ending: What ends now, as the user reads it at once: "stopping after this step". A second
            signal raises ``Stopped`` in the middle of the work. None defers every signal, for
            work of a moment.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferral = _Deferral(ending)
    _deferrals.append(deferral)
    try:
        yield
    finally:
        _deferrals.remove(deferral)
    if deferral.asked is not None:
        raise Stopped(deferral.asked)


def _handle(number: int, frame: FrameType | None) -> None:
    for deferral in _deferrals:
        if deferral.ending is None or deferral.asked is None:
            deferral.asked = number
            if deferral.ending is not None:
                _announce(number, deferral.ending)
            return
    _announce(number, "stopping")
    raise Stopped(number)


def _announce(number: int, ending: str) -> None:
    """Say it once, from a signal handler, where Python's own files cannot be used."""
    _announced.append(number)
    # The terminal may be gone: that is what SIGHUP says.
    with suppress(OSError):
        if len(_announced) == 1:
            os.write(2, f"\n{Stopped(number).name}: {ending} ({AT_ONCE})\n".encode())
