"""What all commands do alike: xdistill.toml, assumptions, and errors without a traceback."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.cli import console


@click.command("segment", cls=console.Command)
@console.data_option
@click.option("--teacher", default="ocrnet-hr48")
@click.option("--batch-size", type=int, default=1)
@click.option("--drive", "drives", multiple=True)
@click.option("--plan", is_flag=True, expose_value=False)
@click.option("--fail", type=click.Choice(["no", "user", "defect", "stop"]), default="no")
def command(data: Path, teacher: str, batch_size: int, drives: tuple[str, ...], fail: str) -> None:
    """Print what arrives."""
    if fail == "user":
        raise XDistillError("found this", remedy="do that")
    if fail == "defect":
        raise RuntimeError("ours")
    if fail == "stop":
        os.kill(os.getpid(), signal.SIGTERM)
    click.echo(f"{data} {teacher} {batch_size} {','.join(drives)}")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_assumptions_are_said_and_typed_values_are_not() -> None:
    result = CliRunner().invoke(command, ["--teacher", "png:x"])
    assert result.stdout == "kitti png:x 1 \n"
    assert "assumed: --data kitti, --batch-size 1" in result.stderr
    assert "png:x" not in result.stderr


def test_toml_sets_defaults_tables_win_and_flags_win_over_both() -> None:
    Path("xdistill.toml").write_text(
        'teacher = "shared"\ndata = "d"\n'
        '[segment]\nteacher = "own"\nbatch_size = 4\ndrive = ["a", "b"]\n'
    )
    assert CliRunner().invoke(command, []).stdout == "d own 4 a,b\n"
    assert CliRunner().invoke(command, ["--teacher", "flag"]).stdout == "d flag 4 a,b\n"
    assert "--teacher own (xdistill.toml)" in CliRunner().invoke(command, []).stderr


def test_shared_keys_that_the_command_lacks_are_left_to_the_others() -> None:
    Path("xdistill.toml").write_text('recipe = "xdistill-rn18"\n')
    assert CliRunner().invoke(command, []).exit_code == 0


def test_the_environment_names_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDISTILL_DATA", "/data/kitti")
    assert CliRunner().invoke(command, []).stdout.startswith("/data/kitti ")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tacher = 'x'", "the top-level key 'tacher' is unknown"),
        ("[segmint]\nx = 1", "the table 'segmint' is unknown"),
        ("[segment]\nbatchsize = 1", "in [segment], the key 'batchsize' is unknown"),
        ("teacher = ", "xdistill.toml is not valid TOML"),
        ("data = 3", "data = 3 is not a string\n  expected: a string"),
        ("teacher = true", "teacher = true"),
        ("teacher = 2026-01-01", "teacher = "),
        (
            "[segment]\nbatch_size = 1.5",
            "batch_size = 1.5 is not a whole number\n  expected: a whole number",
        ),
        (
            "[segment]\nbatch_size = [1]",
            "batch_size = [1] is not a whole number\n  expected: a whole number",
        ),
        ("[segment]\ndrive = '0013'", 'what to do: write drive = ["0013"]'),
        ("[segment]\ndrive = [0.5]", "expected: a list of strings"),
        ("teacher = ''", "teacher is empty, or holds a NUL character"),
        ('[segment]\ndrive = ["a\\u0000b"]', "drive is empty, or holds a NUL character"),
        ("[segment]\nplan = 3", "plan = 3 is not true or false\n  expected: true or false"),
    ],
)
def test_a_wrong_defaults_file_is_refused(text: str, named: str) -> None:
    Path("xdistill.toml").write_text(text)
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1 and named in result.stderr
    assert isinstance(result.exception, SystemExit) and "Traceback" not in result.stderr
    assert "where: " not in result.stderr or str(Path("xdistill.toml").absolute()) in result.stderr


def test_values_that_click_converts_are_taken() -> None:
    Path("xdistill.toml").write_text(
        "teacher = 4\n[segment]\nbatch_size = '2'\ndrive = [13]\nplan = true\n"
    )
    assert CliRunner().invoke(command, []).stdout == "kitti 4 2 13\n"


@pytest.mark.parametrize(
    "arguments", [["--teacher", ""], ["--teacher="], ["--batch-size", "2", "--teacher", ""]]
)
def test_what_an_unset_variable_leaves_is_no_value(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert "--teacher is empty: give a value, or leave the option out" in result.stderr


@click.command("eval", cls=console.Command)
@click.option("--split", default="test")
@click.option("--json", type=console.OUTPUT)
@click.option("--save", type=console.OUTPUT)
def writing(split: str, json: Path | None, save: Path | None) -> None:
    """Write what is asked for."""
    for path in (json, save):
        if path is not None:
            path.write_text("written")


def test_no_option_writes_over_the_file_of_another(folder: Path) -> None:
    (folder / "split.txt").write_text("mine")
    (folder / "link.json").symlink_to("split.txt")
    for words in (
        "--split split.txt --json split.txt",
        f"--split split.txt --json {folder}/split.txt",
        "--split split.txt --save link.json",
        "--json new --save ./new",
    ):
        result = CliRunner().invoke(writing, words.split())
        assert result.exit_code == 2 and "name the same file" in result.stderr, words
    assert (folder / "split.txt").read_text() == "mine" and not (folder / "new").exists()
    assert CliRunner().invoke(writing, ["--split", "split.txt", "--json", "new"]).exit_code == 0


def test_where_no_file_can_be_is_told_before_the_work() -> None:
    for place in ("/dev/null", "absent/m.json", "."):
        result = CliRunner().invoke(writing, ["--json", place])
        assert result.exit_code == 1
        assert f"--json {place} cannot be written" in result.stderr


def test_a_users_mistake_has_no_traceback() -> None:
    result = CliRunner().invoke(command, ["--fail", "user"])
    assert result.exit_code == 1
    assert "Error: found this\n  what to do: do that" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_signal_ends_any_command_with_its_status_and_the_line_to_go_on() -> None:
    result = CliRunner().invoke(command, ["--fail", "stop", "--teacher", "png:my labels"])
    assert result.exit_code == 143
    assert result.stderr.endswith(
        "stopped by SIGTERM\nnext: segment --fail stop --teacher 'png:my labels'\n"
    )


def test_every_command_answers_signals_alike() -> None:
    single = [one for one in all_commands() if not isinstance(one, click.Group)]
    assert len(single) > 12 and all(isinstance(one, console.Command) for one in single)


@pytest.mark.parametrize("number", console.REFUSALS)
def test_what_the_system_refuses_has_no_traceback(number: int) -> None:
    @click.command(cls=console.Command)
    def refused() -> None:
        raise OSError(number, os.strerror(number), "folder/file")

    result = CliRunner().invoke(refused, [])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert result.stderr == (
        f"Error: folder/file: {os.strerror(number)}\n  what to do: {console.REFUSALS[number]}\n"
    )


@pytest.mark.parametrize("words", [(errno.EACCES, "no file"), (errno.ENOENT, "x", "file"), ("x",)])
def test_errors_of_no_file_that_the_user_names_stay_defects(words: tuple[Any, ...]) -> None:
    @click.command(cls=console.Command)
    def broken() -> None:
        raise OSError(*words)

    result = CliRunner().invoke(broken, [])
    assert isinstance(result.exception, OSError)


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    result = CliRunner().invoke(command, ["--fail", "defect"])
    assert isinstance(result.exception, RuntimeError)


def all_commands() -> Iterator[click.Command]:
    """Every command and every group of commands, xd-pipeline itself apart."""
    from xdistill.pipeline.cli.main import main
    from xdistill.train.cli.evaluate import main as evaluate
    from xdistill.train.cli.pose_report import main as pose_report
    from xdistill.train.cli.train import main as train

    def members(group: click.Group) -> Iterator[click.Command]:
        context = click.Context(group)
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None and found.name == name
            yield found
            if isinstance(found, click.Group):
                yield from members(found)

    yield from (*members(main), train, evaluate, pose_report)


def test_every_command_has_its_table_and_every_shared_key_several_commands() -> None:
    options = {
        str(one.name): {max(item.opts, key=len).lstrip("-") for item in one.params}
        for one in all_commands()
        if isinstance(one, click.Group) or any(isinstance(p, click.Option) for p in one.params)
    }
    assert set(options) == {*console.TABLES, "pose-report"}
    for key in console.SHARED_KEYS:
        assert sum(key in found for found in options.values()) > 1, key


def test_every_option_that_takes_a_path_expands_the_home_folder() -> None:
    options = {
        f"{command.name} {max(item.opts, key=len)}": item.type
        for command in all_commands()
        for item in command.params
    }
    assert not [name for name, kind in options.items() if type(kind) in (click.Path, click.File)]
    paths = {name for name, kind in options.items() if isinstance(kind, console.PathType)}
    assert {"segment --data", "segment --store", "export --out", "train --out"} < paths
    assert {"eval --run", "eval --predictions", "eval --ground-truth", "eval --json"} < paths


def test_the_home_folder_is_expanded_wherever_a_path_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/a")
    assert CliRunner().invoke(command, ["--data=~/kitti"]).stdout.startswith("/home/a/kitti ")
    with monkeypatch.context() as patch:
        patch.setenv("XDISTILL_DATA", "~/kitti")
        assert CliRunner().invoke(command, []).stdout.startswith("/home/a/kitti ")
    Path("xdistill.toml").write_text('data = "~/kitti"\n')
    result = CliRunner().invoke(command, [])
    assert result.stdout.startswith("/home/a/kitti ")
    assert "--data /home/a/kitti (xdistill.toml)" in result.stderr


def test_an_empty_path_is_refused() -> None:
    result = CliRunner().invoke(command, ["--data="])
    assert result.exit_code == 2 and "is empty: give a value" in result.stderr
