"""What all commands share: defaults from xdistill.toml, assumptions, errors, common options."""

import difflib
import errno
import importlib
import importlib.metadata
import inspect
import itertools
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from xdistill.manifests import disk, environment
from xdistill.manifests.errors import XDistillError
from xdistill.manifests.loader import read_toml
from xdistill.manifests.progress import CUT_SHORT, ResultsError, standard_streams
from xdistill.manifests.stopping import stops_reported
from xdistill.pipeline.cli import COMMANDS, PROGRAMS
from xdistill.pipeline.cli.defaults import DEFAULTS_FILE, check_form, refuse_unknown
from xdistill.pipeline.cli.opencv import missing_library

TABLES = (*COMMANDS, "check", "train", "eval")
"""Commands that take defaults: those of xd-pipeline, ``teachers check``, xd-train and xd-eval."""
SHARED_KEYS = "data store teacher ids split recipe device camera scheme".split()
"""Options that mean the same in every command that has them."""
TYPED = f"{__name__}.typed"
"""Key of the command line, quoted so that it can be pasted, in a context's ``meta``."""

REFUSALS = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give yourself access to it, or another path"),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR), "correct the path"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, or give another path"),
    errno.EROFS: "give another path, on a disk that can be written",
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check the disk, and run the same command again"),
}
"""What to do where the system refuses a file or folder, by the error's number.

What a file or folder is for is said where it is opened; here ends what was not foreseen there. Any
other error without a message of ours is a defect.
"""

Function = TypeVar("Function", bound=Callable[..., Any])


def _print_version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        name = ctx.find_root().info_name
        click.echo(f"{name}, version {importlib.metadata.version('xdistill')}")
        ctx.exit()


