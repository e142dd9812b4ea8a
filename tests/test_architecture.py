"""Imports point one way, the walks through the code stay short, and the picture is fresh."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2
import numpy as np
import pytest
from training_tree import FRAMES, SEQUENCE, WIDTH, labels_of, texture, write_calibration

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import draw_rooms  # noqa: E402

ORDER = """
manifests
grouping
teachers teachers/engines teachers/weights teachers/mmseg teachers/hf teachers/choice
pipeline/kitti pipeline/store pipeline/labelling
pipeline/street pipeline/street/world pipeline/street/render pipeline/street/record
train/objective train/recipe train/page train/data train/networks train train/evaluation
pipeline/demo pipeline/cli train/cli pipeline/street/teacher
""".split()
"""Rooms from the ground up; a module imports from its own room and from rooms before it."""


@pytest.fixture(scope="module")
def imports() -> Mapping[str, set[str]]:
    return draw_rooms.module_imports()


def test_rooms_import_only_from_rooms_below(imports: Mapping[str, set[str]]) -> None:
    height = {name: position for position, name in enumerate(ORDER)}
    wrong = [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if height[draw_rooms.room(target)] > height[draw_rooms.room(module)]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_has_its_place() -> None:
    assert set(draw_rooms.room_imports()) == set(ORDER)


def test_modules_import_each_other_in_no_circle(imports: Mapping[str, set[str]]) -> None:
    draw_rooms.levels(imports)


def test_the_trainer_reaches_no_teacher(imports: Mapping[str, set[str]]) -> None:
    """Not even by way of others: training needs labels, never the network that made them."""
    reached = {module for module in imports if module.startswith("train.")}
    while further := {target for module in reached for target in imports[module]} - reached:
        reached |= further
    reached = {module for module in reached if not module.startswith(("pipeline.cli", "train.cli"))}
    assert not [module for module in reached if module.startswith("teachers.")]


def test_every_package_that_is_imported_is_declared(imports: Mapping[str, set[str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for_users = (extras[name] for name in extras if name != "dev")
    listed = [*project["dependencies"], *(entry for extra in for_users for entry in extra)]
    declared = {re.split(r"[^\w-]", entry)[0].lower().replace("_", "-") for entry in listed}
    owners = packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / f"{module.replace('.', '/')}.py" for module in imports)
        for name in foreign_imports(path)
        if not declared & {owner.lower().replace("_", "-") for owner in owners.get(name, [name])}
    }
    assert not undeclared, "\n".join(sorted(undeclared))


def foreign_imports(path: Path) -> set[str]:
    """Top-level names of the other packages that a module imports, anywhere in it."""
    path = path if path.exists() else path.with_suffix("") / "__init__.py"
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"xdistill"}


def test_the_picture_of_the_rooms_is_drawn_from_this_code() -> None:
    remedy = "run: python docs/draw_rooms.py"
    assert draw_rooms.PICTURE.read_text(encoding="utf-8") == draw_rooms.draw(), remedy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small drive with label maps, in a folder to work in."""
    folder = tmp_path_factory.mktemp("walk")
    wide = texture(np.random.default_rng(3))
    for index in range(FRAMES):
        name = f"{index:010d}.png"
        image = wide[:, 4 * index : 4 * index + WIDTH]
        for path, content in (
            (folder / "kitti" / SEQUENCE / "data" / name, image),
            (folder / "labels" / SEQUENCE / name, labels_of(index)),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), content)
    write_calibration(folder / "kitti" / "2011_09_26")
    return folder


def walk(folder: Path, *command: str) -> list[str]:
    """The files that a command runs through, as docs/walk.py prints them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "walk.py"), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines() if line.strip().endswith(".py")]


def written_walk(title: str) -> list[str]:
    """The files that a numbered walk in docs/architecture.md names, in order."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.MULTILINE)


@pytest.mark.slow
def test_the_walks_are_short_and_written_down(folder: Path) -> None:
    segmented = walk(folder, "xd-pipeline", "segment", "--teacher", "png:labels")
    trained = walk(
        folder,
        *("xd-train", "--recipe", "xdistill-rn18", "--split", "all", "--steps", "1"),
        *("--set", "width=64", "--set", "height=64", "--set", "batch_size=1"),
        *("--set", "encoder_weights=none", "--set", "num_workers=0"),
    )
    # The ground floor (files, tables, progress, signals) is read once, not along the way.
    for walked, most in ((segmented, 20), (trained, 35)):
        above = [file for file in walked if not file.startswith("manifests/")]
        assert len(above) <= most, above
    to_read = written_walk("From `xd-pipeline segment` to the rename")
    assert 8 <= len(to_read) <= 12 and set(to_read) <= set(segmented)
    to_read = written_walk("From `xd-train` to the optimiser step")
    assert 10 <= len(to_read) <= 14 and set(to_read) <= set(trained)
