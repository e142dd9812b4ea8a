"""The stand-in for mmcv's compiled operators: only where they are missing, and told when called."""

import importlib.util
import sys
from types import ModuleType

import pytest

from xdistill.teachers.mmseg import packages
from xdistill.teachers.protocol import TeacherError


@pytest.fixture(autouse=True)
def no_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mmcv._ext loaded yet, and this process's own back afterwards."""
    monkeypatch.setitem(sys.modules, packages.EXTENSION, ModuleType("none"))
    monkeypatch.delitem(sys.modules, packages.EXTENSION)


def test_missing_extension_gets_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    packages._stand_in()
    stand_in = sys.modules[packages.EXTENSION]
    with pytest.raises(TeacherError, match=r"operator ms_deform_attn(.|\n)*the full mmcv"):
        stand_in.ms_deform_attn_forward(1, key=2)
    with pytest.raises(AttributeError):
        stand_in.__path__  # noqa: B018


def test_loaded_extension_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    real = ModuleType(packages.EXTENSION)
    monkeypatch.setitem(sys.modules, packages.EXTENSION, real)
    packages._stand_in()
    assert sys.modules[packages.EXTENSION] is real


def test_installed_extension_is_left_to_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_loader(packages.EXTENSION, loader=None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    packages._stand_in()
    assert packages.EXTENSION not in sys.modules
