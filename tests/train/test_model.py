from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_tree import DRIVE

from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.data.augment import NOTHING
from xdistill.train.data.dataset import Batch, TripletDataset, collate
from xdistill.train.data.labels import find_labels
from xdistill.train.model import Model, Terms
from xdistill.train.objective.geometry import invert_pose, pose_matrix
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import new_training

RECIPE = Recipe(name="test", width=64, height=64, distillation="d2s", encoder_weights="none")
BASELINE = replace(RECIPE, distillation="none")
CPU = torch.device("cpu")


@pytest.fixture
def batch(data: Path, store: Path) -> Batch:
    frames = [Frame(DRIVE, index, "l") for index in (2, 5)]
    labels = find_labels(store, frames, scheme=load_scheme("4"), segment="")
    recipe = replace(RECIPE, pose="oxts")
    dataset = TripletDataset(data, frames, recipe=recipe, labels=labels)
    return collate([dataset.sample(index, NOTHING) for index in range(2)])


def build(recipe: Recipe) -> Model:
    return new_training(recipe, device=CPU).model


def run(model: Model, batch: Batch, *, weight: float) -> Terms:
    generator = torch.Generator().manual_seed(1)
    terms: Terms = model(batch, d2s_weight=weight, generator=generator)
    return terms


def gradients(model: Model, batch: Batch, *, weight: float) -> dict[str, torch.Tensor]:
    model.zero_grad()
    run(model, batch, weight=weight).total.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_total_is_the_sum_of_its_terms(narrow: None, batch: Batch) -> None:
    terms = run(build(RECIPE), batch, weight=0.3)
    assert terms.d2s.item() > 0.5
    expected = terms.photometric + terms.smoothness + 0.3 * terms.d2s
    torch.testing.assert_close(terms.total, expected)
    inside = run(build(replace(RECIPE, d2s_placement="inside")), batch, weight=0.3)
    torch.testing.assert_close(
        inside.total, inside.photometric + inside.smoothness + 0.3 / 4 * inside.d2s
    )


def test_a_baseline_has_no_d2s_network_and_no_d2s_loss(narrow: None, batch: Batch) -> None:
    model = build(BASELINE)
    assert model.d2s is None
    assert run(model, batch, weight=0.0).d2s.item() == 0.0


def test_the_gradient_of_distillation_reaches_encoder_and_decoder(
    narrow: None, batch: Batch
) -> None:
    model = build(RECIPE)
    run(model, batch, weight=1.0).d2s.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.depth.named_parameters():
        # The coarser heads are not read by the finest scale.
        if not name.startswith(("decoder.11", "decoder.12", "decoder.13")):
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert model.pose is not None
    assert all(parameter.grad is None for parameter in model.pose.parameters())


def test_all_scales_reach_all_heads(narrow: None, batch: Batch) -> None:
    model = build(replace(RECIPE, d2s_scales="all"))
    run(model, batch, weight=1.0).d2s.backward()  # type: ignore[no-untyped-call]
    for head in (10, 11, 12, 13):
        gradient = model.depth.decoder[head].conv.weight.grad  # type: ignore[union-attr]
        assert isinstance(gradient, torch.Tensor) and gradient.abs().max() > 0


def test_weight_zero_gives_exactly_the_gradients_of_the_baseline(
    narrow: None, batch: Batch
) -> None:
    model, baseline = build(RECIPE), build(BASELINE)
    distilled, plain = gradients(model, batch, weight=0.0), gradients(baseline, batch, weight=0.0)
    assert plain.keys() <= distilled.keys()
    for name, gradient in plain.items():
        assert torch.equal(distilled[name], gradient), name
    for name in distilled.keys() - plain.keys():
        assert name.startswith("d2s.") and distilled[name].abs().max() == 0
    weighted = gradients(model, batch, weight=0.005)
    assert any(not torch.equal(weighted[name], plain[name]) for name in plain)


