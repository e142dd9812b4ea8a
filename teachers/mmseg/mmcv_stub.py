"""Lets mmsegmentation import without mmcv's compiled operators, which our networks never call."""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

from xdistill.teachers.protocol import TeacherError

EXTENSION = "mmcv._ext"


class _MissingExtension(ModuleType):
    """A module whose every attribute is a function that says what is missing when called."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> object:
            raise TeacherError(
                f"this network calls mmcv's compiled operator {name}",
                expected="a network that does without: mmcv-lite lacks them",
                where="--teacher",
                remedy="install the full mmcv for your torch and CUDA",
            )

        return missing


def install() -> None:
    """Put the stand-in where mmcv-lite has no extension; a full mmcv stays as it is."""
    if EXTENSION not in sys.modules and importlib.util.find_spec(EXTENSION) is None:
        sys.modules[EXTENSION] = _MissingExtension(EXTENSION)
