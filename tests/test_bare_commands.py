"""In a folder with ``kitti`` and an ``xdistill.toml``, four bare commands end with the table."""

import subprocess
import sys
from pathlib import Path

import pytest

DRIVE = "2011_09_26/2011_09_26_drive_0013_sync"
FRAMES = (5, 10, 20, 30)
COMMANDS = {
    "segment": "from xdistill.pipeline.cli import main; main(['segment'])",
    "regroup": "from xdistill.pipeline.cli import main; main(['regroup', '--scheme', '4'])",
    "train": "from xdistill.train.cli import main; main([])",
    "eval": "from xdistill.train.evaluate_cli import main; main([])",
}


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    (tmp_path / "kitti").symlink_to(shared / "kitti")
    (tmp_path / "split.txt").write_text("".join(f"{DRIVE} {index} l\n" for index in FRAMES))
    (tmp_path / "small.toml").write_text(
        'base = "xdistill-rn18"\nname = "small"\nwidth = 96\nheight = 64\nbatch_size = 2\n'
        'epochs = 1\nencoder_weights = "none"\n'
    )
    (tmp_path / "xdistill.toml").write_text(
        f'teacher = "png:{shared / "kitti_labels_espnetv2"}"\n'
        'recipe = "small.toml"\nsplit = "split.txt"\n'
    )
    return tmp_path


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    code = COMMANDS[command]
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_four_bare_commands_in_order(folder: Path) -> None:
    done = {name: run(folder, name) for name in COMMANDS}
    for name, result in done.items():
        assert result.returncode == 0, f"{name}: {result.stderr}"
        assert "assumed:" in result.stderr
    assert "labelled 4 frames" in done["segment"].stdout
    assert "wrote groups_4 for 4 frames to labels.zarr" in done["regroup"].stdout
    assert "--recipe small.toml (xdistill.toml)" in done["train"].stderr
    assert (folder / "runs" / "small-1" / "checkpoint.pt").is_file()
    table = done["eval"].stdout
    assert "Monodepth2" in table and "abs_rel" in table and "small" in table


def test_without_anything_the_first_message_says_what_is_missing(tmp_path: Path) -> None:
    result = run(tmp_path, "segment")
    assert result.returncode == 1
    assert "kitti" in result.stderr and "what to do" in result.stderr
    assert "Traceback" not in result.stderr
