"""The street teacher: what ships, what it can, and that the training command trains."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.grouping.scheme import load_scheme
from xdistill.manifests.progress import unshown
from xdistill.pipeline.labelling.score import confusion, measures, merge
from xdistill.pipeline.street.record.drive import make_drive
from xdistill.pipeline.street.render.camera import render
from xdistill.pipeline.street.teacher import training as train_teacher
from xdistill.pipeline.street.teacher.training import (
    FRAMES,
    SIZE,
    TeacherTraining,
    batches,
    ceiling,
    class_weights,
    labelled_frames,
    main,
    predict,
    report,
    train,
)
from xdistill.teachers.choice.spec import load_teacher

pytest.importorskip("mmseg", reason="needs the extra 'teacher'")

from xdistill.teachers.choice import catalogue
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg.teacher import build

Frames = tuple[NDArray[np.uint8], NDArray[np.uint8]]
MAX_BYTES = 2_000_000


@pytest.fixture(scope="module")
def held_out() -> Frames:
    """Frames of a seed that no training or choice has seen."""
    return labelled_frames(77, drives=2, size=SIZE, advance=unshown)


def test_weights_ship_and_are_small() -> None:
    known = catalogue.entry("street")
    path = catalogue.fetch_weights(known)
    assert path.parent == mmseg_config.PACKAGED and path.stat().st_size <= MAX_BYTES
    state = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.slow
def test_the_shipped_teacher_labels_a_held_out_street(held_out: Frames) -> None:
    images, truth = held_out
    teacher = load_teacher("street")
    labels = teacher.label(list(images), [str(k) for k in range(len(images))]).classes
    counts, scheme = confusion(truth, labels, classes=19), load_scheme("4")
    groups = measures(merge(counts, scheme.table), scheme.groups)
    print({name: round(100 * iou, 1) for name, iou in groups["iou"].items()})
    assert groups["miou"] >= 0.70 and groups["accuracy"] > 0.9
    assert measures(counts, [str(k) for k in range(19)])["miou"] >= 0.55


@pytest.mark.slow
def test_half_precision_storage_is_undone() -> None:
    teacher = load_teacher("street")
    network = teacher._network._model  # type: ignore[attr-defined]
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_frames_of_another_size_are_labelled() -> None:
    size, drive = (96, 320), make_drive(78, 1, frames=3)
    picture = render(drive.scene(0), drive.camera(0, size), size=size, sensor=drive.sensor(0))
    labels = load_teacher("street").label([picture.image], ["one"]).classes
    assert labels.shape == (1, *size)
    known = picture.labels != IGNORE_INDEX
    assert (labels[0] == picture.labels)[known].mean() > 0.8


def test_class_weights_by_hand() -> None:
    labels = np.full((1, 10, 10), IGNORE_INDEX, np.uint8)
    labels[0, :4] = 0
    labels[0, 4, :] = 5
    weights = class_weights(labels, rarity=0.5)
    assert weights[5] / weights[0] == pytest.approx(2.0)
    assert 0.8 * weights[0] + 0.2 * weights[5] == pytest.approx(1.0)


def test_batches_keep_image_and_labels_together(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 19, (4, 8, 12), dtype=np.uint8)
    images = np.repeat(labels[..., None], 3, axis=-1) * np.uint8(10)
    settings = TeacherTraining(steps=3, batch=2)
    for frames, classes in batches(images, labels, settings):
        ratio = frames / (classes[:, None] * 10).clamp(min=1)
        known = (classes > 0)[:, None] & (frames < 255)
        for k in range(2):
            for channel in range(3):
                values = ratio[k, channel][known[k, 0] & (frames[k, channel] < 255)]
                assert values.std() < 1e-4
    first, second = (next(batches(images, labels, settings))[0] for _ in range(2))
    torch.testing.assert_close(first, second)


def test_the_ceiling_loses_only_what_is_thin() -> None:
    labels = np.zeros((1, 16, 16), np.uint8)
    labels[0, :, 8:] = 2
    np.testing.assert_array_equal(ceiling(labels), labels)
    labels[0, :, 3] = 5
    assert (ceiling(labels) == 5).sum() < 2 * 16
    labels[0, :4, :4] = IGNORE_INDEX
    assert ceiling(labels).max() <= 18


@pytest.mark.slow
def test_training_learns(held_out: Frames) -> None:
    """A few steps on few frames: the loss falls, and again the same with the same seed."""
    images, labels = held_out
    settings = TeacherTraining(steps=12, batch=2, rate=2e-3)

    def begun() -> tuple[Any, Iterator[float]]:
        torch.manual_seed(settings.seed)
        model = build(mmseg_config.load_config("street_ocrnet.py"))
        return model, train(model, images[:3], labels[:3], settings)

    model, steps = begun()
    losses = list(steps)
    # Enough steps to show that weights, order, augmentation and optimiser are seeded.
    assert list(islice(begun()[1], 4)) == losses[:4]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    assert predict(model, images[:2]).shape == (2, *SIZE)


def test_the_report_has_a_line_for_each_class_and_group(held_out: Frames) -> None:
    truth = held_out[1]
    lines = report(truth, truth)
    assert any(line.split()[:1] == ["ground"] and "100.0" in line for line in lines)
    assert sum(line.startswith("  mean") for line in lines) == 2
    perfect = next(line for line in lines if line.startswith("  pole")).split()
    assert float(perfect[1]) == 100.0 and float(perfect[2]) < 100.0


@pytest.mark.slow
def test_the_training_command_writes_weights_that_load(tmp_path: Path) -> None:
    out = tmp_path / "own.pth"
    arguments = ["--out", str(out), "--steps", "2", "--drives", "2", "--judged", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert out.stat().st_size <= MAX_BYTES and f"wrote {out}" in result.output
    teacher = load_teacher(f"mmseg:street_ocrnet.py,{out}")
    assert teacher.label([np.zeros((*SIZE, 3), np.uint8)], ["k"]).classes.shape == (1, *SIZE)
    assert FRAMES * 2 >= TeacherTraining().batch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "nodir/own.pth"], "--out nodir/own.pth cannot be written"),
        (["--out", "."], "--out . cannot be written (it is a folder"),
        (["--out", "own.pth", "--drives", "0"], "--drives"),
        (["--out", "own.pth", "--drives", "1"], "--drives"),
        (["--out", "own.pth", "--steps", "0"], "--steps"),
        (["--out", "own.pth", "--judged", "0"], "--judged"),
    ],
)
def test_what_cannot_succeed_is_refused_before_the_work(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_teacher, "labelled_frames", work)
    result = CliRunner().invoke(main, options)
    assert result.exit_code in (1, 2) and message in result.output
    assert isinstance(result.exception, SystemExit)
