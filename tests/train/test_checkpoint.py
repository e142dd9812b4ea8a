import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from faulty_disk import Crash, FaultyDisk, Moment
from golden import Files, sin_filled, write_peer_folder

from xdistill.manifests.errors import WeightsError
from xdistill.manifests.weights import read_weights
from xdistill.train.checkpoint import (
    FILE_NAME,
    load_checkpoint,
    load_initial_networks,
    load_initial_weights,
    save_checkpoint,
)
from xdistill.train.depth_network import load_depth_network
from xdistill.train.recipe.file import dump_recipe
from xdistill.train.recipe.recipe import Recipe, RecipeError
from xdistill.train.training import Training, TrainingError, new_training

CPU = torch.device("cpu")
RECIPE = Recipe(name="test", width=96, height=64, distillation="d2s", max_depth=80.0)


@pytest.fixture
def training(narrow: None) -> Training:
    """A training that has gone some steps: optimiser state and random state are not fresh."""
    made = new_training(RECIPE, device=CPU)
    for parameter in made.model.parameters():
        parameter.grad = torch.rand_like(parameter)
    made.optimiser.step()
    torch.rand(5, generator=made.generator)
    made.step = 7
    return made


@pytest.fixture
def peer(training: Training, tmp_path: Path) -> Path:
    """A folder in the peer's form, with weights other than the training's."""
    files: Files = {}
    assert training.model.pose is not None
    for network, names in (
        (training.model.depth, ("encoder.pth", "depth.pth")),
        (training.model.pose, ("pose_encoder.pth", "pose.pth")),
    ):
        shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        encoder = {k: s for k, s in shapes.items() if k.startswith("encoder.")}
        encoder |= {"encoder.fc.weight": (1000, 32), "encoder.fc.bias": (1000,)}
        files[names[0]] = sin_filled(encoder)
        rest = {k: s for k, s in shapes.items() if not k.startswith("encoder.")}
        files[names[1]] = sin_filled(rest)
    write_peer_folder(tmp_path / "peer", files)
    return tmp_path / "peer"


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_everything_comes_back(training: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, training)
    other = new_training(replace(RECIPE, seed=9), device=CPU)
    load_checkpoint(tmp_path, other)
    assert same(training.model, other.model) and other.step == 7
    assert torch.equal(training.generator.get_state(), other.generator.get_state())
    first, second = training.optimiser.state_dict(), other.optimiser.state_dict()
    for number, state in first["state"].items():
        for key, value in state.items():
            assert torch.equal(second["state"][number][key], value)


