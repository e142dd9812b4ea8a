"""The commands that are printed run as they are pasted, whatever the folders are called."""

import os
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from training_tree import write_labelled_drive

from xdistill.pipeline.cli.main import main as pipeline
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.train import main as train

pytestmark = pytest.mark.slow

PROGRAMS: dict[str, click.Command] = {
    "xd-pipeline": pipeline,
    "xd-train": train,
    "xd-eval": evaluate,
}
DRIVE = "2011_09_26 (1)/it's a drive_0001_sync"
AFTERWARDS = " reads them|, or xd-|, to compare|$"
COMMAND = re.compile(rf"({'|'.join(PROGRAMS)}) .*?(?={AFTERWARDS})", re.MULTILINE)
SMALL = "encoder=narrow pose_network=cost_volume encoder_weights=none width=64 height=64".split()
SMALL += ["batch_size=2", "num_workers=0"]


def run(*words: str, code: int = 0) -> list[list[str]]:
    """Run a command; the commands that it prints, as words."""
    result = CliRunner().invoke(PROGRAMS[words[0]], list(words[1:]))
    assert result.exit_code == code, result.output
    return [shlex.split(found[0]) for found in COMMAND.finditer(result.output)]


def test_a_run_by_pasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_labelled_drive(Path("my data"), labels=Path("my labels"), drive=DRIVE)
    Path("my split.txt").write_text("".join(f"{DRIVE} {index} l\n" for index in (3, 4, 5)))
    data, store = ["--data", "my data"], ["--store", "it's a store"]
    teacher = ["--teacher", "png:my labels"]
    label = ["xd-pipeline", "segment", *data, *store, *teacher, "--split", "my split.txt"]
    (regroup,) = run(*label)
    assert regroup == ["xd-pipeline", "regroup", *store, "--scheme", "4"]
    info, start = run(*regroup)
    run(*info)
    small = [word for key in SMALL for word in ("--set", key)]
    # More frames than are labelled: the message has the command that labels the rest.
    wider = [*data, "--split", "all", "--steps", "1", "--device", "cpu"]
    (again,) = run(*start, *small, *wider, code=1)
    run(*again)
    (score,) = run(*start, *small, *wider, "--out", "my run")
    assert score[:5] == ["xd-eval", "--run", "my run", "--data", "my data"]
    (compare,) = run(*score, "--split", "my split.txt", "--json", "my numbers.json")[-1:]
    assert compare == ["xd-eval", "--run", "ANOTHER", *data, "--split", "my split.txt"]
    (other,) = run("xd-pipeline", "export", *store, "--out", "my pngs")
    run(*other, *data, "--store", "another store", "--split", "my split.txt")
    os.remove(next(Path("it's a store").glob("*/*/*/classes/c.0.0.0")))
    (repair,) = run("xd-pipeline", "verify", *store, code=1)
    # Where verify does not know them, it takes data and teacher as they are assumed.
    run(*repair[: repair.index("--data")], *data, *teacher)
    run("xd-pipeline", "verify", *store)
