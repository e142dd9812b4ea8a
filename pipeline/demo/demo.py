"""The whole flow on a rendered street: check, run the stages, write report.json and report.html."""

import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xdistill.manifests import disk, loader
from xdistill.pipeline.demo.runner import BEGUN, DONE, run_stages
from xdistill.pipeline.demo.stages import BASELINE, DemoSettings, stages
from xdistill.pipeline.demo.step import DemoError
from xdistill.pipeline.demo.summary import summarise
from xdistill.pipeline.street.record.folder import StreetSettings, parse_size
from xdistill.teachers.choice.spec import TeacherSpec
from xdistill.train.recipe.file import load_recipe

REPORT, NUMBERS = "report.html", "report.json"
RECORD = "demo.json"
"""Tells a folder of ours from any other; the first file that is written."""
PACKAGES = ("numba", "jinja2", "matplotlib")
"""Of the extra ``street``: for the street itself and for the page."""


def run_demo(settings: DemoSettings) -> dict[str, Any]:
    """Run the stages that are not finished and write the report.

    Args:
        settings: Where to write, and what decides the numbers.

    Returns:
        The content of report.json.

    Raises:
        DemoError: The settings cannot work, a stage failed, or the folder holds a demo with other
            settings.
        ManifestError: The recipe does not exist.
        RecipeError: A recipe key is unknown or has a bad value.
        Stopped: A signal came; the next call resumes.
    """
    check(settings)
    _claim(settings.out)
    plan = stages(settings)
    seconds = run_stages(plan, settings.out)
    summary = summarise(settings, plan, seconds)
    # Here, as it loads the chart library, which takes a second.
    from xdistill.pipeline.demo.page import page
    from xdistill.pipeline.demo.pictures import examples

    html = page(summary, examples(settings))
    numbers = json.dumps(summary, indent=1, allow_nan=False) + "\n"
    disk.write(settings.out / NUMBERS, [numbers.encode()])
    disk.write(settings.out / REPORT, [html.encode()])
    return summary


def _claim(out: Path) -> None:
    """Make the folder, or find it to be that of a demo.

    Raises:
        DemoError: It holds something else, or cannot be written.
    """
    try:
        if out.exists() and not _ours(out):
            raise DemoError(
                f"{out} holds something other than a demo",
                expected="a folder, new or empty, or that of a demo to resume",
                where=out.absolute(),
                remedy="give another folder with --out",
            )
        out.mkdir(parents=True, exist_ok=True)
        disk.write(
            out / RECORD,
            [json.dumps({"version": version("xdistill")}, allow_nan=False).encode() + b"\n"],
        )
        (out / "scores").mkdir(exist_ok=True)
    except OSError as error:
        raise DemoError(
            f"the folder is not writable ({error.strerror})",
            where=out.absolute(),
            remedy="give another folder with --out",
        ) from error


def _ours(out: Path) -> bool:
    """Whether a folder is empty, but for hidden files, or a demo's.

    One that an earlier version began has no record of its own, but records of its stages.
    """
    if not out.is_dir():
        return False
    marks = (out / RECORD).is_file(), (out / DONE).is_dir(), (out / BEGUN).is_dir()
    return any(marks) or all(entry.name.startswith(".") for entry in out.iterdir())


def recipe_steps(recipe: str) -> int:
    """Optimiser steps that a recipe asks for.

    Raises:
        DemoError: The recipe counts epochs.
        ManifestError: The recipe does not exist.
    """
    steps = load_recipe(recipe).schedule_steps
    if steps is None:
        raise DemoError(
            f"recipe {recipe!r} sets no schedule_steps",
            expected=f"a recipe for the street: {', '.join(paired_recipes())}",
            where="--recipe",
            remedy="give another recipe, or the optimiser steps with --steps",
        )
    return steps


def paired_recipes() -> list[str]:
    """Shipped recipes that have a baseline beside them."""
    names = loader.names("recipes")
    return [name for name in names if f"{name}-baseline" in names]


def check(settings: DemoSettings) -> None:
    """Refuse what would fail in a later stage.

    Raises:
        DemoError: A package is missing, or the recipe has no baseline.
        StreetError: A number of the street is out of range.
        TeacherError: The teacher's form is unknown.
        ManifestError: The recipe does not exist.
        RecipeError: A recipe key is unknown or has a bad value.
    """
    _check_packages()
    _check_recipes(settings)
    StreetSettings(
        drives=settings.drives,
        frames=settings.frames,
        size=parse_size(settings.size),
        seed=settings.seed,
    )
    # Its form alone: the demo itself may create what it names.
    TeacherSpec.parse(settings.teacher)


def _check_packages() -> None:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise DemoError(
            f"the demo cannot import {', '.join(missing)}",
            expected="the optional dependencies of the extra 'street'",
            remedy="pip install 'xdistill[street]'",
        )


def _check_recipes(settings: DemoSettings) -> None:
    """Resolve both recipes as the trainings will."""
    baseline = settings.run_recipe(BASELINE)
    load_recipe(settings.recipe, overrides=settings.run_changes)
    if baseline not in loader.names("recipes"):
        raise DemoError(
            f"recipe {settings.recipe!r} has no {baseline!r} beside it",
            expected=f"a recipe with a baseline: {', '.join(paired_recipes())}",
            where="--recipe",
            remedy="give one of these",
        )
    load_recipe(baseline, overrides=settings.run_changes)
