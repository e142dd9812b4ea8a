from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_runs import RECIPE, Start, finish

from xdistill.train.data.dataset import Batch
from xdistill.train.model import Terms, autocast
from xdistill.train.recipe.recipe import Precision, RecipeError
from xdistill.train.training import new_training, require_precision

CPU = torch.device("cpu")
LOWER: tuple[Precision, ...] = ("bfloat16", "float16")
HEIGHT, WIDTH = 128, 192
FULL_SIZE = replace(RECIPE, width=WIDTH, height=HEIGHT)
STATE = torch.amp.GradScaler("cpu").state_dict()


@pytest.fixture
def batch() -> Batch:
    """Images as smooth as photographs, which a motion's last bits do not turn over."""
    noise = torch.rand(6, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    images = (F.avg_pool2d(noise, 9, 1, 4) * 255).byte().view(2, 3, 3, HEIGHT, WIDTH)
    camera = [[0.58 * WIDTH, 0, 0.5 * WIDTH], [0, 1.92 * HEIGHT, 0.5 * HEIGHT], [0, 0, 1]]
    return Batch(
        frames=("first", "second"),
        originals=images,
        inputs=images,
        intrinsics=torch.tensor(camera).expand(2, 3, 3),
        labels=(noise[:2, 0] * 4).byte(),
        motions=None,
    )


def first_step(kind: Precision, batch: Batch) -> tuple[float, float]:
    """Loss and gradient norm of ResNet-18 from random weights."""
    training = new_training(replace(FULL_SIZE, precision=kind), device=CPU)
    generator = torch.Generator().manual_seed(1)
    terms: Terms = training.model(batch, d2s_weight=0.005, generator=generator)
    training.scaler.scale(terms.total).backward()
    training.scaler.unscale_(training.optimiser)
    gradients = [p.grad for p in training.model.parameters() if p.grad is not None]
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    return terms.total.item(), torch.cat([g.flatten() for g in gradients]).norm().item()


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOWER)
def test_loss_and_gradient_agree_with_those_of_float32(kind: Precision, batch: Batch) -> None:
    (expected, norm), (loss, lower_norm) = first_step("float32", batch), first_step(kind, batch)
    assert loss == pytest.approx(expected, rel=1e-3) and loss != expected
    assert lower_norm == pytest.approx(norm, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOWER)
def test_networks_run_in_the_format_and_everything_after_them_in_float32(
    kind: Precision, batch: Batch
) -> None:
    model = new_training(replace(FULL_SIZE, precision=kind), device=CPU).model
    seen: dict[str, torch.dtype] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda m, i, out, name=name: seen.update({name: out.dtype})
            )
    with torch.no_grad():
        terms: Terms = model(batch, d2s_weight=0.005)
    assert {name.split(".")[0] for name in seen} == {"depth", "pose", "d2s"}
    assert terms.motions.dtype == terms.total.dtype == torch.float32
    assert set(seen.values()) == {getattr(torch, kind)}


@pytest.mark.slow
def test_disparities_are_finer_than_their_networks_format(batch: Batch) -> None:
    model = new_training(replace(FULL_SIZE, precision="bfloat16"), device=CPU).model
    with torch.no_grad(), autocast("bfloat16", CPU):
        disparity = model.depth(batch.inputs[:, 0].float() / 255)[0]
    assert not torch.equal(disparity, disparity.bfloat16().float())


@pytest.mark.parametrize(
    ("kind", "has", "remedy"),
    [
        ("float16", ("bfloat16",), "--set precision=bfloat16"),
        ("bfloat16", (), "--set precision=float32"),
    ],
)
def test_a_format_that_the_device_lacks_is_refused_by_name(
    ready: Start, monkeypatch: pytest.MonkeyPatch, kind: Precision, has: tuple[str], remedy: str
) -> None:
    monkeypatch.setattr("xdistill.train.training._has", lambda device, name: name in has)
    with pytest.raises(RecipeError, match=rf"precision is {kind}.*device cpu(.|\n)*{remedy}"):
        ready("run", recipe=replace(RECIPE, precision=kind))


def test_every_device_has_float32() -> None:
    require_precision(RECIPE, torch.device("meta"))


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    ready: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xdistill.train.training._has", lambda device, name: True)
    recipe = replace(RECIPE, precision="float16")
    whole = ready("whole", recipe=recipe, steps=2)
    # A scale that is not the one to start with.
    for training in (whole.training, (part := ready("part", recipe=recipe, steps=1)).training):
        training.scaler.load_state_dict({**STATE, "scale": 2.0**10})
    expected = finish(whole)
    finish(part)
    resumed = ready("part", recipe=recipe, steps=2, resumed=True)
    assert resumed.training.scaler.state_dict() == part.training.scaler.state_dict()
    assert finish(resumed) == expected


@pytest.mark.slow
def test_a_gradient_beyond_float16_changes_no_weight_and_lowers_the_scale(
    ready: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xdistill.train.training._has", lambda device, name: True)
    started = ready("run", recipe=replace(RECIPE, precision="float16"), steps=2)
    training = started.training
    training.scaler.load_state_dict({**STATE, "scale": 2.0**126})
    before = [p.clone() for p in training.model.parameters()]
    finish(started)
    assert training.step == 2
    assert training.scaler.get_scale() == 2.0**124
    assert all(map(torch.equal, before, training.model.parameters()))
