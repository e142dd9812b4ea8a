"""The commands of the demo's stages."""

from dataclasses import replace
from pathlib import Path

from xdistill.pipeline.demo.stages import DemoSettings, stages

SETTINGS = DemoSettings(
    out=Path("demo"), recipe="street", drives=60, frames=10, size="192x64", seed=3, steps=800
)


def test_both_trainings_are_typed_alike_but_for_recipe_and_folder() -> None:
    train = next(stage for stage in stages(SETTINGS) if stage.name == "train")
    baseline, distilled = (set(step.words) for step in train.steps)
    assert baseline - distilled == {"street-baseline", "demo/runs/baseline"}
    assert distilled - baseline == {"street", "demo/runs/distilled"}
    assert "seed=3" in baseline and "schedule_steps=800" in baseline


def test_only_programs_a_reader_can_type_are_run() -> None:
    lines = [step.text for stage in stages(SETTINGS) for step in stage.steps]
    programs = {line.split()[0] for line in lines}
    assert programs == {"xd-pipeline", "xd-train", "xd-eval", "python"}


def test_the_teacher_is_named_where_it_labels() -> None:
    segment = stages(replace(SETTINGS, teacher="png:x"))[1]
    assert segment.title == "Label every frame, once, with teacher png:x"
