"""What can be told before the first stage: a recipe, teacher or seed that cannot go well."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from xdistill.manifests import loader
from xdistill.pipeline.demo.commands import DemoError
from xdistill.pipeline.demo.stages import RUNS, Settings, changes_of, recipe_of
from xdistill.teachers.spec import TeacherSpec

SEEDS = 2**32
"""Seeds of a street are smaller."""


def own_steps(recipe: str) -> int:
    """Optimiser steps that a recipe asks for.

    Raises:
        DemoError: No such recipe, or one that counts epochs.
    """
    steps = resolved(recipe)["schedule_steps"]
    if steps is None:
        raise DemoError(
            f"recipe {recipe!r} has no schedule_steps",
            expected=f"a recipe for the street: {', '.join(shipped())}",
            where="--recipe",
            remedy="give another recipe, or the optimiser steps with --steps",
        )
    return int(steps)


def shipped() -> list[str]:
    """Recipes of this package that have a baseline of their own."""
    names = loader.names("recipes")
    return [name for name in names if f"{name}-baseline" in names]


def check(settings: Settings) -> None:
    """Refuse what would fail in a later stage.

    Raises:
        DemoError: The recipe cannot be resolved or has no baseline, or the seed is too large.
        TeacherError: The text names no teacher.
    """
    _check_recipes(settings)
    if not 0 <= settings.seed < SEEDS:
        raise DemoError(
            f"seed {settings.seed}", expected=f"0 to {SEEDS - 1}", where="--seed",
            remedy="give a smaller seed",
        )  # fmt: skip
    # Its form alone: the demo itself may make the files that it names.
    TeacherSpec.parse(settings.teacher)


def _check_recipes(settings: Settings) -> None:
    """Both runs' recipes, as their trainings will have them."""
    changes = changes_of(settings)
    resolved(settings.recipe, changes)
    baseline = recipe_of(settings, RUNS[0])
    if baseline not in loader.names("recipes"):
        raise DemoError(
            f"recipe {settings.recipe!r} has no {baseline!r} beside it",
            expected=f"a recipe with a baseline of its own: {', '.join(shipped())}",
            where="--recipe",
            remedy="give one of these",
        )
    resolved(baseline, changes)


def resolved(recipe: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Every key of a recipe, as the trainer resolves it in a process of its own.

    Args:
        recipe: Its name, or the path of a file.
        changes: ``key=value`` texts.

    Raises:
        DemoError: No such recipe, or a key that cannot be.
    """
    words = [sys.executable, "-m", "xdistill.train.recipe.file", recipe, *changes]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(done.stderr.strip())
    return dict(json.loads(done.stdout))
