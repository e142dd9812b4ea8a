"""The whole flow on a street of its own: stages, then report.json and report.html."""

import json
from pathlib import Path
from typing import Any

from xdistill.manifests import atomic
from xdistill.pipeline.demo.check import check
from xdistill.pipeline.demo.commands import DemoError
from xdistill.pipeline.demo.page import page
from xdistill.pipeline.demo.pictures import examples
from xdistill.pipeline.demo.runner import run_stages
from xdistill.pipeline.demo.stages import Settings, stages
from xdistill.pipeline.demo.summary import summarise

REPORT, NUMBERS = "report.html", "report.json"


def run_demo(settings: Settings) -> dict[str, Any]:
    """Run what is not finished and write the report.

    Args:
        settings: Where, and what decides the numbers.

    Returns:
        The content of report.json.

    Raises:
        DemoError: The settings cannot go well, a stage failed, or the folder holds a demo with
            other settings.
        ManifestError: No such recipe.
        RecipeError: A recipe or a change has a key that cannot be.
        KeyboardInterrupt: Stopped; called again, it goes on.
    """
    check(settings)
    _make_folder(settings.out)
    plan = stages(settings)
    seconds = run_stages(plan, settings.out)
    summary = summarise(settings, plan, seconds)
    html = page(summary, examples(settings))
    numbers = json.dumps(summary, indent=1) + "\n"
    atomic.write(settings.out / NUMBERS, [numbers.encode()])
    atomic.write(settings.out / REPORT, [html.encode()])
    return summary


def _make_folder(out: Path) -> None:
    try:
        (out / "scores").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(
            f"the folder cannot be written ({error.strerror})",
            where=out.absolute(),
            remedy="give another folder with --out",
        ) from error
