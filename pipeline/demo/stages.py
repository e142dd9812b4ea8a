"""The demo's stages: the commands typed on real KITTI, run on a rendered street."""

from dataclasses import dataclass, replace
from pathlib import Path

from xdistill.manifests import disk
from xdistill.pipeline.demo.step import Stage, Step
from xdistill.pipeline.demo.trivial import CONSTANT, ROW_PRIOR, write_trivial_predictions
from xdistill.pipeline.store import SHARD_FRAMES
from xdistill.pipeline.street.record.folder import SPLITS
from xdistill.train.run import METRICS_FILE, RECORD_FILE

BASELINE, DISTILLED = "baseline", "distilled"
RUNS = (BASELINE, DISTILLED)
TRIVIAL = (CONSTANT, ROW_PRIOR)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSettings:
    """What decides the demo's numbers."""

    out: Path
    """Folder for everything the demo writes."""
    recipe: str
    """Recipe of the distilled run; ``<recipe>-baseline`` is the same without distillation."""
    drives: int
    """Drives of the street."""
    frames: int
    """Frames of each drive."""
    size: str
    """Image size ``WxH`` in pixels."""
    seed: int
    """Seed of the street and of both trainings."""
    steps: int
    """Optimiser steps of each training; the schedules run over them."""
    teacher: str = "street"
    """Teacher of the labels, as in ``xd-pipeline segment --teacher``."""
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
        return self.street / SPLITS / f"{name}.txt"

    def run(self, name: str) -> Path:
        """Run folder of ``baseline`` or ``distilled``."""
        return self.out / "runs" / name

    def run_recipe(self, name: str) -> str:
        """Recipe of ``baseline`` or ``distilled``."""
        return self.recipe + ("-baseline" if name == BASELINE else "")

    @property
    def run_changes(self) -> tuple[str, ...]:
        """Recipe keys that both trainings change, ``key=value``."""
        return (f"schedule_steps={self.steps}", f"seed={self.seed}", *self.changes)

    def scores(self, name: str) -> Path:
        """Scores of a run or a trivial baseline, written by xd-eval."""
        return self.out / "scores" / f"{name}.json"

    def predictions(self, name: str) -> Path:
        """Disparities of the test frames by a run or a trivial baseline."""
        return self.out / "scores" / f"{name}.npy"

    def poses(self, name: str) -> Path:
        """Comparison of a run's learned poses with the recorded ones."""
        return self.out / "scores" / f"{name}-poses.json"


def stages(settings: DemoSettings) -> list[Stage]:
    """All stages in order.

    Their seconds were fitted to the processor time of two demos, of 120 frames with 60 steps and of
    600 frames with 600, on two cores of an AMD EPYC (docs/demo.md).
    """
    return [
        _street(settings),
        _segment(settings),
        _regroup(settings),
        _train(settings),
        _trivial(settings),
        _evaluate(settings),
        _poses(settings),
    ]


def _street(settings: DemoSettings) -> Stage:
    frames = settings.drives * settings.frames
    step = _step(
        "xd-pipeline street", out=settings.street, drives=settings.drives, frames=settings.frames,
        size=settings.size, seed=settings.seed,
    )  # fmt: skip
    return Stage(
        name="street",
        title="Render a street in KITTI's raw layout",
        steps=(step,),
        seconds=0.06 * frames + 2 + _compilation_s(),
        share_done=lambda: sum(1 for _ in settings.street.glob("*/*/image_02/data/*.png")) / frames,
    )


def _compilation_s() -> float:
    """Seconds that the first street of a machine takes longer."""
    # Here, as it loads the compiler, which takes a second.
    from xdistill.pipeline.street.compiled import code_folder

    return 0.0 if code_folder().is_dir() else 20.0


def _segment(settings: DemoSettings) -> Stage:
    shards = settings.drives * -(-settings.frames // SHARD_FRAMES)
    step = _step(
        "xd-pipeline segment", data=settings.street, store=settings.store,
        teacher=settings.teacher, device="cpu",
    )  # fmt: skip
    return Stage(
        name="segment",
        title=f"Label every frame, once, with teacher {settings.teacher}",
        steps=(step,),
        seconds=0.047 * settings.drives * settings.frames + 6,
        share_done=lambda: sum(1 for _ in settings.store.glob("*/*/*/classes/c.*")) / shards,
    )


def _regroup(settings: DemoSettings) -> Stage:
    return Stage(
        name="regroup",
        title="Merge the 19 classes into the paper's four groups",
        steps=(_step("xd-pipeline regroup", store=settings.store, scheme=4),),
        seconds=2,
    )


def _train(settings: DemoSettings) -> Stage:
    return Stage(
        name="train",
        title="Train the baseline and the distilled network side by side, from the same seed",
        steps=tuple(_training(settings, name) for name in RUNS),
        seconds=0.27 * settings.steps + 5,
        share_done=lambda: min(_steps_done(settings, name) for name in RUNS) / settings.steps,
    )


def _training(settings: DemoSettings, name: str) -> Step:
    run = settings.run(name)
    step = _step(
        "xd-train", recipe=settings.run_recipe(name), data=settings.street, store=settings.store,
        split=settings.split("train"), val_split=settings.split("val"), out=run, device="cpu",
        set=settings.run_changes,
    )  # fmt: skip
    return replace(step, resumable=run / RECORD_FILE)


def _steps_done(settings: DemoSettings, name: str) -> int:
    log = settings.run(name) / METRICS_FILE
    return disk.read_bytes(log).count(b"\n") if log.is_file() else 0


def _trivial(settings: DemoSettings) -> Stage:
    def work() -> None:
        write_trivial_predictions(
            settings.out / "scores",
            data=settings.street,
            train=settings.split("train"),
            test=settings.split("test"),
        )

    return Stage(
        name="trivial",
        title="Score two predictions that need no training: constant depth, and a depth per row",
        steps=tuple(
            _evaluation(settings, name, predictions=settings.predictions(name)) for name in TRIVIAL
        ),
        seconds=4,
        work=work,
    )


def _evaluate(settings: DemoSettings) -> Stage:
    steps = (
        _evaluation(
            settings, name, run=settings.run(name), device="cpu", save=settings.predictions(name)
        )
        for name in RUNS
    )
    return Stage(
        name="evaluate",
        title="Score both networks against the LiDAR of drives they never saw",
        steps=tuple(steps),
        seconds=4,
    )


def _evaluation(settings: DemoSettings, name: str, **subject: object) -> Step:
    truth = settings.out / "scores" / f"{name}.h5"
    return _step(
        "xd-eval", **subject, data=settings.street, split=settings.split("test"),
        ground_truth=truth, json=settings.scores(name),
    )  # fmt: skip


def _poses(settings: DemoSettings) -> Stage:
    steps = (
        _step(
            "python -m xdistill.train.cli.pose_report", run=settings.run(name),
            data=settings.street, split=settings.split("test"), json=settings.poses(name),
        )
        for name in RUNS
    )  # fmt: skip
    return Stage(
        name="poses",
        title="Compare the learned motions with the recorded ones",
        steps=tuple(steps),
        seconds=5,
    )


def _step(program: str, **options: object) -> Step:
    """A program with its options in order; an option with a tuple is repeated."""
    words = program.split()
    for name, value in options.items():
        for one in value if isinstance(value, tuple) else (value,):
            words += [f"--{name.replace('_', '-')}", str(one)]
    return Step(words=tuple(words))
