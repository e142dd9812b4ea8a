"""Annotated shapes and types, checked at each call: in tests only."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, SupportsIndex, TypeVar

from beartype import BeartypeConf, FrozenDict, beartype

Checked = TypeVar("Checked", bound=Callable[..., Any] | type)

UNCHECKED = "pipeline/store/chunks.py"
"""Its functions run several times for each frame of a store, and would run for twice as long; the
store's tests compare every pixel that passes through it."""
PACKAGES = ("manifests", "grouping", "teachers", "pipeline", "train")

# The hook decorates methods before their class exists, so that Self means nothing to beartype; and
# while torch traces a network, sizes are tensors that stand for an int.
CONFIGURATION = BeartypeConf(hint_overrides=FrozenDict({Self: object, int: SupportsIndex}))


def checked(callable_or_class: Checked) -> Checked:
    """Check arguments and results against their annotations."""
    return beartype(callable_or_class, conf=CONFIGURATION)


def modules_with_shapes(root: Path) -> Iterator[str]:
    """Modules of the package that annotate a shape.

    A check takes longer than many a small function: modules without shapes, which mypy checks, are
    left out. So are those with compiled functions, because numba needs the bare function.
    """
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            source = path.read_text()
            if (
                "from jaxtyping import" in source
                and "@compiled\n" not in source
                and path != root / UNCHECKED
            ):
                yield ".".join(("xdistill", *path.relative_to(root).with_suffix("").parts))
