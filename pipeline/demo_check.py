"""What can be told before the first stage: a recipe, teacher or seed that cannot go well."""

from xdistill.manifests import loader
from xdistill.manifests.errors import ManifestError
from xdistill.pipeline.demo_commands import DemoError
from xdistill.pipeline.demo_stages import RUNS, Settings, changes_of, recipe_of
from xdistill.train.recipe import Recipe
from xdistill.train.recipe_file import load_recipe

SEEDS = 2**32
"""Seeds of a street are smaller."""


def own_steps(recipe: str) -> int:
    """Optimiser steps that a recipe asks for.

    Raises:
        ManifestError: No such recipe.
        RecipeError: A key that cannot be.
        DemoError: It counts epochs.
    """
    steps = load_recipe(recipe).schedule_steps
    if steps is None:
        raise DemoError(
            f"recipe {recipe!r} has no schedule_steps",
            expected=f"a recipe for the street: {', '.join(shipped())}",
            where="--recipe",
            remedy="give another recipe, or the optimiser steps with --steps",
        )
    return steps


def shipped() -> list[str]:
    """Recipes of this package that have a baseline of their own."""
    names = loader.names("recipes")
    return [name for name in names if f"{name}-baseline" in names]


def check(settings: Settings) -> None:
    """Refuse what would fail in a later stage.

    Raises:
        DemoError: The recipe has no baseline, the teacher's form is unknown, or the seed too large.
        ManifestError: No such recipe.
        RecipeError: A recipe or a change has a key that cannot be.
    """
    recipes(settings)
    if not 0 <= settings.seed < SEEDS:
        raise DemoError(
            f"seed {settings.seed}", expected=f"0 to {SEEDS - 1}", where="--seed",
            remedy="give a smaller seed",
        )  # fmt: skip
    _check_teacher(settings.teacher)


def recipes(settings: Settings) -> dict[str, Recipe]:
    """The recipe of each run, as its training will have it.

    Raises:
        DemoError: The recipe has no baseline.
        ManifestError: No such recipe.
        RecipeError: A recipe or a change has a key that cannot be.
    """
    changes = changes_of(settings)
    distilled = load_recipe(settings.recipe, overrides=changes)
    try:
        loader.find("recipes", recipe_of(settings, RUNS[0]))
    except ManifestError as error:
        raise DemoError(
            f"recipe {settings.recipe!r} has no {recipe_of(settings, RUNS[0])!r} beside it",
            expected=f"a recipe with a baseline of its own: {', '.join(shipped())}",
            where="--recipe",
            remedy="give one of these, or write the same recipe without distillation",
        ) from error
    baseline = load_recipe(recipe_of(settings, RUNS[0]), overrides=changes)
    return dict(zip(RUNS, (baseline, distilled), strict=True))


def _check_teacher(spec: str) -> None:
    """The form alone: what it names may be made by the demo itself."""
    from xdistill.teachers.registry import FORMS

    kind, colon, rest = spec.partition(":")
    named = not colon and spec.partition(",")[0] in loader.names("teachers")
    complete = bool(kind and rest) and (kind != "mmseg" or all(rest.partition(",")))
    if not named and not complete:
        raise DemoError(
            f"no teacher {spec!r}",
            expected=f"{FORMS}; manifests: {', '.join(loader.names('teachers'))}",
            where="--teacher",
            remedy="check the spelling",
        )
