from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import RECIPE, Start, finish

from xdistill.train import loop
from xdistill.train.data.augment import NOTHING
from xdistill.train.data.dataset import Batch, collate
from xdistill.train.model import Terms
from xdistill.train.run import JsonLines
from xdistill.train.training import TrainingError

TWICE = replace(RECIPE, batch_size=1, accumulate=2)


@pytest.mark.slow
def test_the_gradient_is_the_mean_of_those_of_the_batches(ready: Start, tmp_path: Path) -> None:
    recipe = replace(RECIPE, accumulate=3, d2s_schedule="constant")
    started, alone = ready("run", recipe=recipe), ready("alone", recipe=recipe).training
    dataset = started.job.dataset
    batches = [collate([dataset.sample(i + k, NOTHING) for k in (0, 1)]) for i in (0, 2, 4)]
    losses, gradients = [], []
    for batch in batches:
        alone.model.zero_grad()
        terms: Terms = alone.model(batch, d2s_weight=0.5, generator=alone.generator)
        terms.total.backward()  # type: ignore[no-untyped-call]
        losses.append(terms.total.item())
        gradients.append([p.grad.clone() for p in alone.model.parameters() if p.grad is not None])
    with JsonLines(tmp_path / "log.jsonl") as log:
        line = loop.optimise(started.training, batches, started.job, log=log)
    assert len(set(losses)) == 3 and line["loss"] == pytest.approx(sum(losses) / 3)
    assert started.training.step == 1
    found = [p.grad for p in started.training.model.parameters() if p.grad is not None]
    for mine, *each in zip(found, *gradients, strict=True):
        torch.testing.assert_close(mine, sum(each) / 3, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_step_reads_the_triplets_of_one_large_batch_and_counts_as_one_step(
    ready: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    optimise = loop.optimise

    def watched(training: Any, batches: Sequence[Batch], *rest: Any, **named: Any) -> Any:
        assert len(batches) == training.recipe.accumulate
        seen.append([frame for batch in batches for frame in batch.frames])
        return optimise(training, batches, *rest, **named)

    monkeypatch.setattr(loop, "optimise", watched)
    one, two = finish(ready("one")), finish(ready("two", recipe=TWICE))
    assert seen[: len(one)] == seen[len(one) :] and all(len(frames) == 2 for frames in seen)
    schedules = [
        [(line["step"], line["lr"], line["weight_d2s"]) for line in run] for run in (one, two)
    ]
    assert schedules[0] == schedules[1]


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(ready: Start) -> None:
    expected = finish(ready("whole", recipe=TWICE, steps=5))
    finish(ready("part", recipe=TWICE, steps=3))
    assert finish(ready("part", recipe=TWICE, steps=5, resumed=True)) == expected


def test_frames_that_do_not_fill_a_step_are_refused(ready: Start) -> None:
    with pytest.raises(TrainingError, match="8 frames do not fill a step of 5 batches of 2\n") as e:
        ready("run", recipe=replace(RECIPE, accumulate=5))
    assert "--set batch_size=8 --set accumulate=1" in str(e.value)
