"""xd-train as a user types it, with networks of a tenth of the width."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from training_tree import DRIVE

from xdistill.train.cli import train as cli
from xdistill.train.cli.train import main
from xdistill.train.model import Model, Terms
from xdistill.train.training import choose_device

SMALL = ["width=64", "height=64", "batch_size=2", "encoder_weights=none", "num_workers=0"]
Run = Callable[..., Result]


@pytest.fixture
def run(
    narrow: None, data: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs the command in a folder with a kitti link and a store link, the defaults' names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitti").symlink_to(data)
    (tmp_path / "labels.zarr").symlink_to(store)

    def invoke(*arguments: str, small: bool = True) -> Result:
        sets = [part for value in SMALL for part in ("--set", value)] if small else []
        return CliRunner().invoke(main, [*arguments, *sets])

    return invoke


@pytest.mark.slow
def test_training_says_what_it_assumed_what_it_wrote_and_what_comes_next(
    run: Run, tmp_path: Path
) -> None:
    result = run("--recipe", "xdistill-rn18", "--drive", "0001", "--steps", "2")
    assert result.exit_code == 0, result.output
    assert "assumed: --data kitti, --store labels.zarr" in result.stderr
    assert "drives 0001" in result.stderr
    assert "8 triplets (2 without both neighbours left out)" in result.stderr
    assert "step 2/2  loss 0." in result.stderr
    assert result.stdout.splitlines() == [
        "step 2 of 2; wrote runs/xdistill-rn18-1",
        "poses: pose network (resnet18), depth up to scale",
        f"next: xd-eval --run runs/xdistill-rn18-1 --data {Path('kitti')}",
    ]
    assert len((tmp_path / "runs/xdistill-rn18-1/metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_runs_are_numbered(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        result = run("--recipe", "monodepth2-rn18", "--split", "all", "--steps", "1")
        assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "monodepth2-rn18-1",
        "monodepth2-rn18-2",
    ]


@pytest.mark.slow
def test_resume_goes_on_and_a_finished_run_has_nothing_to_do(run: Run, tmp_path: Path) -> None:
    assert run("--recipe", "xdistill-rn18", "--drive", "0001", "--steps", "1").exit_code == 0
    result = run("--resume", "--steps", "3", small=False)
    assert result.exit_code == 0, result.output
    assert "assumed: " not in result.stderr and "split:   drives 0001\n" in result.stderr
    assert "step 3 of 3; wrote runs/xdistill-rn18-1" in result.stdout
    log = (tmp_path / "runs/xdistill-rn18-1/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3]
    result = run("--resume", "--out", "runs/xdistill-rn18-1", "--steps", "3", small=False)
    assert result.exit_code == 0
    assert result.stdout == "nothing to do: runs/xdistill-rn18-1 is at step 3 of 3\n"


@pytest.mark.slow
def test_bare_command_uses_the_files_defaults(run: Run, split: Path, tmp_path: Path) -> None:
    sets = "".join(f"{key} = {value}\n" for key, value in (s.split("=") for s in SMALL[:3]))
    (tmp_path / "own.toml").write_text(
        f'base = "xdistill-rn18"\nencoder_weights = "none"\nepochs = 1\n{sets}'
    )
    (tmp_path / "xdistill.toml").write_text(f'recipe = "own.toml"\nsplit = "{split}"\n')
    result = run(small=False)
    assert result.exit_code == 0, result.output
    assert "step 4 of 4; wrote runs/own-1" in result.stdout
    assert "--recipe own.toml (xdistill.toml)" in result.stderr


def test_a_typed_split_wins_over_the_files_drives(run: Run, split: Path, tmp_path: Path) -> None:
    (tmp_path / "xdistill.toml").write_text(
        'recipe = "monodepth2-rn18"\n[train]\ndrive = ["0001"]\nset = ["seed=4"]\nsteps = 1\n'
    )
    result = run()
    assert "split:   drives 0001" in result.stderr and result.exit_code == 0, result.output
    result = run("--split", str(split))
    assert f"split:   {split}" in result.stderr and result.exit_code == 0, result.output


def test_without_split_and_drive_the_eigen_zhou_split_is_meant(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "TRAINING_SPLIT", "absent-split")
    result = run("--recipe", "xdistill-rn18")
    assert result.exit_code == 1 and "no split 'absent-split'" in result.stderr
    said = result.stderr.partition("Error:")[0]
    assert "split:   absent-split (assumed)\n" in said
    assert f"device:  {choose_device(None)} (assumed)\n" in said


def test_resume_says_what_the_record_does_not_decide(run: Run, tmp_path: Path) -> None:
    (tmp_path / "xdistill.toml").write_text(
        'data = "absent"\nrecipe = "xdistill-rn50"\n[train]\nsteps = 2\ndevice = "cpu"\n'
    )
    first = ["--recipe", "monodepth2-rn18", "--drive", "0001", "--data", "kitti", "--steps", "1"]
    assert run(*first).exit_code == 0
    result = run("--resume", small=False)
    assert result.exit_code == 0, result.output
    assert "assumed: --steps 2 (xdistill.toml), --device cpu (xdistill.toml)\n" in result.stderr
    assert "device:  cpu\n" in result.stderr
    result = run("--resume", "--drive", "0001", small=False)
    assert "assumed: --camera l, --steps 2" in result.stderr and result.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--split", "all", "--drive", "0001"], "mutually exclusive"),
        (["--recipe", "xdistill-rn19"], "no recipe named 'xdistill-rn19'"),
        (["--set", "batchsize=3"], "'batch_size'?"),
        (["--drive", "0077"], "no drive '0077'"),
        (["--data", "absent", "--drive", "0001"], "raw folder does not exist"),
        (["--drive", "0001", "--store", "absent.zarr"], "label store does not exist"),
        (["--resume", "--out", "absent"], "there is no run to resume"),
        (["--resume"], "there is no run to resume"),
        (["--drive", "0001", "--set", "encoder_weights=absent.pth"], "absent.pth"),
        (["--drive", "0001", "--set", "init=absent"], "the folder of init does not exist"),
        (["--drive", "0001", "--set", "scheme=absent.toml"], "no scheme named"),
        (["--steps", "0"], "not in the range"),
        (["--drive", "0001", "--set", "min_confidence=1.5"], "a share in 0-1"),
        (["--drive", "0001", "--set", "encoder=resnet19"], "one of narrow, resnet101, resnet18"),
    ],
)
def test_mistakes_are_told_without_a_traceback_and_write_nothing(
    run: Run, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    sets = [] if "--resume" in arguments or "batchsize=3" in arguments else ["num_workers=0"]
    sets += ["batch_size=2", "width=64", "height=64"] if sets else []
    if not any("encoder_weights" in text for text in arguments) and sets:
        sets.append("encoder_weights=none")
    flags = [part for value in sets for part in ("--set", value)]
    result = run(*arguments, *flags, small=False)
    assert result.exit_code in (1, 2), result.output
    assert expected in result.stderr and "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("signals", "kept"), [(1, 2), (2, 1)])
def test_signals_end_with_a_checkpoint_that_resume_takes_up(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: int, kept: int
) -> None:
    """The first lets step 2 finish, a second breaks it off: either way nothing done is lost."""
    first = ["--recipe", "xdistill-rn18", "--drive", DRIVE, "--steps", "4"]
    assert run(*first, "--out", "whole").exit_code == 0
    forward, calls = Model.forward, []

    def interrupted(model: Model, *values: object, **named: object) -> Terms:
        # Behind the forward pass, when the step's noise is drawn.
        terms = forward(model, *values, **named)  # type: ignore[arg-type]
        calls.append(1)
        for _ in range(signals if len(calls) == 2 else 0):
            os.kill(os.getpid(), signal.SIGTERM)
        return terms

    monkeypatch.setattr(Model, "forward", interrupted)
    result = run(*first, "--out", "part")
    assert result.exit_code == 143
    assert result.stderr.endswith(
        f"stopped by SIGTERM: step {kept} of 4 is in part\n"
        "next: xd-train --resume --out part --steps 4\n"
    )
    monkeypatch.setattr(Model, "forward", forward)
    result = run("--resume", "--out", "part", "--steps", "4", small=False)
    assert result.exit_code == 0, result.output
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "part")]
    assert logs[0] == logs[1]
