"""The standard streams: results on stdout, log lines and progress on stderr.

They may lead anywhere: be closed, full, cut short, or not in UTF-8. What stdout does not take is an
error of its own, told from every other one; a log line that cannot be written never ends the work.
"""

import codecs
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Never, TextIO, TypeAlias, cast

import click
from tqdm import tqdm

Advance: TypeAlias = Callable[[int], object]
"""Called with the number of units just finished."""

PRINTABLE = "xdistill.printable"
"""Name of the way to print what an encoding lacks; see ``_printable``."""
CUT_SHORT = 128 + signal.SIGPIPE
"""Exit status after a reader such as ``head`` has left, as a shell reports it of git or grep."""


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
        # A total that is found first would show a bar of nothing before it.
        delay=0.01 if total is None else 0,
    )


def usable_cores() -> int:
    """Number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ResultsError(Exception):
    """What stdout was to get cannot be written there.

    No ``OSError``: nothing that handles those of the work may take it for one.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout cannot be written ({error.strerror})")
        self.cut_short = error.errno in (errno.EPIPE, errno.ECONNRESET)


class Results:
    """The stream of the results: ``ResultsError`` at every use once it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed: ResultsError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._watched():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._watched():
            self._stream.flush()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        # Not once alone: click tries a stream with nothing to write, and overlooks errors there.
        if self._failed is not None:
            raise self._failed
        try:
            yield
        except OSError as error:
            self._failed = ResultsError(error)
            _silence(self._stream)
            raise self._failed from error


class Log(Results):
    """The stream of the log: silent once it cannot be written."""

    def write(self, text: str) -> int:
        with suppress(ResultsError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(ResultsError):
            super().flush()


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make stdout and stderr safe to write to, whatever they lead to.

    A closed stream is opened on the null device, as git does: the next file opened would take its
    number, and a library's own warnings would be written into it.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    for stream in before:
        _print_everything(stream)
    sys.stdout, sys.stderr = cast(TextIO, Results(before[0])), cast(TextIO, Log(before[1]))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


def _silence(stream: TextIO) -> None:
    """Lead a stream that failed to the null device, or Python would fail again at its exit."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _print_everything(stream: Any) -> None:
    """Let no character end a command; ASCII, which names no terminal's wish, becomes UTF-8."""
    if not hasattr(stream, "reconfigure"):
        return
    name = codecs.lookup(stream.encoding).name
    stream.reconfigure(encoding="utf-8" if name == "ascii" else name, errors=PRINTABLE)


def _printable(error: UnicodeError) -> tuple[bytes, int]:
    """A file name's bytes as they are (Python holds them as surrogates); ``?`` for the rest."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    codes = [ord(character) for character in error.object[error.start : error.end]]
    found = (code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else ord("?") for code in codes)
    return bytes(found), error.end


codecs.register_error(PRINTABLE, _printable)
