"""The pages of docs/: examples run and type-check, tables hold what the code has, links lead on."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
import torch
from training_tree import HEIGHT, WIDTH, labels_of, write_calibration

from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.velodyne import scan_path
from xdistill.pipeline.store import LabelStore
from xdistill.train.checkpoint import FILE_NAME, FORMAT
from xdistill.train.cli import evaluate, train
from xdistill.train.networks.depth import depth_network
from xdistill.train.recipe.file import dump_recipe
from xdistill.train.recipe.recipe import Recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRAME = Frame("2011_09_26/2011_09_26_drive_0013_sync", 50, "l")
"""The frame that the examples read."""


def examples() -> dict[str, str]:
    """Every Python block of the pages and the README, by the name of a file for it."""
    return {
        f"{page.stem}_{number}.py": code
        for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
        for number, code in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")), start=1)
    }


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """What a reader of the examples has: kitti/, labels.zarr, runs/first, an image, a split."""
    root = tmp_path / "kitti"
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for path in (
        root / FRAME.sequence / "data" / f"{FRAME.index:010d}.png",
        tmp_path / "frame.png",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    write_calibration(root / FRAME.date)
    points = rng.uniform((2, -20, -4, 0), (60, 20, 1, 1), (3000, 4)).astype("<f4")
    scan = scan_path(root, FRAME)
    scan.parent.mkdir(parents=True)
    scan.write_bytes(points.tobytes())
    (tmp_path / "split.txt").write_text(f"{FRAME}\n")
    write_store(tmp_path / "labels.zarr")
    write_run(tmp_path / "runs" / "first")
    return tmp_path


def write_store(path: Path) -> None:
    """A store with the frame's classes."""
    store = LabelStore.open_for_writing(path, teacher={"kind": "test"}, fingerprint="0" * 64)
    array = store.ensure_array(
        FRAME.sequence,
        "classes",
        length=FRAME.index + 1,
        size=(HEIGHT, WIDTH),
        values=19,
        attributes={},
    )
    array.write_shard(0, {FRAME.index: labels_of(FRAME.index)})


def write_run(run: Path) -> None:
    """A run whose depth network has random weights."""
    recipe = Recipe(name="first", encoder="narrow", encoder_weights="none", width=128, height=64)
    run.mkdir(parents=True)
    (run / "recipe.toml").write_bytes(dump_recipe(recipe))
    content = {"format": FORMAT, "depth": depth_network(recipe).state_dict()}
    torch.save(content, run / FILE_NAME)


def test_there_are_examples() -> None:
    pages = {name.rpartition("_")[0] for name in examples()}
    assert {"README", "python", "store"} <= pages


@pytest.mark.slow
def test_every_example_runs(folder: Path) -> None:
    for name, code in examples().items():
        (folder / name).write_text(code)
    runner = "import runpy, sys\nfor name in sys.argv[1:]: print('#', name); runpy.run_path(name)"
    done = subprocess.run(
        [sys.executable, "-c", runner, *examples()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1] + "\n" + done.stderr
    said = done.stdout
    assert f"1 {FRAME.drive} 50 l\nkitti/{FRAME.sequence}/data/0000000050.png\n" in said
    assert f"1 ({HEIGHT}, {WIDTH})\n" in said
    assert f"({HEIGHT}, {WIDTH}) uint8\n" in said
    assert f"({HEIGHT}, {WIDTH}) float32 up to scale\n" in said
    assert "where: " in said and "what to do: " in said


@pytest.mark.slow
def test_every_example_type_checks(tmp_path: Path) -> None:
    for name, code in examples().items():
        (tmp_path / name).write_text(code)
    files = [str(tmp_path / name) for name in examples()]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MYPYPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "command"), [("training.md", train.main), ("evaluation.md", evaluate.main)]
)
def test_every_flag_has_its_line(page: str, command: click.Command) -> None:
    flags = {max(o.opts, key=len) for o in command.params if isinstance(o, click.Option)}
    lines = re.findall(r"^\| `(--[\w-]+)` \| .+ \|$", (DOCS / page).read_text(), re.MULTILINE)
    assert len(lines) == len(set(lines)) and set(lines) == flags


def test_the_page_of_recipes_is_that_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("make_recipes", DOCS / "make_recipes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    content = (DOCS / "recipes.md").read_text(encoding="utf-8")
    assert content == module.page(), "run python docs/make_recipes.py"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
