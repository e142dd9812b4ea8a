"""timm without torchvision.

timm imports torchvision for its data pipelines, which xdistill does not use. PyPI's torchvision
is made for CUDA builds of torch, and its import fails beside a CPU build, so that the tests install
timm alone and put names in torchvision's place.
"""

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest


class _Name(type):
    """A class whose attributes are their own names: enough for the head of a module."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Names(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(name, (), {})


class _Torchvision(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        own = name.partition(".")[0] == "torchvision"
        return ModuleSpec(name, self, is_package=True) if own else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Names(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


def import_timm() -> ModuleType:
    """timm, or a skipped test; torchvision is missing for everyone else as before."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    finder = _Torchvision()
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.insert(0, finder)
    try:
        import timm
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
    return timm