def test_the_gradient_grows_with_the_weight(narrow: None, batch: Batch) -> None:
    model = build(RECIPE).eval()
    name = "depth.decoder.10.conv.weight"
    base, one, two = (gradients(model, batch, weight=w)[name] for w in (0.0, 0.5, 1.0))
    torch.testing.assert_close(two - base, 2 * (one - base), rtol=1e-3, atol=1e-7)


def test_a_batch_of_ignored_pixels_gives_no_distillation(narrow: None, batch: Batch) -> None:
    assert batch.labels is not None
    ignored = replace(batch, labels=torch.full_like(batch.labels, 255))
    terms = run(build(RECIPE), ignored, weight=0.005)
    assert terms.d2s.item() == 0.0 and torch.isfinite(terms.total)


@pytest.mark.parametrize("kind", ["disparity", "depth", "log_depth"])
@pytest.mark.parametrize("layers", [0, 2, 4])
def test_every_input_and_size_gives_a_finite_loss(
    narrow: None, batch: Batch, kind: str, layers: int
) -> None:
    recipe = replace(RECIPE, d2s_input=kind, d2s_layers=layers)  # type: ignore[arg-type]
    assert torch.isfinite(run(build(recipe), batch, weight=0.005).total)


def test_motions_are_predicted_in_temporal_order(narrow: None, batch: Batch) -> None:
    model = build(BASELINE).eval()
    assert model.pose is not None
    target, earlier, later = torch.rand(3, 2, 3, 64, 64)
    backward, forward = model.motions(batch, (target, earlier, later))
    first = model.pose(earlier, target)[:, 0]
    second = model.pose(target, later)[:, 0]
    torch.testing.assert_close(backward, invert_pose(pose_matrix(first[:, :3], first[:, 3:])))
    torch.testing.assert_close(forward, pose_matrix(second[:, :3], second[:, 3:]))


def test_recorded_poses_take_the_place_of_the_pose_network(narrow: None, batch: Batch) -> None:
    model = build(replace(BASELINE, pose="oxts"))
    assert model.pose is None and batch.motions is not None
    images = tuple(torch.rand(3, 2, 3, 64, 64))
    backward, forward = model.motions(batch, images)
    assert torch.equal(backward, batch.motions[:, 0]) and torch.equal(forward, batch.motions[:, 1])
    assert torch.isfinite(run(model, batch, weight=0.0).total)


def test_losses_compare_the_originals_whatever_the_networks_see(narrow: None, batch: Batch) -> None:
    model = build(BASELINE).eval()
    blind = replace(batch, inputs=torch.zeros_like(batch.inputs))
    still = replace(blind, originals=batch.originals[:, :1].expand(-1, 3, -1, -1, -1))
    assert run(model, blind, weight=0.0).photometric.item() > 0.01
    assert run(model, still, weight=0.0).photometric.item() < 1e-3


def test_networks_see_the_jittered_images(narrow: None, batch: Batch) -> None:
    model = build(BASELINE)
    assert model.pose is not None
    seen: list[tuple[torch.Tensor, ...]] = []
    for network in (model.depth, model.pose):
        network.register_forward_pre_hook(lambda _, images: seen.append(images))
    inputs = torch.randint(0, 256, batch.inputs.shape, dtype=torch.uint8)
    run(model, replace(batch, inputs=inputs), weight=0.0)
    target, earlier, later = (inputs.float() / 255).unbind(1)
    expected = [(target,), (earlier, target), (target, later)]
    for images, wanted in zip(seen, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(images, wanted, strict=True))


def test_same_seed_same_weights_and_the_distilled_start_like_the_baseline(narrow: None) -> None:
    first, second = build(RECIPE).state_dict(), build(RECIPE).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    baseline = build(BASELINE).state_dict()
    assert all(torch.equal(first[key], baseline[key]) for key in baseline)
    other = build(replace(RECIPE, seed=1)).state_dict()
    assert not torch.equal(first["depth.encoder.conv1.weight"], other["depth.encoder.conv1.weight"])
