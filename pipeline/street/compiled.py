"""Compilation with numba, whose machine code is kept between runs.

Compiled functions take positional arguments only, and tuples rather than small arrays: they run
once per ray, where an allocation would cost more than the arithmetic.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from xdistill.manifests.download import cache_folder
from xdistill.manifests.errors import XDistillError


class MissingCompilerError(XDistillError, ImportError):
    """The ray-caster's compiler, an optional dependency, is not installed."""


try:
    import numba
except ImportError as error:
    raise MissingCompilerError(
        "the street's ray-caster needs numba, which is not installed",
        expected="the optional dependencies of the extra 'street'",
        remedy="pip install 'xdistill[street]'",
    ) from error

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function to machine code that runs without the interpreter."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(code_folder())
    try:
        result: Function = numba.njit(function, cache=True, error_model="numpy")
    finally:
        numba.config.CACHE_DIR = before
    return result


@cache
def code_folder() -> Path:
    """Folder of the machine code, one for each text of all sources: functions call each other."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return cache_folder() / "numba" / digest.hexdigest()[:16]
