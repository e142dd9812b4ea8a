"""The run folder: its name, its record, and whether a training may go on in it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xdistill.manifests import atomic
from xdistill.manifests.errors import XDistillError
from xdistill.train.recipe.file import FILE_NAME as RECIPE_FILE
from xdistill.train.recipe.file import dump_recipe, load_run_recipe
from xdistill.train.recipe.recipe import RESUMABLE_KEYS, Recipe

RUNS = Path("runs")
"""Where runs go unless ``--out`` says otherwise."""
RECORD_FILE = "run.json"
FIXED = ("frames_sha256", "store_fingerprint")
"""Parts of the record that a resumed run must share."""

Record = Mapping[str, Any]


class RunError(XDistillError, ValueError):
    """A run folder that cannot be started in or gone on with."""


def free_name(recipe: str, *, folder: Path = RUNS) -> Path:
    """``runs/<recipe>-<n>`` with the first n from 1 that is free."""
    number = 1
    while (folder / f"{recipe}-{number}").exists():
        number += 1
    return folder / f"{recipe}-{number}"


def newest_run(folder: Path = RUNS) -> Path:
    """The run folder that was written to last.

    Raises:
        RunError: There is no run.
    """
    runs = [path.parent for path in folder.glob(f"*/{RECORD_FILE}")]
    if not runs:
        raise RunError(
            "no run to go on with",
            expected=f"a folder with {RECORD_FILE}",
            where=folder.absolute(),
            remedy="give the run with --out, or train without --resume",
        )
    return max(runs, key=lambda run: max(file.stat().st_mtime for file in run.iterdir()))


def start_run(run: Path, recipe: Recipe, record: Record) -> None:
    """Create the run folder with the resolved recipe and the record.

    Raises:
        RunError: The folder is not empty, or cannot be written.
    """
    require_empty(run)
    _write(run, recipe, record, remedy="give another folder with --out")


def require_empty(run: Path) -> None:
    """Check that a new run overwrites nothing.

    Raises:
        RunError: The folder is not empty, or is a file.
    """
    if run.is_file() or (run.is_dir() and any(run.iterdir())):
        raise RunError(
            "the run folder is not empty",
            expected="a new or empty folder",
            where=run.absolute(),
            remedy="go on with this run by --resume, or give another folder with --out",
        )


def read_record(run: Path) -> dict[str, Any]:
    """What the run was started with: data, selection, store.

    Raises:
        RunError: The folder holds no run.
    """
    path = run / RECORD_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"no run to go on with ({error})",
            expected=f"a folder that xd-train wrote, with {RECIPE_FILE} and {RECORD_FILE}",
            where=run.absolute(),
            remedy="check --out, or train without --resume",
        ) from error
    return dict(record)


def resumed_recipe(run: Path, wanted: Recipe) -> Recipe:
    """The recipe to go on with: the run's, with those keys as wanted that change no result.

    Raises:
        RunError: The wanted recipe differs in another key.
        ManifestError: The run's recipe is not whole.
    """
    own = load_run_recipe(run)
    recorded, asked = asdict(own), asdict(wanted)
    differing = [
        f"{key} {asked[key]!r} (the run has {recorded[key]!r})"
        for key in recorded
        if recorded[key] != asked[key] and key not in RESUMABLE_KEYS
    ]
    if differing:
        raise RunError(
            f"another recipe: {', '.join(differing)}",
            expected=f"the run's own; only {', '.join(RESUMABLE_KEYS)} may change",
            where=run / RECIPE_FILE,
            remedy="leave out --recipe and --set, or start a new run",
        )
    return wanted


def resume_run(run: Path, recipe: Recipe, record: Record) -> None:
    """Check that frames and labels are those the run was started with; record what is new.

    Raises:
        RunError: They are not, or the folder cannot be written.
    """
    before = read_record(run)
    for key in FIXED:
        if before.get(key) != record.get(key):
            raise RunError(
                f"{key} {record.get(key)}",
                expected=f"{before.get(key)}, as the run was started",
                where=run / RECORD_FILE,
                remedy="go on with the run's own frames and label store, or start a new run",
            )
    for left in partial_files(run):
        atomic.discard(left)
    _write(run, recipe, record, remedy="make room there or make it writable, then run again")


def partial_files(run: Path) -> Iterator[Path]:
    """What an interrupted write left behind."""
    return run.glob(f"*{atomic.PARTIAL}")


def _write(run: Path, recipe: Recipe, record: Record, *, remedy: str) -> None:
    """Write recipe and record, each in one step and only where it changes."""
    text = json.dumps(dict(record), indent=2) + "\n"
    contents = {run / RECIPE_FILE: dump_recipe(recipe), run / RECORD_FILE: text.encode()}
    try:
        run.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            if not path.exists() or path.read_bytes() != content:
                atomic.write(path, [content])
    except OSError as error:
        raise RunError(
            f"the run folder cannot be written ({error.strerror})",
            where=run.absolute(),
            remedy=remedy,
        ) from error
