import math
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import RECIPE, STEPS_PER_EPOCH, Start, Started, finish, lines
from training_tree import DRIVE, FRAMES, SEQUENCE

from xdistill.manifests.memory import MemoryShortError
from xdistill.manifests.stopping import Stopped, stoppable
from xdistill.pipeline.kitti.errors import ImageError
from xdistill.train import loop
from xdistill.train.data.dataset import Batch, batch_keys
from xdistill.train.data.readers import ReaderError
from xdistill.train.loop import train
from xdistill.train.pose_agreement import AXES
from xdistill.train.training import TrainingError

pytestmark = pytest.mark.slow


def test_a_whole_training_writes_its_run_folder(ready: Start, tmp_path: Path) -> None:
    found = finish(ready("run"))
    assert [line["step"] for line in found] == list(range(1, 3 * STEPS_PER_EPOCH + 1))
    assert list(found[0]) == [
        "step",
        "loss",
        "loss_photometric",
        "loss_smoothness",
        "loss_d2s",
        "reprojected",
        "weight_d2s",
        "lr",
    ]
    for line in found:
        assert all(math.isfinite(value) for value in line.values())
        total = line["loss_photometric"] + line["loss_smoothness"]
        total += line["weight_d2s"] * line["loss_d2s"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"recipe.toml", "run.json", "checkpoint.pt", "metrics.jsonl", "pictures"}
    pictures = [path.name for path in (tmp_path / "run" / "pictures").iterdir()]
    assert pictures == ["step_0000012.png"]


def test_schedules_run_over_the_epochs_whatever_the_steps(ready: Start) -> None:
    found = finish(ready("run", steps=10))
    assert [line["weight_d2s"] for line in found] == pytest.approx(
        [0.5 * step / 11 for step in range(10)]
    )
    assert [line["lr"] for line in found] == pytest.approx([1e-4] * 8 + [1e-5] * 2)


def test_the_optimiser_takes_the_scheduled_rate(ready: Start) -> None:
    frozen = replace(RECIPE, lr_drop_epoch=1, lr_drop_factor=0.0, schedule_steps=3)
    first = {name: p.clone() for name, p in parameters(ready("a", recipe=frozen, steps=1))}
    last = dict(parameters(ready("b", recipe=frozen, steps=3)))
    assert all(torch.equal(last[name], first[name]) for name in first)
    moved = dict(parameters(ready("c", recipe=RECIPE, steps=3)))
    assert not all(torch.equal(moved[name], first[name]) for name in first)


def parameters(started: Started) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters of all networks after the training."""
    finish(started)
    return list(started.training.model.named_parameters())


def test_steps_may_go_beyond_the_schedules(ready: Start) -> None:
    short = replace(RECIPE, schedule_steps=2)
    found = finish(ready("run", recipe=short, steps=4))
    assert [line["weight_d2s"] for line in found] == [0.0, 0.5, 0.5, 0.5]
    assert len(finish(ready("other", recipe=short))) == 2


def test_the_same_seed_gives_the_same_losses_and_another_one_others(ready: Start) -> None:
    first, second = finish(ready("a", steps=5)), finish(ready("b", steps=5))
    assert first == second
    assert finish(ready("c", steps=5, recipe=replace(RECIPE, seed=1))) != first


def test_workers_pictures_and_validation_change_no_loss(ready: Start, tmp_path: Path) -> None:
    split = tmp_path / "val.txt"
    split.write_text(f"{DRIVE} 3 l\n{DRIVE} 6 l\n{DRIVE} 7 l\n")
    busy = replace(RECIPE, num_workers=2, picture_interval=1, checkpoint_interval=2)
    first = finish(ready("a", steps=5))
    second = finish(ready("b", steps=5, recipe=busy, validation_split=str(split)))
    assert first == second
    validated = lines(tmp_path / "b", "validation.jsonl")
    assert [line["step"] for line in validated] == [STEPS_PER_EPOCH, 5]
    keys = ["step", "loss_photometric", "loss_smoothness", "reprojected"]
    assert list(validated[0]) == [*keys, *(f"{axis}_correlation" for axis in AXES)]
    assert 0 < validated[0]["loss_photometric"] < 1 and 0 <= validated[0]["reprojected"] <= 1
    assert len(list((tmp_path / "b" / "pictures").iterdir())) == 5


def state(started: Started) -> dict[str, torch.Tensor]:
    training = started.training
    found = dict(training.model.state_dict())
    for number, values in training.optimiser.state_dict()["state"].items():
        found |= {f"optimiser.{number}.{key}": value for key, value in values.items()}
    return found | {"generator": training.generator.get_state()}


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(ready: Start, stop: int) -> None:
    whole = ready("whole", steps=8)
    expected = finish(whole)
    finish(ready("part", steps=stop))
    resumed = ready("part", steps=8, resumed=True)
    assert resumed.training.step == stop
    assert finish(resumed) == expected
    first, second = state(whole), state(resumed)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_a_signal_while_a_batch_is_waited_for_ends_at_once_with_a_checkpoint(
    ready: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = finish(ready("whole", steps=5))
    read = loop.read_batches

    def stuck(*values: Any, **named: Any) -> Iterator[Batch]:
        yield from islice(read(*values, **named), 3)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was not heard")

    started = ready("part", steps=5)
    with monkeypatch.context() as patch, stoppable(), pytest.raises(Stopped) as caught:
        patch.setattr(loop, "read_batches", stuck)
        train(started.training, started.job)
    assert caught.value.kept == f"step 3 of 5 is in {started.job.run}"
    assert len(lines(started.job.run)) == 3
    assert finish(ready("part", steps=5, resumed=True)) == expected


def test_an_error_between_two_steps_loses_none_of_them(
    ready: Start, data: Path, tmp_path: Path
) -> None:
    """A frame that cannot be read, at a step of which the next checkpoint is far away."""
    expected = finish(ready("whole", steps=6))
    root = tmp_path / "kitti"
    shutil.copytree(data, root)
    started = ready("part", steps=6, data=root)
    (first,) = batch_keys(8, seed=RECIPE.seed, batch_size=2, start=0, stop=1)
    read = {key.index + 1 + offset for key in first for offset in (-1, 0, 1)}
    unread = next(index for index in range(FRAMES) if index not in read)
    damaged = root / SEQUENCE / "data" / f"{unread:010d}.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:300])
    with pytest.raises(ImageError, match=damaged.name):
        train(started.training, started.job)
    reached = len(lines(started.job.run))
    assert 0 < reached < 4
    damaged.write_bytes(content)
    again = ready("part", steps=6, data=root, resumed=True)
    assert again.training.step == reached
    assert finish(again) == expected


def test_an_update_that_breaks_off_is_not_kept(
    ready: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch reports a dead reader wherever the trainer is at the time."""
    started = ready("run", steps=4, recipe=replace(RECIPE, checkpoint_interval=2))
    update, calls = torch.optim.Adam.step, []

    def broken(optimiser: torch.optim.Adam) -> None:
        update(optimiser)
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed.")

    monkeypatch.setattr(
        started.training.optimiser, "step", partial(broken, started.training.optimiser)
    )
    with pytest.raises(ReaderError, match="a process that reads images died"):
        train(started.training, started.job)
    again = ready("run", resumed=True, steps=4, recipe=started.training.recipe)
    assert again.training.step == 2
    assert finish(again) == finish(ready("whole", steps=4))


