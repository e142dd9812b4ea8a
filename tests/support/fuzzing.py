"""Run a command on one bad input after the other, and judge what it did with each."""

import functools
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import click
from click.testing import CliRunner
from malformed import Malformed, in_place_of

from xdistill.manifests.errors import XDistillError

LIMIT_S = 20.0
"""A command that takes longer on a small bad input hangs."""
ROOM_BYTES = 1 << 30
"""What a command may add to the address space: more is a size that a bad header declared."""
CACHED = type(functools.cache(len))
REFUSALS = (1, 2)
"""Exit statuses of a message: xdistill's own, and click's for a wrong option."""
UNSAFE = ("delete ", "rm ", "Traceback")

NOTHING = object()
"""Equal to no result: what has to be refused."""

Action = Callable[[], object]


class Refused(Exception):
    """The command ended with a message for its user."""


class Hung(BaseException):
    """The time limit; no handler of the command may see it."""


class Crashed(Exception):
    """The command ended with a traceback, or with an exit status of no message."""


@dataclass(kw_only=True)
class Report:
    """What became of the bad inputs of one kind."""

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        outcomes = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return f"{self.kind}: {self.counts.total()} malformed ({outcomes}), {self.seconds:.1f} s"


def invoke(command: click.Command, *arguments: object) -> str:
    """Run a command as its user types it; its standard output.

    Raises:
        Refused: It ended with a message.
        Crashed: It ended in any other way than a message or success.
    """
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise Crashed(f"{type(result.exception).__name__}: {result.exception}") from (
            result.exception
        )
    if result.exit_code in REFUSALS:
        raise Refused(result.output)
    if result.exit_code:
        raise Crashed(f"exit status {result.exit_code}: {result.output}")
    return result.stdout


def fuzz(
    kind: str,
    path: Path,
    inputs: Iterable[Malformed],
    action: Action,
    *,
    tolerant: bool = True,
) -> Report:
    """Put each bad input in the place of ``path`` and run the action.

    It has to refuse with a message, or to give what it gives on the good file: a bad input that
    makes no difference is harmless.

    Args:
        kind: Of the inputs, for the report.
        path: A good file.
        inputs: What takes its place.
        action: Reads the file; its result tells what a user gets.
        tolerant: Whether harmless inputs may pass; a check must notice them all.
    """
    report = Report(kind=kind)
    # What was read of the bad inputs before must not be taken for the good file.
    forget()
    expected = action()
    if not tolerant:
        expected = NOTHING
    begun = time.process_time()
    for malformed in inputs:
        with in_place_of(path, malformed):
            judge(report, malformed.name, action, expected=expected)
    forget()
    report.seconds = time.process_time() - begun
    return report


def refuse_each(kind: str, texts: Iterable[str], action: Callable[[str], object]) -> Report:
    """Run an action with each bad text, all of which it has to refuse."""
    report = Report(kind=kind)
    begun = time.process_time()
    for text in texts:
        shown = repr(text if len(text) < 60 else text[:60] + "...")
        judge(report, shown, lambda text=text: action(text), expected=NOTHING)
    report.seconds = time.process_time() - begun
    return report


def judge(report: Report, name: str, action: Action, *, expected: object) -> None:
    """Run an action on one bad input, and count what it did."""
    forget()
    try:
        with limits():
            outcome = "harmless" if action() == expected else "wrong result"
    except (Refused, XDistillError) as error:
        unsafe = [words for words in UNSAFE if words in str(error)]
        outcome = f"message with {unsafe[0]!r}" if unsafe else "refused"
        if not str(error).strip():
            outcome = "refused without a word"
    except Hung:
        outcome = f"hung for {LIMIT_S:g} s"
    except Exception as error:
        outcome = f"traceback {describe(error)}"
    good = outcome in ("refused", "harmless")
    report.counts[outcome if good else "WRONG"] += 1
    if not good:
        report.findings.append(f"{report.kind}, {name}: {outcome}")


def forget() -> None:
    """Empty the caches of this process: a command that is typed has read nothing yet."""
    for name, module in list(sys.modules.items()):
        if name.startswith("xdistill."):
            for value in list(vars(module).values()):
                if isinstance(value, CACHED):
                    value.cache_clear()


def describe(error: BaseException) -> str:
    """An exception in one line, with the place of its origin."""
    origin = error.__cause__ if isinstance(error, Crashed) and error.__cause__ else error
    trace = origin.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    frames = []
    walk = origin.__traceback__
    while walk is not None:
        file = Path(walk.tb_frame.f_code.co_filename)
        if "site-packages" not in file.parts and "support" not in file.parts:
            frames.append(f"{file.parent.name}/{file.name}:{walk.tb_lineno}")
        walk = walk.tb_next
    return f"{type(origin).__name__}: {str(origin)[:160]!r} at {' '.join(frames[-2:])}"


@contextmanager
def limits() -> Iterator[None]:
    """Let nothing take longer than LIMIT_S, or more memory than ROOM_BYTES."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hung

    handler = signal.signal(signal.SIGALRM, hang)
    # pytest-timeout uses the same alarm.
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    room = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + ROOM_BYTES, room[1]))
    try:
        with warnings.catch_warnings():
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, room)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)


def address_space() -> int:
    """Bytes of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def must_hold(*reports: Report, record: Callable[[str, Any], None], at_least: int) -> None:
    """Fail with every finding; keep the counts for the summary of the session."""
    for report in reports:
        print(report)
        record("malformed", str(report))
    assert sum(report.counts.total() for report in reports) >= at_least
    findings = [finding for report in reports for finding in report.findings]
    assert not findings, "\n".join(findings)


@contextmanager
def restored(folder: Path, *, but: Path) -> Iterator[None]:
    """Put back every file of a folder, but for the one that ``in_place_of`` puts back."""
    before = {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() if path != but
    }
    try:
        yield
    finally:
        for path in folder.rglob("*"):
            if path.is_file() and path not in before and path != but:
                path.unlink()
        for path, content in before.items():
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
