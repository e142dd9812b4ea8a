"""The names of ``import xdistill``: light, typed, listed."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import xdistill


def test_the_import_is_light() -> None:
    code = (
        "import sys, xdistill; dir(xdistill); xdistill.__version__; xdistill.XDistillError\n"
        "heavy = {'torch', 'numpy', 'zarr', 'cv2', 'h5py', 'click'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_every_name_is_listed_and_there() -> None:
    assert dir(xdistill) == sorted(xdistill.__all__)
    for name in xdistill.__all__:
        assert getattr(xdistill, name).__doc__
    assert xdistill.__version__ == version("xdistill")


def test_type_checkers_see_the_modules_that_are_loaded() -> None:
    tree = ast.parse(Path(xdistill.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    seen = {
        alias.name: node.module
        for node in imports
        for alias in node.names
        if str(node.module).startswith("xdistill.")
    }
    assert seen == {name: f"xdistill.{module}" for name, module in xdistill._MODULES.items()}
    assert {*seen, "__version__"} == set(xdistill.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'xdistill' has no attribute 'predict'"):
        xdistill.predict  # noqa: B018
