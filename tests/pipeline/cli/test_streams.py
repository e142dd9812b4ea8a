"""Standard streams that are closed, full, cut short or not in UTF-8, and a user without a home."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from xdistill.manifests.disk import PathError, as_path
from xdistill.manifests.download import cache_folder
from xdistill.manifests.errors import FetchError
from xdistill.manifests.progress import note, progress
from xdistill.pipeline.cli import console
from xdistill.pipeline.cli.main import main as pipeline
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.pose_report import main as pose_report
from xdistill.train.cli.train import main as train

FULL = Path("/dev/full")
MARKED = "Kendall et al. †, naïve, 日本"


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and group by its name, the programs' own included."""

    def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for word in command.list_commands(context):
                found = command.get_command(context, word)
                assert found is not None
                yield from below(f"{name} {word}", found)

    programs = {"xd-pipeline": pipeline, "xd-train": train, "xd-eval": evaluate}
    assert set(programs) == {
        point.name
        for point in entry_points(group="console_scripts")
        if point.value.startswith("xdistill.")
    }
    for name, program in {**programs, "pose_report": pose_report}.items():
        yield from below(name, program)


COMMANDS = dict(all_commands())


@click.command("segment", cls=console.Command)
@click.option("--work", type=console.PATH, required=True)
def command(work: Path) -> None:
    """Log, show progress, finish the work, print the result."""
    note(MARKED)
    with progress(total=2, unit="frame") as bar:
        bar.update(2)
    work.write_text("done")
    click.echo(MARKED)
    click.echo("next: more")


def run_command(work: Path) -> int:
    """The command's exit status."""
    with pytest.raises(SystemExit) as left:
        command.main(["--work", str(work)], prog_name="segment")
    code = left.value.code
    return code if isinstance(code, int) else 0


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Open a file as one of the standard streams, which is closed in the end."""
    opened = []

    def lead(name: str, target: str | int, **how: Any) -> Any:
        stream = open(target, "w", **({"encoding": "utf-8"} | how))
        opened.append(stream)
        monkeypatch.setattr(sys, name, stream)
        return stream

    yield lead
    for stream in opened:
        stream.close()


def cut_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_line_and_status_1(
    name: str, lead: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lead("stdout", str(FULL))
    with pytest.raises(SystemExit) as left:
        COMMANDS[name].main(["--help"], prog_name=name)
    assert left.value.code == 1
    assert capsys.readouterr().err == "Error: stdout cannot be written (No space left on device)\n"


def test_a_full_disk_does_not_undo_the_work(
    tmp_path: Path, lead: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lead("stdout", str(FULL))
    assert run_command(tmp_path / "work") == 1
    assert (tmp_path / "work").read_text() == "done"
    assert capsys.readouterr().err.splitlines()[-1].startswith("Error: stdout cannot be written")


def test_a_reader_that_leaves_ends_the_command_quietly(
    tmp_path: Path, lead: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lead("stdout", cut_pipe())
    assert run_command(tmp_path / "work") == 141
    assert "Error" not in capsys.readouterr().err


@pytest.mark.parametrize("target", [str(FULL), None], ids=["full", "cut short"])
def test_a_log_that_cannot_be_written_ends_nothing(
    target: str | None,
    tmp_path: Path,
    lead: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    lead("stderr", target or cut_pipe())
    assert run_command(tmp_path / "work") == 0
    assert capsys.readouterr().out == f"{MARKED}\nnext: more\n"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("iso8859-1", "Kendall et al. ?, naïve, ??"),
        ("cp437", "Kendall et al. ?, naïve, ??"),
        ("koi8-r", "Kendall et al. ?, na?ve, ??"),
        # click writes UTF-8 where Python found ASCII; so does what prints without it.
        ("ascii", MARKED),
    ],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_every_encoding_prints_all_it_has(
    encoding: str, printed: str, errors: str, tmp_path: Path, lead: Callable[..., Any]
) -> None:
    lead("stdout", str(tmp_path / "out"), encoding=encoding, errors=errors)
    assert run_command(tmp_path / "work") == 0
    written = (tmp_path / "out").read_bytes()
    assert (
        written.decode("utf-8" if encoding == "ascii" else encoding) == f"{printed}\nnext: more\n"
    )


def test_a_file_name_is_printed_in_its_own_bytes(tmp_path: Path, lead: Callable[..., Any]) -> None:
    lead("stdout", str(tmp_path / "out"))

    @click.command(cls=console.Command)
    def name() -> None:
        click.echo(os.fsdecode(b"caf\xe9/\xf0\x9f"))

    with pytest.raises(SystemExit):
        name.main([], prog_name="name")
    assert (tmp_path / "out").read_bytes() == b"caf\xe9/\xf0\x9f\n"


WRITING = """
import click, os, sys
from xdistill.manifests.progress import standard_streams

