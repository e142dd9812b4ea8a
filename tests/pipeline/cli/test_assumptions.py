"""A command says what it assumes of the options that it uses, and of no others."""

from collections.abc import Collection
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from xdistill.pipeline.cli.main import main as pipeline
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.train import main as train

PROGRAMS: dict[str, click.Command] = {
    "xd-pipeline": pipeline,
    "xd-train": train,
    "xd-eval": evaluate,
}


def assumed(line: str) -> Collection[str]:
    """The options that a command line names as assumed; it may fail afterwards."""
    program, *words = line.split()
    result = CliRunner().invoke(PROGRAMS[program], words)
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    found = [text for text in result.stderr.splitlines() if text.startswith("assumed: --")]
    assert len(found) <= 1
    return [part.split()[0] for text in found for part in text[len("assumed: ") :].split(", ")]


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("xd-pipeline segment", "--data --store --teacher --camera --batch-size"),
        ("xd-pipeline segment --split s.txt", "--data --store --teacher --batch-size"),
        ("xd-pipeline segment --split s.txt --plan", "--data --store --teacher"),
        ("xd-pipeline segment --plan", "--data --store --teacher --camera"),
        ("xd-pipeline verify", "--store"),
        ("xd-pipeline verify --repair", "--data --store --teacher"),
        ("xd-pipeline info", "--store"),
        ("xd-pipeline regroup", "--store --scheme"),
        ("xd-train", "--data --store --recipe"),
        ("xd-train --split s.txt", "--data --store --recipe"),
        ("xd-train --split all", "--data --store --recipe --camera"),
        ("xd-train --drive 0002", "--data --store --recipe --camera"),
        ("xd-train --recipe monodepth2-rn18", "--data"),
        ("xd-train --set distillation=none --drive 2", "--data --recipe --camera"),
        ("xd-train --resume --out absent", ""),
        ("xd-eval --run absent", "--data --split"),
    ],
)
def test_only_what_is_used_is_said(
    line: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert assumed(line) == options.split()
