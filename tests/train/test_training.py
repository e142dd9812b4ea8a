import pytest
import torch

from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import TrainingError, choose_device, new_training, reproducible


def test_building_leaves_the_global_random_state_alone(narrow: None) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    new_training(Recipe(name="test"), device=torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


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
