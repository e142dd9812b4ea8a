"""What the demo refuses before its first stage, and how long its trainings are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.cli.demo import demo as command
from xdistill.pipeline.demo import demo
from xdistill.pipeline.demo.demo import check, paired_recipes
from xdistill.pipeline.demo.stages import DemoSettings

SETTINGS = DemoSettings(
    out=Path("demo"), recipe="street", drives=60, frames=10, size="192x64", seed=3, steps=800
)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ("", 600),
        ("--recipe street-long", 2400),
        ("--steps 5", 5),
        ("--recipe street-long --steps 5", 5),
    ],
)
def test_a_recipe_says_its_steps_unless_others_are_given(
    options: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stopped(settings: DemoSettings) -> None:
        seen.append(settings.steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", stopped)
    result = CliRunner().invoke(command, options.split())
    assert seen == [steps] and f"--steps {steps} " in result.stderr


def test_a_recipe_of_epochs_needs_steps() -> None:
    result = CliRunner().invoke(command, ["--recipe", "xdistill-rn18"])
    assert result.exit_code == 1
    assert "give another recipe, or the optimiser steps with --steps" in result.stderr


def test_only_recipes_with_a_baseline_are_for_the_demo() -> None:
    assert paired_recipes() == ["street", "street-long"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "strete"}, "no recipe named 'strete'"),
        (
            {"recipe": "xdistill-rn18"},
            "no 'xdistill-rn18-baseline' beside it(?s:.*)a baseline: street, street-long\n",
        ),
        ({"changes": ("batchsize=2",)}, "unknown recipe key 'batchsize'"),
        ({"seed": 2**32}, "seed 4294967296 is out of range"),
        ({"teacher": "sreet"}, "'sreet' names no teacher(?s:.*)manifests: .*street"),
        ({"teacher": "png:"}, "'png:' names no teacher"),
        ({"teacher": "mmseg:config.py"}, "'mmseg:config.py' names no teacher"),
    ],
)
def test_nonsense_is_refused_before_anything_is_made(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, out=tmp_path / "demo", **change)
    with pytest.raises(XDistillError, match=message):
        demo.run_demo(settings)
    assert not settings.out.exists()


@pytest.mark.parametrize(
    "teacher", ["street", "street,own.pth", "png:x", "mmseg:a.py,b.pth", "hf:a/b", "a.b:c"]
)
def test_every_form_of_teacher_is_let_through(teacher: str) -> None:
    check(replace(SETTINGS, teacher=teacher, seed=2**32 - 1))
