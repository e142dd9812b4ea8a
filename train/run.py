"""The run folder: its name, its owner, its record, its logs, and whether to resume in it."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from xdistill.manifests import disk, loader
from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import note
from xdistill.train.checkpoint import FILE_NAME as CHECKPOINT_FILE
from xdistill.train.recipe.file import FILE_NAME as RECIPE_FILE
from xdistill.train.recipe.file import RUN_PREFIX, dump_recipe, load_run_recipe
from xdistill.train.recipe.recipe import RESUMABLE_KEYS, Recipe

RUNS = Path("runs")
"""Where runs go unless ``--out`` says otherwise."""
RECORD_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
"""One line per optimiser step."""
VALIDATION_FILE = "validation.jsonl"
"""One line per validation."""
OWNER_FILE = ".owner"
"""Locked by the process that trains in the folder."""
FIXED = ("frames_sha256", "store_fingerprint")
"""Parts of the record that a resumed run must share."""

Record = Mapping[str, Any]


class RunError(XDistillError, ValueError):
    """A run folder in which a training cannot start or resume."""


def free_name(recipe: str, *, folder: Path = RUNS) -> Path:
    """``runs/<recipe>-<n>`` with the first free n, from 1."""
    number = 1
    while (folder / f"{recipe}-{number}").exists():
        number += 1
    return folder / f"{recipe}-{number}"


def newest_run(folder: Path = RUNS) -> Path:
    """The run folder that was written to last.

    Raises:
        RunError: The folder holds no run.
    """
    runs = [path.parent for path in folder.glob(f"*/{RECORD_FILE}")]
    if not runs:
        raise RunError(
            "there is no run to resume",
            expected=f"a folder with {RECORD_FILE}",
            where=folder.absolute(),
            remedy="name the run with --out, or train without --resume",
        )
    return max(runs, key=lambda run: max(file.stat().st_mtime for file in run.iterdir()))


def with_initial_run(recipe: Recipe, *, folder: Path = RUNS) -> Recipe:
    """The recipe with the folder of the run that ``init = "run:NAME"`` stands for.

    Args:
        recipe: Returned as it is if ``init`` names no recipe.
        folder: Where runs are looked for.

    Raises:
        RunError: The folder holds no trained run of that recipe.
    """
    if recipe.init is None or not recipe.init.startswith(RUN_PREFIX):
        return recipe
    name = recipe.init.removeprefix(RUN_PREFIX)
    trained = [
        path
        for path in folder.glob(f"*/{CHECKPOINT_FILE}")
        if loader.load("recipes", str(path.with_name(RECIPE_FILE))).get("name") == name
    ]
    if not trained:
        raise RunError(
            f"recipe {recipe.name} starts from a run of {name}, and there is none",
            expected=f"a folder with {CHECKPOINT_FILE} and a {RECIPE_FILE} of that name",
            where=folder.absolute(),
            remedy=f"run xd-train --recipe {name} first, or name its folder with --set init=FOLDER",
        )
    newest = max(trained, key=lambda path: path.stat().st_mtime).parent
    return replace(recipe, init=str(newest.absolute()))


def require_empty(run: Path) -> None:
    """Check that a new run overwrites nothing.

    Raises:
        RunError: The folder is not empty, or is a file.
    """
    if run.is_file() or (run.is_dir() and any(file.name != OWNER_FILE for file in run.iterdir())):
        raise RunError(
            "the run folder is not empty",
            expected="a new or empty folder",
            where=run.absolute(),
            remedy="resume this run with --resume, or give another folder with --out",
        )


@contextmanager
def owned(run: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder inside the context; the folder is made if missing.

    Where the file system has no locks, a note says so.

    Raises:
        RunError: Another process trains there, or the folder cannot be written.
    """
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    with _reported(run, remedy="make it writable, or give another folder with --out"):
        run.mkdir(parents=True, exist_ok=True)
        handle = disk.open_to_lock(run / OWNER_FILE, os.O_RDWR | os.O_CREAT)
    try:
        with _reported(run, remedy="make it writable, or give another folder with --out"):
            _lock(handle, run)
        yield
    finally:
        if made:
            _remove_unused(run, made)
        disk.close_locked(handle)


def _remove_unused(run: Path, made: Sequence[Path]) -> None:
    """Remove the folders that were made for a run that did not start."""
    with suppress(OSError):
        if [file.name for file in run.iterdir()] == [OWNER_FILE]:
            (run / OWNER_FILE).unlink()
            for folder in made:
                folder.rmdir()


