import pytest
import torch

from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import (
    TrainingError,
    choose_device,
    d2s_weight,
    learning_rate,
    new_training,
    reduction,
    reproducible,
)


def test_building_leaves_the_global_random_state_alone(narrow: None) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    new_training(Recipe(name="test"), device=torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_and_weights_keep_channels_beside_each_other(narrow: None) -> None:
    made = new_training(Recipe(name="test", distillation="d2s"), device=torch.device("cpu"))
    for name, weight in made.model.named_parameters():
        assert weight.dim() != 4 or weight.is_contiguous(memory_format=torch.channels_last), name


def test_deterministic_kernels_are_asked_for_while_training_alone() -> None:
    cpu = torch.device("cpu")
    assert not torch.are_deterministic_algorithms_enabled()
    with reproducible(Recipe(name="test"), device=cpu):
        assert torch.are_deterministic_algorithms_enabled()
        with reproducible(Recipe(name="test", deterministic=False), device=cpu):
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_device_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert choose_device(None).type == expected
        assert choose_device("cpu").type == "cpu"
    with pytest.raises(TrainingError, match="no CUDA device"):
        choose_device("cuda")


def recipe(**values: object) -> Recipe:
    return Recipe(name="test", **({"distillation": "d2s"} | values))  # type: ignore[arg-type]


def test_rate_drops_for_the_last_five_of_twenty_epochs() -> None:
    rates = [learning_rate(recipe(), step, length=20 * 7) for step in range(1, 141)]
    assert rates[: 15 * 7] == [1e-4] * 105
    assert rates[15 * 7 :] == pytest.approx([1e-5] * 35)


def test_rate_drops_at_the_same_share_of_schedule_steps() -> None:
    rates = [learning_rate(recipe(), step, length=8) for step in range(1, 9)]
    assert rates == pytest.approx([1e-4] * 6 + [1e-5] * 2)


@pytest.mark.parametrize("epoch", [None, 21])
def test_rate_stays_without_a_drop_within_the_epochs(epoch: int | None) -> None:
    assert learning_rate(recipe(lr_drop_epoch=epoch), 140, length=140) == 1e-4


def test_linear_weight_runs_from_zero_to_full() -> None:
    weights = [d2s_weight(recipe(), step, length=11) for step in range(1, 12)]
    assert weights == pytest.approx([0.0005 * step for step in range(11)])
    assert weights[0] == 0.0 and weights[-1] == 0.005


def test_linear_weight_stays_full_beyond_the_schedule() -> None:
    assert d2s_weight(recipe(), 500, length=11) == 0.005


def test_a_schedule_of_one_step_starts_at_zero() -> None:
    assert d2s_weight(recipe(), 1, length=1) == 0.0


def test_constant_weight() -> None:
    constant = recipe(d2s_schedule="constant", d2s_weight=0.02)
    assert [d2s_weight(constant, step, length=3) for step in (1, 2, 3)] == [0.02] * 3


def test_no_weight_without_distillation() -> None:
    assert d2s_weight(recipe(distillation="none"), 5, length=5) == 0.0


def test_auto_mask_starts_after_its_share_of_the_schedule() -> None:
    late = Recipe(name="test", automask_start=0.5)
    assert [reduction(late, step, length=6) for step in range(1, 7)] == [
        *["mean"] * 3,
        *["automask"] * 3,
    ]


def test_monodepth2_has_the_auto_mask_from_the_first_step() -> None:
    assert reduction(Recipe(name="test"), 1, length=100) == "automask"