def test_the_next_step_is_the_same_from_moments_in_another_layout(
    training: Training, tmp_path: Path
) -> None:
    path = save_checkpoint(tmp_path, training)
    content = torch.load(path, weights_only=True)
    for state in content["optimiser"]["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name].contiguous()
    torch.save(content, path)
    other = new_training(RECIPE, device=CPU)
    load_checkpoint(tmp_path, other)
    for mine, its in zip(training.model.parameters(), other.model.parameters(), strict=True):
        assert mine.grad is not None
        its.grad = mine.grad.clone()
    for made in (training, other):
        made.optimiser.step()
    assert same(training.model, other.model)


def test_checkpoint_has_tensors_and_plain_values_alone(training: Training, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, training)
    content = torch.load(path, weights_only=True)
    parts = {"format", "step", "depth", "pose", "d2s", "optimiser", "random_states"}
    assert content.keys() == parts
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_the_old_checkpoint_survives_a_write_that_fails(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path, training)
    before = path.read_bytes()

    def fail(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(TrainingError, match="No space left"):
        save_checkpoint(tmp_path, training)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_a_checkpoint_is_on_disk_once_it_is_written(training: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, training)
    for seed in range(4):
        training.step += 1
        faulty = FaultyDisk()
        with faulty.installed():
            path = save_checkpoint(tmp_path, training)
        faulty.lose_power(random.Random(seed))
        assert read_weights(path)["step"] == training.step


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_power_cut_leaves_the_old_checkpoint_or_the_new_one(
    training: Training, tmp_path: Path, moment: Moment
) -> None:
    path = save_checkpoint(tmp_path, training)
    for operation in range(3):  # The file's sync, the renaming, the folder's sync.
        faulty = FaultyDisk()
        faulty.arm(operation, moment)
        with faulty.installed(), pytest.raises(Crash):
            save_checkpoint(tmp_path, training)
        faulty.lose_power(random.Random(operation))
        assert read_weights(path)["step"] == 7


SPOILED = {
    "depth.encoder.conv1.weight": lambda made: made.model.depth.encoder.conv1.weight,
    "pose.encoder.bn1.running_var": lambda made: made.model.pose.encoder.bn1.running_var,
    "optimiser.state.0.exp_avg_sq": lambda made: made.optimiser.state_dict()["state"][0][
        "exp_avg_sq"
    ],
}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", SPOILED)
def test_what_is_not_finite_is_not_saved(
    training: Training, tmp_path: Path, name: str, value: float
) -> None:
    path = save_checkpoint(tmp_path, training)
    before = path.read_bytes()
    with torch.no_grad():
        spoiled = SPOILED[name](training)
        spoiled[(0,) * spoiled.dim()] = value
    with pytest.raises(TrainingError, match=f"^{name} is not finite after step 7\n"):
        save_checkpoint(tmp_path, training)
    assert path.read_bytes() == before


def test_random_state_of_another_device_is_drawn_anew(training: Training, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, training)
    content = torch.load(path, weights_only=True)
    content["random_states"] = {"cuda": torch.zeros(16, dtype=torch.uint8)}
    torch.save(content, path)
    other = new_training(RECIPE, device=CPU)
    load_checkpoint(tmp_path, other)
    assert other.generator.initial_seed() == RECIPE.seed + 7


def test_depth_network_of_a_run(training: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, training)
    (tmp_path / "recipe.toml").write_bytes(dump_recipe(RECIPE))
    network, recipe = load_depth_network(tmp_path, device=CPU)
    assert recipe == RECIPE and not network.training and same(network, training.model.depth)
    (tmp_path / "recipe.toml").write_bytes(b"")
    with pytest.raises(RecipeError, match="width"):
        load_depth_network(tmp_path, device=CPU)


def test_depth_network_of_published_files(peer: Path, training: Training) -> None:
    network, recipe = load_depth_network(peer, device=CPU)
    assert (recipe.name, recipe.encoder, recipe.size) == ("peer", "resnet18", (64, 96))
    assert recipe.distillation == "none" and not network.training
    load_initial_networks(training.model, peer)
    assert same(network, training.model.depth)


def test_init_from_published_files(peer: Path, training: Training) -> None:
    before = new_training(RECIPE, device=CPU).model
    started = new_training(RECIPE, device=CPU)
    load_initial_networks(started.model, peer)
    assert not same(started.model.depth, before.depth)
    assert started.model.pose is not None and before.pose is not None
    assert not same(started.model.pose, before.pose)
    assert started.model.d2s is not None and before.d2s is not None
    assert same(started.model.d2s, before.d2s)


def test_init_from_another_run(training: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, training)
    started = new_training(replace(RECIPE, seed=3), device=CPU)
    load_initial_networks(started.model, tmp_path)
    assert same(started.model, training.model) and started.step == 0
    assert started.optimiser.state_dict()["state"] == {}


@pytest.mark.parametrize("file", ["depth.pth", "pose.pth", "pose_encoder.pth"])
def test_a_published_file_that_is_missing_or_lacks_a_key_is_named(
    peer: Path, training: Training, file: str
) -> None:
    weights = torch.load(peer / file, weights_only=True)
    lost = sorted(weights)[0]
    del weights[lost]
    torch.save(weights, peer / file)
    with pytest.raises(WeightsError, match=rf"missing \(1\): {lost}"):
        load_initial_networks(training.model, peer)
    (peer / file).unlink()
    with pytest.raises(WeightsError):
        load_initial_networks(training.model, peer)


def test_init_without_a_folder(training: Training, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the folder of init does not exist"):
        load_initial_networks(training.model, tmp_path / "absent")


def test_none_leaves_the_random_weights(narrow: None) -> None:
    started = new_training(replace(RECIPE, encoder_weights="none"), device=CPU)
    before = new_training(RECIPE, device=CPU).model
    load_initial_weights(started)
    assert same(started.model, before)


def test_an_encoder_without_published_weights_says_so() -> None:
    started = new_training(replace(RECIPE, encoder="narrow"), device=CPU)
    with pytest.raises(RecipeError) as caught:
        load_initial_weights(started)
    assert "encoder_weights is 'imagenet'" in str(caught.value)
    assert "expected: encoder_weights none" in str(caught.value)


def test_a_folder_without_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the folder holds no checkpoint"):
        load_depth_network(tmp_path, device=CPU)


def test_other_formats_and_missing_parts_are_named(training: Training, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, training)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "format": 99}, path)
    with pytest.raises(WeightsError, match="format 99"):
        load_checkpoint(tmp_path, training)
    del content["d2s"]
    torch.save(content, path)
    with pytest.raises(WeightsError, match="the checkpoint has no d2s"):
        load_checkpoint(tmp_path, training)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(step="many"), "its step is 'many'"),
        (lambda c: c.pop("step"), "its step is None"),
        (lambda c: c["random_states"].update(cpu=torch.ones(3)), "its random state is no"),
        (lambda c: c["optimiser"].update(state=c["optimiser"]), "its optimiser is not of"),
        (lambda c: c["optimiser"].pop("param_groups"), "its optimiser is not of these networks"),
        (lambda c: c["optimiser"]["state"].update({0: {"step": 1}}), "its optimiser is not of"),
        (
            lambda c: c["optimiser"]["state"][0].update(exp_avg=torch.ones(1)),
            "its optimiser is not of these networks",
        ),
        (
            lambda c: c["optimiser"]["state"][0]["exp_avg"].fill_(float("nan")),
            "optimiser.state.0.exp_avg is not finite",
        ),
    ],
)
def test_a_checkpoint_that_does_not_continue_the_run_is_refused(
    training: Training, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    path = save_checkpoint(tmp_path, training)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(WeightsError, match=f"^the checkpoint does not continue this run: {told}"):
        load_checkpoint(tmp_path, training)


@pytest.mark.parametrize("read", ["resume", "evaluate", "init"])
def test_a_weight_that_is_not_finite_is_not_read(
    training: Training, tmp_path: Path, read: str
) -> None:
    path = save_checkpoint(tmp_path, training)
    (tmp_path / "recipe.toml").write_bytes(dump_recipe(RECIPE))
    content = torch.load(path, weights_only=True)
    content["depth"]["encoder.conv1.weight"][0, 0, 0, 0] = float("inf")
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"^weights are not finite: encoder\.conv1\.weight\n"):
        if read == "resume":
            load_checkpoint(tmp_path, training)
        elif read == "init":
            load_initial_networks(training.model, tmp_path)
        else:
            load_depth_network(tmp_path, device=CPU)


def test_a_file_that_no_run_wrote(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / FILE_NAME)
    told = r"^checkpoint\.pt is no run's checkpoint; its entries: state_dict, epoch\n"
    with pytest.raises(WeightsError, match=told):
        load_depth_network(tmp_path, device=CPU)


def test_a_checkpoint_cut_short_is_reported(training: Training, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, training)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"^checkpoint.pt is cut short or damaged"):
        load_checkpoint(tmp_path, training)