VERSION = click.Option(
    ["--version"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)


class Program(click.Command):
    """What every command and group has: -h, --version, and streams that may be closed or full."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings["help_option_names"] = ["-h", "--help"]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), VERSION]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with standard_streams():
            try:
                return super().main(*args, **kwargs)
            except ResultsError as error:
                if error.cut_short:
                    sys.exit(CUT_SHORT)
                click.echo(f"Error: {error}", err=True)
                sys.exit(1)


class Group(Program, click.Group):
    """A command with commands of its own."""


class Command(Program):
    """A click command that reads ``xdistill.toml``, says what it assumes, reports errors and stops.

    Keys at the top of the file are defaults of the option of that name in every command; a table
    with the command's name (``[segment]``, ``[train]``) holds defaults of that command alone, which
    take precedence. A flag on the command line takes precedence over both.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with _mistakes():
            extra["default_map"] = command_defaults(self, group=parent.command if parent else None)
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _refuse_empty(args)
        ctx.meta[TYPED] = shlex.join([*ctx.command_path.split(), *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        _require_current_folder()
        _keep_inputs(ctx)
        with _mistakes(), stops_reported(ctx.meta[TYPED]):
            assumed = list(_assumptions(ctx, without=self.unused(ctx)))
            if assumed:
                click.echo("assumed: " + ", ".join(assumed), err=True)
            return super().invoke(ctx)

    def unused(self, ctx: click.Context) -> Collection[str]:
        """Parameters whose values this call does not use and therefore does not print."""
        return ()


class Commands(Group):
    """The commands of ``xd-pipeline``, listed without importing them so that help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"{__package__}.{name}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in PROGRAMS:
            ctx.fail(f"{args[0]} is a program of its own: {PROGRAMS[args[0]]}")
        if args[0].isalpha() and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f": did you mean {near[0]}?" if near else f": one of {', '.join(COMMANDS)}"
            ctx.fail(f"there is no command {args[0]}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@contextmanager
def _mistakes() -> Iterator[None]:
    """Report a user's mistake, and what the system or the locale refuses, without a traceback."""
    try:
        yield
    except XDistillError as error:
        raise click.ClickException(str(error)) from None
    except UnicodeEncodeError as error:
        if sys.getfilesystemencoding() == "utf-8":
            raise
        _refuse_locale(error)
    except ImportError as error:
        if (message := missing_library(error)) is None:
            raise
        raise click.ClickException(message) from None
    except OSError as error:
        remedy = REFUSALS.get(error.errno or 0)
        if remedy is None or error.filename is None:
            raise
        raise click.ClickException(
            f"{os.fsdecode(error.filename)}: {error.strerror}\n  what to do: {remedy}"
        ) from None


def _refuse_locale(error: UnicodeEncodeError) -> NoReturn:
    raise click.ClickException(
        f"the locale's {error.encoding} has no file named {error.object!r}: set LC_ALL=C.UTF-8"
    ) from None


def _refuse_empty(args: Sequence[str]) -> None:
    """Refuse what an unset variable of a script leaves: it would pass for an option not given."""
    for before, text in itertools.pairwise(("", *args)):
        if not text or re.fullmatch("--[a-z-]+=", text):
            raise click.UsageError(
                f"{text.rstrip('=') or before} is empty: give a value, or leave the option out"
            )


def _keep_inputs(ctx: click.Context) -> None:
    """Refuse to write a file that another option names, be it to read or to write."""
    named = {
        option.opts[0]: os.path.realpath(value)
        for option in _options(ctx.command)
        if isinstance(value := ctx.params.get(str(option.name)), str | Path)
    }
    outputs = [o.opts[0] for o in _options(ctx.command) if isinstance(o.type, OutputType)]
    for out in outputs:
        for other, path in named.items():
            if other != out and named.get(out) == path:
                raise click.UsageError(f"{out} and {other} name the same file, {path}")


def _require_current_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise click.ClickException(
            f"the current folder is gone ({error.strerror}): change to another one with cd"
        ) from None


def command_defaults(
    command: click.Command, *, group: click.Command | None = None
) -> dict[str, Any]:
    """Defaults for one command from ``xdistill.toml`` in the current folder, by parameter name.

    Args:
        command: The command.
        group: Its group; a table with the group's name holds defaults of all its commands.

    Raises:
        ManifestError: The file is not TOML, has a key that no command knows, or a value that its
            option does not take.
    """
    # Not is_file, which overlooks what stands in its place.
    if not os.path.lexists(DEFAULTS_FILE):
        return {}
    content = read_toml(DEFAULTS_FILE.absolute())
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    shared = {key: value for key, value in content.items() if key not in tables}
    refuse_unknown(shared.keys(), SHARED_KEYS, what="the top-level key")
    refuse_unknown(tables.keys(), TABLES, what="the table")
    own = tables.get(command.name or "", {})
    known = {_option_key(option): option for option in _options(command)}
    refuse_unknown(own.keys(), known.keys(), what=f"in [{command.name}], the key")
    if isinstance(group, click.Group) and group.name in tables:
        members = {_option_key(item) for one in group.commands.values() for item in _options(one)}
        refuse_unknown(tables[group.name].keys(), members, what=f"in [{group.name}], the key")
        shared |= tables[group.name]
    chosen = {key: value for key, value in shared.items() if key in known} | own
    for key, value in chosen.items():
        check_form(known[key], key, value)
    return {str(known[key].name): value for key, value in chosen.items()}


def _options(command: click.Command) -> Iterable[click.Option]:
    return (item for item in command.params if isinstance(item, click.Option) and item.name)


def _option_key(option: click.Option) -> str:
    """The long flag as a TOML key: ``--min-depth`` is ``min_depth``."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def _assumptions(ctx: click.Context, *, without: Collection[str]) -> Iterable[str]:
    """Every option's value that the user did not type, and where it comes from."""
    origins = {
        ParameterSource.DEFAULT: "",
        ParameterSource.DEFAULT_MAP: f" ({DEFAULTS_FILE})",
        ParameterSource.ENVIRONMENT: " (environment)",
    }
    for option in _options(ctx.command):
        source = ctx.get_parameter_source(str(option.name))
        value = ctx.params.get(str(option.name))
        if option.name not in without and source in origins and value not in (None, (), False):
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            yield f"--{_option_key(option).replace('_', '-')} {shown}{origins[source]}"


class PathType(click.Path):
    """A file or folder, whether it exists or not, with ``~`` expanded.

    No shell expands it in ``--store=~/x``, in xdistill.toml or in a variable of a job script.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return disk.as_path(value)


class OutputType(PathType):
    """A file to write, for which it is checked at once that it can be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        _require_current_folder()
        path = super().convert(value, param, ctx)
        disk.require_writable(path, option=param.opts[0] if param else "the option")
        return path


PATH = PathType()
"""The type of every option that takes a file to read, or a folder."""
OUTPUT = OutputType()
"""The type of every option that takes a file to write."""


def data_option(function: Function) -> Function:
    """``--data``: the KITTI raw root, by default XDISTILL_DATA or ./kitti."""
    return click.option(
        "--data",
        type=PATH,
        default=Path("kitti"),
        envvar=environment.DATA,
        show_default=True,
        help=f"KITTI raw root (or set {environment.DATA}).",
    )(function)


def store_option(function: Function) -> Function:
    """``--store``: the label store, by default ./labels.zarr."""
    return click.option(
        "--store",
        type=PATH,
        default=Path("labels.zarr"),
        show_default=True,
        help="Label store.",
    )(function)


def choices(title: str, names: Iterable[str]) -> Callable[[Function], Function]:
    """Append the names that an option takes to a command's help."""

    def decorate(function: Function) -> Function:
        listed = textwrap.fill(
            ", ".join(names), initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        # Decorators run upwards: what stands above the examples in the code does so in the help.
        summary, mark, below = inspect.cleandoc(function.__doc__ or "").partition("\n\n\b\n")
        function.__doc__ = f"{summary}\n\n\b\n{title}:\n{listed}\n{mark}{below}"
        return function

    return decorate


def examples(*lines: str) -> Callable[[Function], Function]:
    """Append an ``Examples:`` block to a command's help, unwrapped."""

    def decorate(function: Function) -> Function:
        block = "\n".join(f"  {line}" for line in lines)
        summary = inspect.cleandoc(function.__doc__ or "")
        function.__doc__ = f"{summary}\n\n\b\nExamples:\n{block}\n"
        return function

    return decorate