def test_lines_after_the_checkpoint_are_dropped_on_resume(ready: Start, tmp_path: Path) -> None:
    expected = finish(ready("whole", steps=6))
    finish(ready("part", steps=3))
    with (tmp_path / "part" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 4, "loss": 99}\n{"step": 5, "lo')
    assert finish(ready("part", steps=6, resumed=True)) == expected


def test_the_log_is_on_disk_before_the_checkpoint_that_counts_on_it(
    ready: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(loop.JsonLines, "sync", lambda log: order.append("log"))
    monkeypatch.setattr(loop, "save_checkpoint", lambda *saved: order.append("checkpoint"))
    finish(ready("run", steps=2))
    assert order == ["log", "checkpoint"]


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    ready: Start, tmp_path: Path
) -> None:
    expected = finish(ready("part", steps=4))
    (tmp_path / "part" / "checkpoint.pt").unlink()
    again = ready("part", steps=4, resumed=True)
    assert again.training.step == 0
    assert finish(again) == expected


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    ready: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = replace(RECIPE, checkpoint_interval=2)
    started = ready("run", recipe=often)
    calls = []

    def spoiled(*values: Any, **named: Any) -> float:
        calls.append(1)
        return math.nan if len(calls) == 4 else 0.1

    monkeypatch.setattr(loop, "d2s_weight", spoiled)
    with pytest.raises(TrainingError) as caught:
        train(started.training, started.job)
    message = str(caught.value)
    assert "the loss of step 4 is not finite: loss nan, loss_photometric 0." in message
    assert message.count(f"{DRIVE} ") == 2 and "checkpoint.pt" in message
    assert all(torch.isfinite(p).all() for p in started.training.model.parameters())
    assert ready("run", recipe=often, resumed=True).training.step == 2
    assert len(lines(tmp_path / "run")) == 2


@pytest.mark.parametrize(
    ("batch_size", "remedy"), [(2, "--set batch_size=1 to a new run"), (1, "a smaller network")]
)
def test_memory_that_runs_out_in_a_step_is_answered_with_a_smaller_batch(
    ready: Start, monkeypatch: pytest.MonkeyPatch, batch_size: int, remedy: str
) -> None:
    started = ready("run", recipe=replace(RECIPE, batch_size=batch_size))

    def forward(*values: Any, **named: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(started.training.model, "forward", forward)
    with pytest.raises(MemoryShortError) as caught:
        train(started.training, started.job)
    message = str(caught.value)
    assert f"a step of resnet18 on {batch_size} triplets of 64x64" in message
    assert remedy in message


def test_without_a_checkpoint_the_message_says_so(
    ready: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = ready("run")
    monkeypatch.setattr(loop, "d2s_weight", lambda *values, **named: math.inf)
    with pytest.raises(TrainingError, match="no checkpoint was written yet"):
        train(started.training, started.job)


def test_a_standing_camera_is_told_once(
    ready: Start,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loop, "WATCHED_STEPS", 3)
    finish(ready("moving", steps=4))
    assert "warning" not in capsys.readouterr().err
    root = tmp_path / "kitti"
    shutil.copytree(data, root)
    first, *others = sorted((root / SEQUENCE / "data").iterdir())
    for file in others:
        shutil.copyfile(first, file)
    assert max(line["reprojected"] for line in finish(ready("still", data=root, steps=7))) < 0.1
    said = capsys.readouterr().err
    assert said.count("of the pixels carried a gradient in the last 3 steps") == 1
    assert "frames were written twice" in said and "--split" in said
