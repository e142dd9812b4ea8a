"""The report of learned motions: from a run, as a table, and what it refuses."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from training_tree import DRIVE

from xdistill.manifests import disk
from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.checkpoint import save_checkpoint
from xdistill.train.cli.pose_report import main
from xdistill.train.evaluation.pose_report import learned_motions, report, text
from xdistill.train.pose_agreement import PoseReportError
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import start_run
from xdistill.train.training import new_training

RECIPE = Recipe(
    name="test", encoder="narrow", encoder_weights="none", pose_network="cost_volume",
    width=64, height=64, num_workers=0,
)  # fmt: skip
CPU = torch.device("cpu")


def test_figures_that_do_not_exist_are_shown_as_none() -> None:
    axis = {"unit": "m", "correlation": None, "error": None, "trivial_error": 0.5}
    content = {
        "frames": 4,
        "poses": "cost volume",
        "failures": ["FAILURE: the learned yaw is constant."],
        "axes": {"yaw": axis | {"spread_ratio": None}},
    }
    lines = text(content).splitlines()
    assert lines[2].split() == ["yaw,", "m", "none", "none", "0.500", "none"]
    assert lines[-1] == "FAILURE: the learned yaw is constant."


def test_recorded_poses_are_no_learned_ones(data: Path) -> None:
    training = new_training(replace(RECIPE, pose="oxts"), device=CPU)
    with pytest.raises(PoseReportError, match="no pose network"):
        learned_motions(training, data, [Frame(DRIVE, 1, "l")])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    training = new_training(RECIPE, device=CPU)
    start_run(tmp_path / "run", RECIPE, {})
    save_checkpoint(tmp_path / "run", training)
    return tmp_path / "run"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    path = tmp_path / "split.txt"
    path.write_text("".join(f"{DRIVE} {index} l\n" for index in range(1, 9)))
    return path


def test_report_of_a_run(run: Path, split: Path, data: Path) -> None:
    content = report(run, data, str(split))
    assert content["frames"] == 8
    assert len(content["axes"]["yaw"]["pairs"]) == 8
    # The drive goes straight east at one metre a frame.
    assert content["axes"]["speed"]["pairs"][0][0] == pytest.approx(1, abs=1e-3)
    shown = text(content)
    assert "cost volume" in shown and "speed, m a frame" in shown


def test_command_writes_what_it_shows(run: Path, split: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "poses.json"
    arguments = ["--run", run, "--data", data, "--split", split, "--json", out]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "correlation" in result.output and out.is_file()
    json.loads(out.read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"--json": "nodir/x.json"},
            "--json nodir/x.json cannot be written (No such file or directory)",
        ),
        ({"--json": "."}, "--json . cannot be written (it is a folder, not a file)"),
        ({"--run": "nosuch"}, "nosuch"),
    ],
)
def test_what_cannot_succeed_is_refused_before_the_work(
    changes: dict[str, str], message: str, run: Path, split: Path, data: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    options = {"--run": str(run), "--data": str(data), "--split": str(split)} | changes
    arguments = [word for pair in options.items() for word in pair]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert message in result.output and "correlation" not in result.output


def test_a_disk_that_is_full_at_the_end_costs_the_json_only(
    run: Path, split: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, block: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "_store", full)
    options = {"--run": run, "--data": data, "--split": split, "--json": tmp_path / "p.json"}
    result = CliRunner().invoke(main, [str(word) for pair in options.items() for word in pair])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "correlation" in result.stdout and "p.json cannot be written" in result.stderr
