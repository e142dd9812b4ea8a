"""The shipped recipes beside the published rows that they reproduce."""

from collections.abc import Iterator

from xdistill.manifests import loader
from xdistill.train.evaluation.protocols import METRICS
from xdistill.train.evaluation.published import Row, published_row
from xdistill.train.recipe.file import ABOUT, REPRODUCES


def reproduced_rows(name: str) -> list[Row]:
    """The published rows that a recipe reproduces.

    Raises:
        ManifestError: The recipe cannot be read, or the tables have no such row.
    """
    return [published_row(text) for text in loader.load("recipes", name).get(REPRODUCES, [])]


def recipe_list() -> str:
    """Every shipped recipe: what it is, its tables, and the metrics printed there."""
    names = loader.names("recipes")
    width = max(map(len, names))
    head = f"{'recipe':{width}}  {'tables':13}  " + "  ".join(f"{name:>8}" for name in METRICS)
    return "\n".join([head, *(line for name in names for line in _lines(name, width))])


def _lines(name: str, width: int) -> Iterator[str]:
    rows = reproduced_rows(name)
    tables = ", ".join(sorted({row.table for row in rows if row.table})) or "-"
    metrics = rows[0].metrics if rows else ("-",) * len(METRICS)
    yield f"{name:{width}}  {tables:13}  " + "  ".join(f"{text:>8}" for text in metrics)
    yield f"  {loader.load('recipes', name)[ABOUT]}"
