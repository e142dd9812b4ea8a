"""``python -m xdistill.train.cli.pose_report``."""

import shlex
from pathlib import Path

import click

from xdistill.pipeline.cli import console
from xdistill.train.cli.evaluate import write_json


@click.command("pose-report", cls=console.Command)
@click.option("--run", type=console.PATH, required=True, help="Run folder.")
@console.data_option
@click.option("--split", required=True, help="Split file or name.")
@click.option("--json", "out", type=console.OUTPUT, help="Write every number.")
@console.examples(
    "python -m xdistill.train.cli.pose_report --run runs/street-1 --data street "
    "--split street/splits/test.txt",
)
def main(run: Path, data: Path, split: str, out: Path | None) -> None:
    """Compare the motions that a run has learned with the recorded ones."""
    from xdistill.train.evaluation.pose_report import report, text

    content = report(run, data, split)
    try:
        # Before anything is printed: stdout may be full, or a pager that nobody scrolls.
        if out is not None:
            write_json(out, content)
    finally:
        click.echo(text(content))
    if out is not None:
        click.echo(f"wrote {out}")
    words = ["xd-eval", "--run", str(run), "--data", str(data), "--split", split]
    click.echo(f"next: {shlex.join(words)}")


if __name__ == "__main__":
    main()
