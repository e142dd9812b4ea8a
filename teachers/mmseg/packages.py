"""mmsegmentation's packages: are they installed, how they are imported, and their versions."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import torch

from xdistill.teachers.protocol import TeacherError

EXTRA = "pip install 'xdistill[teacher]'"
PACKAGES = ("mmseg", "mmengine", "mmcv", "ftfy", "regex")
"""mmsegmentation and what it imports from the extra."""
EXTENSION = "mmcv._ext"
"""mmcv's compiled operators, which our networks never call."""


def require_mmseg() -> Path:
    """The installed mmseg package's folder.

    Raises:
        TeacherError: mmseg, or a package that it imports, is not installed.
    """
    origins = {name: getattr(importlib.util.find_spec(name), "origin", None) for name in PACKAGES}
    missing = [name for name, origin in origins.items() if origin is None]
    if missing:
        raise TeacherError(
            f"{', '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed",
            expected="the packages of the extra `teacher`",
            remedy=EXTRA,
        )
    return Path(str(origins["mmseg"])).parent


def registry(scope: str) -> Any:
    """Import mmsegmentation and return its registry of networks.

    Raises:
        TeacherError: A package is missing, or their versions do not fit each other.
    """
    _stand_in()
    try:
        import mmseg.apis  # noqa: F401  (registers them)
        from mmengine.registry import init_default_scope
        from mmseg.registry import MODELS
    # It asserts the versions of its packages, and importing it imports them.
    except (ImportError, AssertionError) as error:
        raise TeacherError(
            f"mmsegmentation cannot be imported: {error}",
            expected="the packages of the extra `teacher`, of versions that fit each other",
            remedy=EXTRA,
        ) from error
    init_default_scope(scope)
    return MODELS


def _stand_in() -> None:
    """Let mmsegmentation be imported with mmcv-lite; a full mmcv's operators stay."""
    if EXTENSION not in sys.modules and importlib.util.find_spec(EXTENSION) is None:
        sys.modules[EXTENSION] = _MissingExtension(EXTENSION)


class _MissingExtension(ModuleType):
    """A module whose every attribute is a function that reports the missing operator."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> object:
            raise TeacherError(
                f"this network calls mmcv's compiled operator {name}",
                expected="a network without compiled operators: mmcv-lite lacks them",
                where="--teacher",
                remedy="install the full mmcv for your torch and CUDA",
            )

        return missing


def versions() -> dict[str, str]:
    """Versions of the libraries that compute the labels, without a build's local suffix."""
    return {
        "torch": torch.__version__.partition("+")[0],
        "opencv": cv2.__version__,
        "mmsegmentation": _installed("mmsegmentation", "onedl-mmsegmentation"),
        "mmcv": _installed("mmcv", "mmcv-lite", "onedl-mmcv"),
    }


def _installed(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
