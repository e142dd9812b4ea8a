"""What every command does alike: defaults from xdistill.toml, errors, assumptions, progress."""

import inspect
import json
import tomllib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from xdistill.manifests.errors import ManifestError, XDistillError

DEFAULTS_FILE = Path("xdistill.toml")
DATA_VARIABLE = "XDISTILL_DATA"

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(click.Command):
    """A click command that reads ``xdistill.toml``, says what it assumed, and reports errors.

    Keys at the top of the file are defaults for the option of that name in every command; a table
    with the command's name (``[segment]``, ``[train]``) holds defaults for that command alone and
    wins. A flag on the command line wins over both.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        try:
            extra["default_map"] = command_defaults(self, group=parent.command if parent else None)
            return super().make_context(info_name, args, parent, **extra)
        except XDistillError as error:
            raise _as_click(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        assumed = list(_assumptions(ctx, without=self.unused(ctx)))
        if assumed:
            click.echo("assumed: " + ", ".join(assumed), err=True)
        try:
            return super().invoke(ctx)
        except XDistillError as error:
            raise _as_click(error) from None

    def unused(self, ctx: click.Context) -> Collection[str]:
        """Parameters whose values this call does not use, so that nobody reads of them."""
        return ()


def _as_click(error: XDistillError) -> click.ClickException:
    return click.ClickException(str(error))


def command_defaults(
    command: click.Command, *, group: click.Command | None = None
) -> dict[str, Any]:
    """Defaults for one command from ``xdistill.toml`` in the current folder, by parameter name.

    Args:
        command: The command.
        group: The one it belongs to; a table of its name holds defaults for all its commands.

    Raises:
        ManifestError: The file is no TOML, has a key that no command knows, or a value of a form
            that its option does not take.
    """
    if not DEFAULTS_FILE.is_file():
        return {}
    try:
        content = tomllib.loads(DEFAULTS_FILE.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"not a TOML file: {error}",
            where=DEFAULTS_FILE.absolute(),
            remedy="mend the line named above",
        ) from error
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    shared = {key: value for key, value in content.items() if key not in tables}
    _refuse_unknown(shared.keys(), SHARED_KEYS, where="at the top level")
    _refuse_unknown(tables.keys(), TABLES, where="as a table")
    own = tables.get(command.name or "", {})
    known = {_option_key(option): option for option in _options(command)}
    _refuse_unknown(own.keys(), known.keys(), where=f"in [{command.name}]")
    if isinstance(group, click.Group) and group.name in tables:
        members = {_option_key(item) for one in group.commands.values() for item in _options(one)}
        _refuse_unknown(tables[group.name].keys(), members, where=f"in [{group.name}]")
        shared |= tables[group.name]
    chosen = {key: value for key, value in shared.items() if key in known} | own
    for key, value in chosen.items():
        _check_form(known[key], key, value)
    return {str(known[key].name): value for key, value in chosen.items()}


SHARED_KEYS = "data store teacher ids split recipe device camera scheme".split()
"""Options that mean the same in several commands."""
TABLES = (
    "segment regroup info preview export verify score teachers check street demo train eval".split()
)
"""Commands that take defaults."""


def _options(command: click.Command) -> Iterable[click.Option]:
    return (item for item in command.params if isinstance(item, click.Option) and item.name)


def _option_key(option: click.Option) -> str:
    """The long flag as a TOML key: ``--min-depth`` is ``min_depth``."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def _refuse_unknown(found: Iterable[str], known: Iterable[str], *, where: str) -> None:
    known = sorted(known)
    for key in found:
        if key not in known:
            raise ManifestError(
                f"unknown key {key!r} {where}",
                expected=f"one of {', '.join(known)}",
                where=DEFAULTS_FILE.absolute(),
                remedy="correct or remove the key",
            )


def _check_form(option: click.Option, key: str, value: Any) -> None:
    """Lists for options that may be repeated, and values that click can convert."""
    kinds: tuple[type, ...] = (str,)
    expected = "a list of texts" if option.multiple else "text"
    if option.is_flag:
        kinds, expected = (bool,), "true or false"
    elif isinstance(option.type, click.types.IntParamType):
        kinds, expected = (str, int), "a whole number"
    elif isinstance(option.type, click.types.FloatParamType):
        kinds, expected = (str, int, float), "a number"
    elif isinstance(option.type, click.types.StringParamType):
        kinds = (str, int)
    values = value if isinstance(value, list) else [value]
    # Not isinstance, for which true is a whole number.
    if isinstance(value, list) == option.multiple and all(type(item) in kinds for item in values):
        return
    texts = [str(item) for item in values]
    example = json.dumps(texts if option.multiple else " ".join(texts))
    raise ManifestError(
        f"{key} = {json.dumps(value, default=str)}",
        expected=expected,
        where=DEFAULTS_FILE.absolute(),
        remedy=f"write {key} = {example}" if "text" in expected else f"correct {key}",
    )


def _assumptions(ctx: click.Context, *, without: Collection[str]) -> Iterable[str]:
    """Every value of a path-like or name-like option that the user did not type."""
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


def data_option(function: Function) -> Function:
    """``--data``: the KITTI raw root; ./kitti or XDISTILL_DATA unless given."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        default=Path("kitti"),
        envvar=DATA_VARIABLE,
        show_default=True,
        help=f"KITTI raw root (or set {DATA_VARIABLE}).",
    )(function)


def store_option(function: Function) -> Function:
    """``--store``: the label store; ./labels.zarr unless given."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path),
        default=Path("labels.zarr"),
        show_default=True,
        help="Label store.",
    )(function)


def examples(*lines: str) -> Callable[[Function], Function]:
    """Append an ``Examples:`` block to a command's help, kept as typed."""

    def decorate(function: Function) -> Function:
        block = "\n".join(f"  {line}" for line in lines)
        summary = inspect.cleandoc(function.__doc__ or "")
        function.__doc__ = f"{summary}\n\n\b\nExamples:\n{block}\n"
        return function

    return decorate
