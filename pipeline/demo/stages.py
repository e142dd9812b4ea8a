"""The demo's stages: what is typed on real KITTI, on a street of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdistill.pipeline.demo.commands import Command
from xdistill.pipeline.demo.runner import Stage
from xdistill.pipeline.demo.trivial import CONSTANT, ROW_PRIOR, write_trivial_predictions

BASELINE, DISTILLED = "baseline", "distilled"
RUNS = (BASELINE, DISTILLED)
TRIVIAL = (CONSTANT, ROW_PRIOR)
RUN_RECORD = "run.json"
"""xd-train writes it first: from then on the run is gone on with."""
METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"
"""xd-train's logs, a line for each step and for each validation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What decides the demo's numbers."""

    out: Path
    """Folder of everything the demo writes."""
    recipe: str
    """Recipe of the distilled run; ``<recipe>-baseline`` is the same without distillation."""
    drives: int
    """Drives of the street."""
    frames: int
    """Frames of each drive."""
    size: str
    """``WxH`` of its images in pixels."""
    seed: int
    """Seed of the street and of both trainings."""
    steps: int
    """Optimiser steps of each training; the schedules run over them."""
    teacher: str = "street"
    """Teacher of the labels, as ``xd-pipeline segment --teacher`` names it."""
    changes: tuple[str, ...] = ()
    """Recipe keys changed in both trainings, ``key=value``."""

    @property
    def street(self) -> Path:
        """The street, a KITTI raw root."""
        return self.out / "street"

    @property
    def store(self) -> Path:
        """The label store."""
        return self.out / "labels.zarr"

    def split(self, name: str) -> Path:
        """Split file ``train``, ``val`` or ``test``."""
        return self.street / "splits" / f"{name}.txt"

    def run(self, name: str) -> Path:
        """Run folder of ``baseline`` or ``distilled``."""
        return self.out / "runs" / name

    def scores(self, name: str) -> Path:
        """What xd-eval wrote about a run or a trivial baseline."""
        return self.out / "scores" / f"{name}.json"

    def predictions(self, name: str) -> Path:
        """Disparities of the test frames by a run or a trivial baseline."""
        return self.out / "scores" / f"{name}.npy"

    def poses(self, name: str) -> Path:
        """What was found about a run's learned poses."""
        return self.out / "scores" / f"{name}-poses.json"


def stages(settings: Settings) -> list[Stage]:
    """All stages in their order; the seconds were measured on two quiet cores."""
    return [
        _street(settings),
        _segment(settings),
        _regroup(settings),
        _train(settings),
        _trivial(settings),
        _evaluate(settings),
        _poses(settings),
    ]


def _street(settings: Settings) -> Stage:
    frames = settings.drives * settings.frames
    words = (
        f"--drives {settings.drives} --frames {settings.frames} --size {settings.size} "
        f"--seed {settings.seed}"
    )
    return Stage(
        name="street",
        title="Render a street in KITTI's raw layout",
        commands=(_pipeline("street", "--out", settings.street, *words.split()),),
        seconds=0.09 * frames + 10,
        share_done=lambda: sum(1 for _ in settings.street.glob("*/*/image_02/data/*.png")) / frames,
    )


def _segment(settings: Settings) -> Stage:
    return Stage(
        name="segment",
        title=f"Label every frame, once, with teacher {settings.teacher}",
        commands=(
            _pipeline(
                "segment",
                "--data",
                settings.street,
                "--store",
                settings.store,
                "--teacher",
                settings.teacher,
                "--device",
                "cpu",
            ),
        ),
        seconds=0.1 * settings.drives * settings.frames + 8,
    )


def _regroup(settings: Settings) -> Stage:
    return Stage(
        name="regroup",
        title="Merge the 19 classes into the paper's four groups",
        commands=(_pipeline("regroup", "--store", settings.store, "--scheme", "4"),),
        seconds=3,
    )


def _train(settings: Settings) -> Stage:
    return Stage(
        name="train",
        title="Train the baseline and the distilled network, side by side from the same seed",
        commands=tuple(_training(settings, name) for name in RUNS),
        seconds=0.25 * settings.steps + 10,
        share_done=lambda: min(_steps(settings, name) for name in RUNS) / settings.steps,
    )


def _training(settings: Settings, name: str) -> Command:
    run = settings.run(name)
    words = _words(
        "xd-train",
        "--recipe",
        recipe_of(settings, name),
        "--data",
        settings.street,
        "--store",
        settings.store,
        "--split",
        settings.split("train"),
        "--val-split",
        settings.split("val"),
        "--out",
        run,
        "--device",
        "cpu",
        *(word for change in changes_of(settings) for word in ("--set", change)),
    )
    return Command(words=words, resumable=run / RUN_RECORD)


def recipe_of(settings: Settings, name: str) -> str:
    """Recipe of a run."""
    return settings.recipe + ("-baseline" if name == BASELINE else "")


def changes_of(settings: Settings) -> tuple[str, ...]:
    """Recipe keys that both trainings change, ``key=value``."""
    return (f"schedule_steps={settings.steps}", f"seed={settings.seed}", *settings.changes)


def _steps(settings: Settings, name: str) -> int:
    """Steps that a training has logged."""
    log = settings.run(name) / METRICS
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def _trivial(settings: Settings) -> Stage:
    def work() -> None:
        write_trivial_predictions(
            settings.out / "scores",
            data=settings.street,
            train=settings.split("train"),
            test=settings.split("test"),
        )

    return Stage(
        name="trivial",
        title="Score what needs no training: constant depth, and a depth for each image row",
        commands=tuple(
            _evaluation(settings, name, "--predictions", settings.predictions(name))
            for name in TRIVIAL
        ),
        seconds=8,
        work=work,
    )


def _evaluate(settings: Settings) -> Stage:
    return Stage(
        name="evaluate",
        title="Score both networks against the LiDAR of drives they never saw",
        commands=tuple(
            _evaluation(
                settings,
                name,
                "--run",
                settings.run(name),
                "--device",
                "cpu",
                "--save",
                settings.predictions(name),
            )
            for name in RUNS
        ),
        seconds=10,
    )


def _evaluation(settings: Settings, name: str, *subject: object) -> Command:
    truth = settings.out / "scores" / f"{name}.h5"
    words = _words(
        "xd-eval",
        *subject,
        "--data",
        settings.street,
        "--split",
        settings.split("test"),
        "--ground-truth",
        truth,
        "--json",
        settings.scores(name),
    )
    return Command(words=words)


def _poses(settings: Settings) -> Stage:
    return Stage(
        name="poses",
        title="Compare the learned motions with the recorded ones",
        commands=tuple(
            Command(
                words=_words(
                    "python",
                    "-m",
                    "xdistill.train.cli.pose_report",
                    "--run",
                    settings.run(name),
                    "--data",
                    settings.street,
                    "--split",
                    settings.split("test"),
                    "--json",
                    settings.poses(name),
                )
            )
            for name in RUNS
        ),
        seconds=10,
    )


def _pipeline(*words: object) -> Command:
    return Command(words=_words("xd-pipeline", *words))


def _words(*words: object) -> tuple[str, ...]:
    return tuple(map(str, words))


def command_lines(stages_: Sequence[Stage]) -> list[str]:
    """Every command of the demo as typed."""
    return [command.text for stage in stages_ for command in stage.commands]
