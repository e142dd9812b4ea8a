"""``xd-pipeline street``: what it prints and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("numba", reason="needs the extra 'street'")

from xdistill.pipeline.cli.street import street as command

ARGUMENTS = ["--drives", "3", "--frames", "3", "--size", "48x16", "--seed", "9"]


@pytest.mark.slow
def test_a_complete_street_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "street"
    for _ in range(2):
        result = CliRunner().invoke(command, ["--out", str(out), *ARGUMENTS])
    assert "nothing to do: 3 drives are complete" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "192"], "--size '192' is not a size"),
        (["--size", "0x64"], "--size is 0x64"),
        (["--size", "-3x64"], "--size '-3x64' is not a size"),
        (["--size", "9999x64"], "--size is 9999x64"),
        (["--drives", "2"], "--drives is 2"),
        (["--frames", "0"], "--frames is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--drives", "many"], "not a valid integer"),
    ],
)
def test_bad_numbers_are_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "new"), *arguments])
    assert result.exit_code in (1, 2)
    assert message in result.output and "Traceback" not in result.output
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    result = CliRunner().invoke(command, ["--out", str(tmp_path), *ARGUMENTS])
    assert result.exit_code == 1
    assert "holds something other than a street" in result.output and str(tmp_path) in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "file"), *ARGUMENTS])
    assert result.exit_code == 1 and "file is a file" in result.output


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "file" / "street"), *ARGUMENTS])
    assert result.exit_code == 1 and "cannot be written (Not a directory)" in result.output


def test_without_numba_the_message_names_the_extra(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "from xdistill.pipeline.cli.street import street\n"
        f"street(['--out', {str(tmp_path / 'new')!r}])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 1
    assert "xdistill[street]" in result.stderr and "Traceback" not in result.stderr


def test_help_has_examples() -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0 and "Examples:" in result.output
    assert "xd-pipeline street --out street" in result.output
