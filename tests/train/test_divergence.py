"""A step whose numbers are not finite ends before the backward pass, with frames and step."""

import math
from dataclasses import replace

import pytest
import torch
from training_runs import RECIPE, Start, Started, lines

from xdistill.train.data.augment import NOTHING
from xdistill.train.data.dataset import Batch, collate
from xdistill.train.loop import optimise
from xdistill.train.run import JsonLines
from xdistill.train.training import TrainingError
from xdistill.train.validation import Validation, log_validation

OXTS = replace(RECIPE, pose="oxts", distillation="none")
FRAMES = ("2011_09_26/2011_09_26_drive_0001_sync 1 l", "2011_09_26/2011_09_26_drive_0001_sync 3 l")


def spoiled(batch: Batch, part: str, value: float) -> Batch:
    """The batch with one number of its second frame changed."""
    tensor = getattr(batch, part).clone()
    tensor[1][(0,) * (tensor.ndim - 1)] = value
    return replace(batch, **{part: tensor})


def step(started: Started, batch: Batch) -> None:
    with JsonLines(started.job.run / "metrics.jsonl") as log:
        optimise(started.training, [batch], started.job, log=log)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("part", "told"), [("motions", "a recorded motion"), ("intrinsics", "a camera matrix")]
)
def test_what_a_frame_brings(ready: Start, part: str, told: str, value: float) -> None:
    started = ready("run", recipe=OXTS)
    batch = collate([started.job.dataset.sample(index, NOTHING) for index in (0, 2)])
    with pytest.raises(TrainingError) as caught:
        step(started, spoiled(batch, part, value))
    message = str(caught.value)
    assert message.startswith(f"{told} of step 1 is not finite: loss ")
    assert f"where: frames {FRAMES[1]}\n" in message and FRAMES[0] not in message
    assert started.training.step == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_a_pose_network_predicts(ready: Start, value: float) -> None:
    started = ready("run")
    model = started.training.model
    assert model.pose is not None
    with torch.no_grad():
        list(model.pose.parameters())[-1].fill_(value)
    batch = collate([started.job.dataset.sample(index, NOTHING) for index in (0, 2)])
    with pytest.raises(TrainingError) as caught:
        step(started, batch)
    assert str(caught.value).startswith("a predicted motion of step 1 is not finite: loss ")
    assert f"where: frames {'; '.join(FRAMES)}\n" in str(caught.value)
    validation = Validation(dataset=started.job.dataset)
    log_validation(started.training, validation, run=started.job.run, stop=1)
    (logged,) = lines(started.job.run, "validation.jsonl")
    assert logged["loss_photometric"] is None and math.isfinite(logged["loss_smoothness"])