def _lock(handle: int, run: Path) -> None:
    """Lock the file and write into it who has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(
            f"the run is still training: {os.read(handle, 1000).decode(errors='replace').strip()}",
            expected="a run that no other process trains",
            where=run.absolute(),
            remedy="wait until it ends, or stop it with Ctrl-C or SIGTERM: it writes a checkpoint",
        ) from error
    except OSError as error:
        if error.errno not in disk.NO_LOCKS:
            raise
        note(
            f"no locks here ({error.strerror}): nothing keeps a second training out of {run}, "
            "start only one at a time"
        )
        return
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def read_record(run: Path) -> dict[str, Any]:
    """What the run was started with: data, split, store and more.

    Raises:
        RunError: The folder holds no run.
    """
    path = run / RECORD_FILE
    try:
        record = json.loads(disk.read_text(path))
        if not isinstance(record, dict):
            raise ValueError(f"{RECORD_FILE} holds no table")
        if not isinstance(record.get("recipe", {}), dict):
            raise ValueError(f"the recipe in {RECORD_FILE} is no table")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.headline if isinstance(error, XDistillError) else error
        raise RunError(
            f"there is no run to resume ({reason})",
            expected=f"a folder that xd-train wrote, with {RECIPE_FILE} and {RECORD_FILE}",
            where=run.absolute(),
            remedy="check --out, or train without --resume",
        ) from error
    return record


def resumed_recipe(run: Path, wanted: Recipe) -> Recipe:
    """The recipe to resume with: the run's, with the wanted values of keys that change no result.

    The run's is the one that it was started with, whatever its recipe file says now.

    Raises:
        RunError: The wanted recipe differs in another key.
        ManifestError: The run's recipe cannot be read or is incomplete.
    """
    # Runs of an earlier version have it in their recipe file alone.
    recorded = read_record(run).get("recipe") or asdict(load_run_recipe(run))
    asked = asdict(wanted)
    differing = [
        f"{key} {asked[key]!r} (the run has {recorded[key]!r})"
        for key in asked
        if key in recorded and recorded[key] != asked[key] and key not in RESUMABLE_KEYS
    ]
    if differing:
        raise RunError(
            f"the recipe differs from the run's: {', '.join(differing)}",
            expected=f"the run's own recipe; only {', '.join(RESUMABLE_KEYS)} may change",
            where=run / RECIPE_FILE,
            remedy=f"leave out --recipe and --set and undo changes of {RECIPE_FILE}, or start a "
            "new run",
        )
    return wanted


def start_run(run: Path, recipe: Recipe, record: Record) -> None:
    """Create the run folder with the resolved recipe and the record.

    Raises:
        RunError: The folder is not empty, or cannot be written.
    """
    require_empty(run)
    with _reported(run, remedy="give another folder with --out"):
        _write(run, recipe, record)


def resume_run(run: Path, recipe: Recipe, record: Record, *, step: int) -> None:
    """Take up a run: check that frames and labels are its own, cut its logs, record what is new.

    Args:
        run: The run folder.
        recipe: The recipe to resume with.
        record: The new record.
        step: Optimiser steps done; log lines after it are dropped. At 0 there is no checkpoint, and
            the logs are set aside as they are.

    Raises:
        RunError: Frames or labels differ, or the folder cannot be written.
    """
    before = read_record(run)
    for key in FIXED:
        if before.get(key) != record.get(key):
            raise RunError(
                f"{key} is {record.get(key)}, not the run's own",
                expected=f"{before.get(key)}, as the run was started",
                where=run / RECORD_FILE,
                remedy="resume with the run's own frames and label store, or start a new run",
            )
    for left in run.glob(f"*{disk.PARTIAL}"):
        disk.discard(left)
    with _reported(run, remedy="free space there or make it writable, then run again"):
        _write(run, recipe, record)
        for file in (METRICS_FILE, VALIDATION_FILE):
            if step:
                truncate(run / file, step=step)
            else:
                set_aside(run / file)


def _write(run: Path, recipe: Recipe, record: Record) -> None:
    """Write recipe and record, each in one step and only if it changed."""
    text = json.dumps(dict(record), indent=2, allow_nan=False) + "\n"
    contents = {run / RECIPE_FILE: dump_recipe(recipe), run / RECORD_FILE: text.encode()}
    run.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        if not path.exists() or disk.read_bytes(path) != content:
            disk.write(path, [content])


@contextmanager
def _reported(run: Path, *, remedy: str) -> Iterator[None]:
    """Report what the disk refuses as an error of the run."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the run folder cannot be written ({error.strerror})",
            where=Path(error.filename or run).absolute(),
            remedy=remedy,
        ) from error


class JsonLines:
    """A file of JSON lines, open for appending; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def __enter__(self) -> "JsonLines":
        # Buffered by line, so that a reader of the running log never sees half a line.
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, values: Mapping[str, float | int | None]) -> None:
        """Append one line."""
        if self._file is None:
            raise ValueError("the log is not open")
        self._file.write(json.dumps(values, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Bring the lines to disk, before a checkpoint that counts on them."""
        if self._file is not None:
            os.fsync(self._file.fileno())


def truncate(path: Path, *, step: int) -> None:
    """Drop the lines after ``step``, and a last line that a crash cut short.

    Lines that are no JSON, such as blank ones, stay where they are.

    Raises:
        OSError: The file cannot be read or written.
    """
    if not os.path.lexists(path):
        return
    content = disk.read_bytes(path)
    kept = []
    for line in content.splitlines(keepends=True):
        number = _step_of(line)
        if (number is None and not line.endswith(b"\n")) or (number is not None and number > step):
            break
        kept.append(line if line.endswith(b"\n") else line + b"\n")
    if (shortened := b"".join(kept)) != content:
        disk.write(path, [shortened])


def _step_of(line: bytes) -> int | None:
    """The step that a line belongs to; None where it is no line of a log."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if isinstance(step, int) else None


def set_aside(path: Path) -> None:
    """Keep the log of a training that starts again under the first free name: metrics-1.jsonl.

    Raises:
        OSError: The file cannot be renamed.
    """
    if not path.exists() or not path.stat().st_size:
        return
    number = 1
    while (kept := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        number += 1
    path.rename(kept)
    note(f"note:    the log so far is kept as {kept}")
