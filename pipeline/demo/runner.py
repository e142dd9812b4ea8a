"""Runs the demo's stages one after another: progress, log files, and what is already done."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from xdistill.manifests.progress import note
from xdistill.pipeline.demo.commands import Command, DemoError

DONE = "done"
"""Folder of what is finished: one record a stage."""
BEGUN = "begun"
"""Folder of what was stopped: the seconds of earlier calls, a record a stage."""
LOGS = "logs"
POLL_S = 0.25
BAR = "{percentage:3.0f}%|{bar}| {elapsed}, about {remaining} left{postfix}"
"""Its unit is a second on two quiet cores, so that the time left counts every stage."""
QUIET_S = 15.0
"""Time between two lines of progress where nobody looks at a terminal."""
TAIL_LINES = 15
"""Of a failed command's output, shown at once."""
ALMOST = 0.95
"""A stage that takes longer than expected waits at this share."""
STOP_GRACE_S = 30.0
"""Time for a command to end by itself, with a checkpoint, when the demo is stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Commands that run side by side, and how to see how far they are."""

    name: str
    """Names its record and its logs."""
    title: str
    """What it does, for the reader."""
    commands: tuple[Command, ...]
    """Run side by side."""
    seconds: float
    """Expected on two quiet cores."""
    settings: tuple[str, ...] = ()
    """What else decides its result, beside the commands."""
    work: Callable[[], None] | None = None
    """Done in this process before the commands."""
    share_done: Callable[[], float] | None = None
    """Share that is done, 0-1; None goes by the time."""

    @property
    def record(self) -> list[str]:
        """What decides its result."""
        return [*(command.text for command in self.commands), *self.settings]


class Ledger:
    """Which stages are finished or begun, and how long each took: files written when one ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def seconds(self, stage: Stage) -> float | None:
        """How long the stage took when it was finished; None if it is not.

        Raises:
            DemoError: It was finished with other settings.
        """
        path = self._path(DONE, stage)
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["record"] != stage.record:
            raise DemoError(
                f"stage {stage.name} was finished with other settings",
                expected="; ".join(stage.record),
                where=path.absolute(),
                remedy="give the same options as before, or a new folder with --out",
            )
        return float(content["seconds"])

    def finish(self, stage: Stage, seconds: float) -> None:
        """Record that the stage is finished, after these seconds and those of earlier calls."""
        self._write(DONE, stage, self._spent(stage) + seconds)

    def stop(self, stage: Stage, seconds: float) -> None:
        """Record that the stage was stopped after these seconds and those of earlier calls."""
        self._write(BEGUN, stage, self._spent(stage) + seconds)

    def _spent(self, stage: Stage) -> float:
        """Seconds of earlier calls that were stopped; none where their settings were others."""
        path = self._path(BEGUN, stage)
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return float(content["seconds"]) if content.get("record") == stage.record else 0.0

    def _write(self, kind: str, stage: Stage, seconds: float) -> None:
        path = self._path(kind, stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".partial")
        content = {"record": stage.record, "seconds": round(seconds, 2)}
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        aside.replace(path)

    def _path(self, kind: str, stage: Stage) -> Path:
        return self.folder / kind / f"{stage.name}.json"


def run_stages(stages: Sequence[Stage], folder: Path) -> dict[str, float]:
    """Run what is not finished; returns the seconds of every stage by its name.

    Args:
        stages: In their order.
        folder: The demo's folder.

    Raises:
        DemoError: A command failed (its last lines are shown), or stages were finished with other
            settings.
        KeyboardInterrupt: The demo was stopped; its commands have ended.
    """
    ledger = Ledger(folder)
    left = [stage for stage in stages if ledger.seconds(stage) is None]
    total = sum(stage.seconds for stage in left)
    interval = 0.1 if sys.stderr.isatty() else QUIET_S
    with (
        tqdm(total=round(total), bar_format=BAR, mininterval=interval) as bar,
        _stop_signals(),
    ):
        before = 0.0
        for number, stage in enumerate(stages, 1):
            heading = f"[{number}/{len(stages)}] {stage.title}"
            if stage not in left:
                note(f"{heading}: done before")
                continue
            _announce(bar, heading, stage)
            start = time.monotonic()
            try:
                _run(stage, folder, bar=bar, before=before)
            except BaseException:
                ledger.stop(stage, time.monotonic() - start)
                raise
            taken = time.monotonic() - start
            ledger.finish(stage, taken)
            before += stage.seconds
            _advance(bar, before, f"{stage.name} took {taken:.0f} s")
    return {stage.name: ledger.seconds(stage) or 0.0 for stage in stages}


def _announce(bar: Any, heading: str, stage: Stage) -> None:
    bar.clear()
    note(heading)
    for command in stage.commands:
        note(f"    $ {command.text}")


def _advance(bar: Any, seconds: float, text: str) -> None:
    bar.set_postfix_str(text, refresh=False)
    bar.update(max(0, round(seconds) - bar.n))


def _run(stage: Stage, folder: Path, *, bar: Any, before: float) -> None:
    """One stage."""
    start = time.monotonic()
    if stage.work is not None:
        stage.work()
    logs = [folder / LOGS / f"{stage.name}-{n}.log" for n in range(len(stage.commands))]
    with _started(stage.commands, logs) as running:
        while any(process.poll() is None for process in running):
            _refuse_failure(stage, running, logs)
            share = _share(stage, time.monotonic() - start)
            _advance(bar, before + share * stage.seconds, stage.name)
            time.sleep(POLL_S)
        _refuse_failure(stage, running, logs)


def _share(stage: Stage, elapsed: float) -> float:
    if stage.share_done is not None:
        return min(1.0, stage.share_done())
    return min(ALMOST, elapsed / stage.seconds)


def _refuse_failure(
    stage: Stage, running: Sequence["subprocess.Popen[bytes]"], logs: Sequence[Path]
) -> None:
    """Raise for the first command that ended with an error."""
    for command, process, log in zip(stage.commands, running, logs, strict=True):
        if process.poll():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise DemoError(
                f"{command.text} ended with status {process.returncode}:\n"
                + "\n".join(f"    {line}" for line in lines[-TAIL_LINES:]),
                where=log.absolute(),
                remedy="mend what the message names and run the demo again: it goes on from here",
            )


@contextmanager
def _started(
    commands: Sequence[Command], logs: Sequence[Path]
) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Start the commands side by side; on the way out none is left running."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command, log in zip(commands, logs, strict=True):
            running.append(_start(command, log))
        yield running
    finally:
        _stop(running)


def _start(command: Command, log: Path) -> "subprocess.Popen[bytes]":
    """One command with its output in its log, on one thread, so that results do not vary."""
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with log.open("ab") as output:
        return subprocess.Popen(
            command.arguments(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | threads,
            # Ctrl-C reaches the demo alone, which hands it on once: a second one is no request
            # to end with a checkpoint any more.
            process_group=0,
        )


def _stop(running: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Ask what still runs to end, and wait; what does not listen is killed."""
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STOP_GRACE_S
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Treat a request to terminate, or a terminal that is closed, as Ctrl-C: no command may
    outlive the demo.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    requests = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(request, interrupt) for request in requests]
    try:
        yield
    finally:
        for request, handler in zip(requests, before, strict=True):
            signal.signal(request, handler)
