"""``xd-pipeline``: the commands by name, each imported only when it is called."""

import importlib

import click

COMMANDS = {
    "segment": ("xdistill.pipeline.cli.segment", "segment", "Run the teacher over KITTI."),
    "regroup": ("xdistill.pipeline.cli.regroup", "regroup", "Merge the classes into groups."),
    "info": ("xdistill.pipeline.cli.info", "info", "Say what a store holds."),
    "preview": ("xdistill.pipeline.cli.preview", "preview", "Draw a frame with its labels."),
    "export": ("xdistill.pipeline.cli.export", "export", "Write labels as PNG files."),
    "verify": ("xdistill.pipeline.cli.verify", "verify", "Check a store, and repair it."),
    "score": ("xdistill.pipeline.cli.score", "score", "Compare a store with ground-truth labels."),
    "teachers": ("xdistill.pipeline.cli.teachers", "teachers", "List, fetch and check teachers."),
    "street": ("xdistill.pipeline.cli.street", "street", "Make a small KITTI raw to try it on."),
    "demo": ("xdistill.pipeline.cli.demo", "demo", "See the whole flow on the street."),
}
"""Name, module, attribute, and the line shown in the list of commands."""


class _Lazy(click.Group):
    """A group that lists its commands without importing them, to answer at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="xdistill")
def main() -> None:
    """Teacher labels for self-supervised depth: made once, kept in a zarr store.

    \b
    Examples:
      xd-pipeline segment --data kitti --teacher ocrnet-hr48
      xd-pipeline regroup --scheme 4
      xd-pipeline info
    """
