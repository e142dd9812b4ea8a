"""The files that CONTRIBUTING.md tells to write do what it says; what it names exists."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xdistill.grouping.scheme import load_scheme
from xdistill.teachers.choice import catalogue
from xdistill.teachers.choice.spec import load_teacher
from xdistill.train.recipe.file import load_recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with every file that the page shows."""
    for name, content in re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", PAGE, re.M | re.S):
        (tmp_path / Path(name).name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_teacher_in_python(folder: Path) -> None:
    teacher = load_teacher("red:make")
    frame = np.zeros((4, 6, 3), np.uint8)
    frame[:, :2, 0] = 200
    (classes,) = teacher.label([frame], ["key"]).classes
    assert (classes[:, :2] == 0).all() and (classes[:, 2:] == 10).all()


def test_a_published_teacher(folder: Path) -> None:
    entry = catalogue.entry("ocrnet-mine.toml")
    assert (entry.miou, entry.file) == (81.3, "ocrnet-mine.pth")


def test_a_scheme(folder: Path) -> None:
    scheme = load_scheme("ground.toml")
    assert scheme.groups == ("ground", "the rest")
    assert [scheme.table[train_id] for train_id in (0, 9, 10)] == [0, 0, 1]


def test_a_recipe(folder: Path) -> None:
    recipe = load_recipe("quick.toml")
    assert (recipe.name, recipe.width, recipe.scheme) == ("quick", 128, "4")


def test_every_file_it_names_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)|`((?:tests|train)/[\w/.]+)`", PAGE):
        assert (ROOT / "".join(target)).exists(), target


def test_every_target_it_names_is_shown_by_make() -> None:
    shown = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"], capture_output=True, text=True
    ).stdout
    targets = {line.split()[0] for line in shown.splitlines()}
    assert {"help", "quick", "check", "test"} <= targets
    assert set(re.findall(r"make (\w+)", PAGE)) <= targets | {"check"}


def test_the_imports_can_be_drawn() -> None:
    drawn = subprocess.run(
        [str(Path(sys.executable).parent / "import-linter"), "drawgraph", "xdistill"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert '".train" ->  ".pipeline"' in drawn
