"""Whatever stands in place of a file that a command reads: it is told, at once, and not waited for.

A named pipe without a writer would be waited for without end, the null device's neighbour read
without end, and a link to itself or a folder must not end in a traceback.
"""

import ast
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from training_tree import DRIVE, SEQUENCE, write_labelled_drive

from xdistill.pipeline.cli.main import main as pipeline
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.pose_report import main as pose_report
from xdistill.train.cli.train import main as train

PROGRAMS: dict[str, click.Command] = {
    "xd-pipeline": pipeline,
    "xd-train": train,
    "xd-eval": evaluate,
    "pose_report": pose_report,
}
FRAME = f"{DRIVE} 3 l"
DATE = "kitti/2011_09_26"
SCHEME = """
name = "mine"
[[group]]
id = 0
name = "all"
train_ids = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
"""
RECIPE = 'name = "mine"\nbase = "base.toml"\nscheme = "mine.toml"\n'
BASE = """
name = "base"
distillation = "d2s"
encoder = "narrow"
pose_network = "cost_volume"
encoder_weights = "none"
width = 64
height = 64
batch_size = 2
num_workers = 0
"""

SEGMENT = "xd-pipeline segment --teacher png:labels --split s.txt --store NEW"
REGROUP = "xd-pipeline regroup --scheme mine.toml"
PREVIEW = f"xd-pipeline preview --scheme mine.toml --frame '{FRAME}' --out NEW.png"
SCORE = "xd-pipeline score --labels truth --mapping mapping.txt --scheme mine.toml"
TRAIN = "xd-train --recipe mine-recipe.toml --split s.txt --steps 1 --device cpu --out NEW"
RESUME = "xd-train --resume --out run --steps 1 --device cpu"
EVAL_RUN = "xd-eval --run run --split s.txt --device cpu"
EVAL_FILE = "xd-eval --predictions d.npy --split s.txt --ground-truth truth.h5"
POSES = "pose_report --run run --split s.txt"
SHARD = f"labels.zarr/{SEQUENCE}/classes/c.0.0.0"
DAMAGE = "frame 3 of classes is damaged"
PLACES = [
    ("xd-pipeline info", "xdistill.toml", "xdistill.toml"),
    (SEGMENT, "s.txt", "s.txt"),
    (REGROUP, "mine.toml", "mine.toml"),
    ("xd-pipeline info", "labels.zarr/zarr.json", "zarr.json"),
    ("xd-pipeline verify", SHARD, "c.0.0.0"),
    ("xd-pipeline export --out NEW", SHARD, DAMAGE),
    (PREVIEW, f"kitti/{SEQUENCE}/data/0000000003.png", "0000000003.png"),
    (PREVIEW, f"labels.zarr/{SEQUENCE}/classes/zarr.json", "zarr.json"),
    (SEGMENT, f"labels/{SEQUENCE}/0000000003.png", "0000000003"),
    (SCORE, "truth/000000_10.png", "000000_10.png"),
    (SCORE, "mapping.txt", "mapping.txt"),
    (TRAIN, "mine-recipe.toml", "mine-recipe.toml"),
    (TRAIN, "base.toml", "base.toml"),
    (TRAIN, "mine.toml", "mine.toml"),
    (TRAIN, "s.txt", "s.txt"),
    (RESUME, "run/recipe.toml", "recipe.toml"),
    (RESUME, "run/run.json", "run.json"),
    (RESUME, "run/checkpoint.pt", "checkpoint.pt"),
    (RESUME, "run/metrics.jsonl", "metrics.jsonl"),
    (EVAL_RUN, "run/recipe.toml", "recipe.toml"),
    (EVAL_RUN, "run/checkpoint.pt", "checkpoint.pt"),
    (EVAL_FILE, "d.npy", "d.npy"),
    (EVAL_FILE, f"{DATE}/calib_velo_to_cam.txt", "calib_velo_to_cam.txt"),
    (POSES, f"kitti/{DRIVE}/oxts/data/0000000003.txt", "0000000003.txt"),
]

KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
    "folder": os.mkdir,
}