with standard_streams(), open("file", "w") as file:
    click.echo("a result")
    click.echo("a log line", err=True)
    os.write(1, b"a library's own result")
    os.write(2, b"a library's own warning")
    file.write("mine")
"""


@pytest.mark.parametrize("streams", ["<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_number_of_a_closed_stream(streams: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {streams}', sys.executable, WRITING],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == "mine"
    assert (">&-" in streams.replace("2>&-", "")) == (not done.stdout)
    assert ("2>&-" in streams) == (not done.stderr)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("asked", ["-h", "--help", "--version"])
def test_every_command_has_help_and_a_version(name: str, asked: str) -> None:
    result = CliRunner().invoke(COMMANDS[name], [asked], prog_name=name)
    assert result.exit_code == 0 and not result.stderr
    if asked == "--version":
        assert result.stdout == f"{name}, version 0.1.0\n"
    else:
        assert "-h, --help" in result.stdout and "--version" in result.stdout
        assert "Examples:" in result.stdout


@pytest.mark.parametrize(
    "name", [name for name, found in COMMANDS.items() if not isinstance(found, click.Group)]
)
def test_a_current_folder_that_is_gone_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = COMMANDS[name]
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    given = [word for p in found.params if p.required for word in (*p.opts[:1], "x")]
    if any(isinstance(p, click.Argument) for p in found.params):
        given = ["x"]
    result = CliRunner().invoke(found, given)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the current folder is gone (No such file or directory): "
        "change to another one with cd\n"
    )


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the system does not know, as a container's often is, without HOME."""

    def unknown(who: object) -> None:
        raise KeyError(f"getpwuid(): uid not found: {who}")

    for variable in ("HOME", "XDISTILL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("pwd.getpwnam", unknown)


def test_without_a_home_a_path_says_so(homeless: None, tmp_path: Path) -> None:
    assert as_path(tmp_path) == tmp_path
    for path in ("~/kitti", "~nobody-here/kitti"):
        with pytest.raises(PathError, match="the home folder ~.* is unknown"):
            as_path(path)


def test_without_a_home_the_cache_has_to_be_named(
    homeless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FetchError, match="set XDISTILL_CACHE"):
        cache_folder()
    result = CliRunner().invoke(pipeline, ["teachers", "list"])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "what to do: set XDISTILL_CACHE to a folder" in result.stderr
    monkeypatch.setenv("XDISTILL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert CliRunner().invoke(pipeline, ["teachers", "list"]).exit_code == 0


def test_a_home_is_expanded_in_the_cache_folder_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDISTILL_CACHE", "~/kept")
    assert cache_folder() == Path("/home/somebody/kept")


@pytest.mark.parametrize("columns", ["", "0", "-5", "1", "abc", "9" * 400])
def test_an_odd_terminal_is_of_no_account(
    columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    monkeypatch.delenv("TERM", raising=False)
    for given in (["--help"], ["--work", str(tmp_path / "work")]):
        assert CliRunner().invoke(command, given).exit_code == 0


def test_a_name_beyond_the_locale_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command(cls=console.Command)
    def named() -> None:
        "東京".encode("iso8859-1")

    assert isinstance(CliRunner().invoke(named, []).exception, UnicodeEncodeError)
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    result = CliRunner().invoke(named, [])
    assert result.exit_code == 1 and "set LC_ALL=C.UTF-8" in result.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("segmnt", "did you mean segment?"),
        ("train", "train is a program of its own: xd-train"),
        ("eval", "eval is a program of its own: xd-eval"),
        ("frobnicate", "one of segment, regroup, info"),
        ("teachers lst", "list"),
        ("segment --bacth-size 2", "--batch-size"),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_what_was_meant(words: str, hint: str) -> None:
    result = CliRunner().invoke(pipeline, words.split())
    assert result.exit_code == 2 and hint in result.stderr
