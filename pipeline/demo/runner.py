"""Runs the demo's stages in order, with progress and log files, and skips finished ones."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xdistill.manifests import disk
from xdistill.manifests.progress import note
from xdistill.manifests.stopping import deferred
from xdistill.pipeline.demo.step import DemoError, Stage, Step

DONE = "done"
"""Folder with a record of each finished stage."""
BEGUN = "begun"
"""Folder with a record of each stopped stage: the seconds of earlier calls."""
LOGS = "logs"
POLL_S = 0.25
BAR = "{percentage:3.0f}%|{bar}| {elapsed}{postfix}"
"""Its unit is a second on two idle cores, so that every stage has its share of it."""
TRUSTED_S = 20.0
"""Seconds for which the expected pace counts as seen, or the first one would be mere chance."""
QUIET_S = 15.0
"""Time between two lines of progress when stderr is not a terminal."""
TAIL_LINES = 15
"""Lines of a failed command's output that the error shows."""
ALMOST = 0.95
"""A stage that takes longer than expected waits at this share."""
STOP_GRACE_S = 30.0
"""Time a command has to write a checkpoint and end when the demo is stopped."""


class Ledger:
    """Records which stages are finished or stopped, and how long each took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def seconds(self, stage: Stage) -> float | None:
        """Seconds a finished stage took; None if it is not finished.

        Raises:
            DemoError: It was finished with other settings.
        """
        path = self._path(DONE, stage)
        if not os.path.lexists(path):
            return None
        content = _read(path)
        if content["record"] != stage.record:
            raise DemoError(
                f"stage {stage.name} was finished with other settings",
                expected="; ".join(stage.record),
                where=path.absolute(),
                remedy="give the same options as before, or a new folder with --out",
            )
        return float(content["seconds"])

    def finish(self, stage: Stage, seconds: float) -> None:
        """Record the stage as finished, adding the seconds of earlier calls."""
        self._write(DONE, stage, self._spent(stage) + seconds)

    def stop(self, stage: Stage, seconds: float) -> None:
        """Record the stage as stopped, adding the seconds of earlier calls."""
        self._write(BEGUN, stage, self._spent(stage) + seconds)

    def _spent(self, stage: Stage) -> float:
        """Seconds of earlier calls with the same settings that were stopped."""
        path = self._path(BEGUN, stage)
        if not os.path.lexists(path):
            return 0.0
        content = _read(path)
        return float(content["seconds"]) if content["record"] == stage.record else 0.0

    def _write(self, kind: str, stage: Stage, seconds: float) -> None:
        path = self._path(kind, stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"record": stage.record, "seconds": round(seconds, 2)}
        disk.write(path, [json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"])

    def _path(self, kind: str, stage: Stage) -> Path:
        return self.folder / kind / f"{stage.name}.json"


def _read(path: Path) -> dict[str, Any]:
    """The record of a stage.

    Raises:
        DemoError: It is damaged, or is no file.
    """
    try:
        content = json.loads(disk.read_text(path))
        return {"record": content["record"], "seconds": float(content["seconds"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise DemoError(
            f"the record of a stage cannot be read ({reason})",
            expected="the file as the demo wrote it",
            where=path.absolute(),
            remedy="move it away and run the demo again: the stage goes on",
        ) from error


def run_stages(stages: Sequence[Stage], folder: Path) -> dict[str, float]:
    """Run the stages that are not finished.

    Args:
        stages: In order.
        folder: The demo's folder.

    Returns:
        Seconds of every stage by its name.

    Raises:
        DemoError: A command failed (its last lines are shown), or a stage was finished with other
            settings.
        Stopped: A signal came; the commands have ended.
    """
    ledger = Ledger(folder)
    left = [stage for stage in stages if ledger.seconds(stage) is None]
    total = sum(stage.seconds for stage in left)
    interval = 0.1 if sys.stderr.isatty() else QUIET_S
    with tqdm(total=round(total), bar_format=BAR, mininterval=interval) as bar:
        before = 0.0
        for number, stage in enumerate(stages, 1):
            heading = f"[{number}/{len(stages)}] {stage.title}"
            if stage not in left:
                note(f"{heading}: already done")
                continue
            _announce(bar, heading, stage)
            start = time.monotonic()
            _advance(bar, before, stage.name)
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
    for step in stage.steps:
        note(f"    $ {step.text}")


def _advance(bar: Any, seconds: float, text: str) -> None:
    done = max(bar.n, round(seconds))
    left = seconds_left(done, bar.total, elapsed=bar.format_dict["elapsed"])
    bar.set_postfix_str(f"about {bar.format_interval(left)} left, {text}", refresh=False)
    bar.update(done - bar.n)


def seconds_left(done: float, total: float, *, elapsed: float) -> float:
    """Estimate how long the rest takes.

    Args:
        done: Expected seconds of what is finished.
        total: Expected seconds of all.
        elapsed: Seconds that the finished part really took.

    Returns:
        The expected seconds of the rest, at the pace of the finished part.
    """
    return (total - done) * (elapsed + TRUSTED_S) / (done + TRUSTED_S)


def _run(stage: Stage, folder: Path, *, bar: Any, before: float) -> None:
    start = time.monotonic()
    if stage.work is not None:
        stage.work()
    logs = [folder / LOGS / f"{stage.name}-{n}.log" for n in range(len(stage.steps))]
    with _started(stage.steps, logs) as running:
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
    for step, process, log in zip(stage.steps, running, logs, strict=True):
        if process.poll():
            lines = disk.read_bytes(log).decode(errors="replace").splitlines()
            raise DemoError(
                f"{step.text} ended with status {process.returncode}:\n"
                + "\n".join(f"    {line}" for line in lines[-TAIL_LINES:]),
                where=log.absolute(),
                remedy="fix what the message names and run the demo again: it resumes here",
            )


@contextmanager
def _started(
    steps: Sequence[Step], logs: Sequence[Path]
) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Start the steps side by side; stop on exit those still running."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for step, log in zip(steps, logs, strict=True):
            # A process that nobody knows of could not be stopped.
            with deferred():
                running.append(_start(step, log))
        yield running
    finally:
        _stop(running)


def _start(step: Step, log: Path) -> "subprocess.Popen[bytes]":
    """Start a step that logs to a file, on one thread, so that results do not vary."""
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with log.open("ab") as output:
        return subprocess.Popen(
            step.arguments(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | threads,
            # Ctrl-C reaches the demo alone, which passes it on once: a second one would break the
            # step of a training off.
            process_group=0,
        )


def _stop(running: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Ask the processes still running to end, and wait; kill those that do not.

    SIGTERM, as a shell hands SIGINT down as ignored to what it runs in the background.
    """
    try:
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_GRACE_S
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
    finally:
        # Also where a second signal ends the waiting: no command outlives the demo.
        for process in running:
            process.kill()
            process.wait()