ROOT = Path(__file__).parents[1]
FOLDERS = ("manifests", "grouping", "pipeline", "teachers", "train")
METHODS = {"read_text", "read_bytes", "imread", "memmap", "open_memmap", "load_file", "safe_open"}
METHODS |= {"loadtxt", "genfromtxt", "ZipFile", "File"}
"""Names that open a file to read it, whatever they belong to."""
FUNCTIONS = {"open", "os.open", "np.load", "np.fromfile", "torch.load", "json.load", "pickle.load"}
OURS = {"disk.read_text", "disk.read_bytes", "read_text", "read_bytes"}
"""The one place's own functions, with its name or imported by theirs."""
READ_ELSEWHERE = {
    "manifests/disk.py": "is the one place",
    "manifests/progress.py": "opens the null device",
    "manifests/loader.py": "reads the package's own tables",
    "manifests/archive.py": "is given an open file",
    "manifests/weights.py": "is given an open file",
    "manifests/download.py": "locks, and reads what it has downloaded",
    "pipeline/store/chunks.py": "looks at what it has opened",
    "pipeline/street/compiled.py": "reads the package's own sources",
    "pipeline/street/record/folder.py": "locks a folder",
    "teachers/choice/catalogue.py": "reads what was found to be no checkpoint",
    "teachers/engines/engine.py": "reads the network that it has written",
    "train/evaluation/predictions.py": "maps what it has looked at",
    "train/evaluation/truth_file.py": "maps what it has looked at",
}
"""Modules that open files in another way, and why none of them waits for one."""


def reads(path: Path) -> Iterator[str]:
    """The calls of a module that read a file other than through ``disk``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            named = function.rpartition(".")[2] in METHODS or function in FUNCTIONS
            if (named and function not in OURS) or is_opened_to_read(node):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)[:70]}"


def is_opened_to_read(node: ast.Call) -> bool:
    """Whether this is ``path.open()`` with a mode to read, and not ``Store.open(path)``."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr != "open":
        return False
    modes = [mode.value for mode in node.args if isinstance(mode, ast.Constant)]
    return not node.args or any("r" in mode for mode in modes if isinstance(mode, str))


def test_files_are_read_in_one_place() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    found = {str(path.relative_to(ROOT)): list(reads(path)) for path in paths}
    others = [call for name, calls in found.items() if name not in READ_ELSEWHERE for call in calls]
    assert not others, "\n".join(others)
    assert all(found[name] for name in READ_ELSEWHERE)


def run(line: str, new: Path) -> Result:
    """Run a command line, whose NEW is a path of its own."""
    program, *words = shlex.split(line.replace("NEW", str(new)))
    return CliRunner().invoke(PROGRAMS[program], words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with every file that the commands read."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_labelled_drive(Path("kitti"), labels=Path("labels"))
        frames = [f"{DRIVE} {index} l" for index in (3, 4, 5)]
        Path("s.txt").write_text("\n".join(frames) + "\n")
        Path("mine.toml").write_text(SCHEME)
        Path("mine-recipe.toml").write_text(RECIPE)
        Path("base.toml").write_text(BASE)
        Path("xdistill.toml").write_text('store = "labels.zarr"\n')
        Path("truth").mkdir()
        Path("truth/000000_10.png").write_bytes(
            Path("labels", SEQUENCE, "0000000003.png").read_bytes()
        )
        date, drive = DRIVE.split("/")
        Path("mapping.txt").write_text(f"{date} {drive} 0000000003\n")
        np.save("d.npy", np.random.default_rng(0).uniform(0.02, 0.5, (3, 8, 12)).astype("f4"))
        for line in (
            SEGMENT.replace("NEW", "labels.zarr"),
            TRAIN.replace("NEW", "run"),
            EVAL_FILE,
        ):
            assert run(line, folder).exit_code == 0, line
    return folder


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("line", "place", "named"), PLACES)
def test_what_is_no_file_is_told_at_once(
    line: str, place: str, named: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = run(line, tmp_path / "control")
    assert result.exit_code == 0, result.output
    path, kept = Path(place), Path("kept")
    os.rename(path, kept)
    try:
        for name, make in KINDS.items():
            make(path)
            result = run(line, tmp_path / name)
            assert result.exit_code in (1, 2), (name, result.output)
            assert isinstance(result.exception, SystemExit), (name, result.exception)
            assert named in result.output, (name, result.output)
            os.rmdir(path) if path.is_dir() else path.unlink()
    finally:
        if os.path.lexists(path):
            os.rmdir(path) if path.is_dir() else path.unlink()
        os.rename(kept, path)
