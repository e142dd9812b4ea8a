"""Damage to checkpoints of runs and of peers: told, or without effect on any weight."""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden import write_peer_folder
from torch import Tensor

from xdistill.manifests.errors import WeightsError, XDistillError
from xdistill.train.checkpoint import (
    FILE_NAME,
    load_checkpoint,
    load_initial_networks,
    save_checkpoint,
)
from xdistill.train.depth_network import load_depth_network
from xdistill.train.recipe.file import dump_recipe
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import Training, new_training

CPU = torch.device("cpu")
TINY = Recipe(name="tiny", width=64, height=64, distillation="d2s", encoder_weights="none")
ADVICE = ("weights_only", "safe_globals", "torch.load", "Traceback")
State = dict[str, Tensor]


@pytest.fixture
def training(narrow: None) -> Training:
    """A training that has gone one step."""
    made = new_training(TINY, device=CPU)
    for parameter in made.model.parameters():
        parameter.grad = torch.rand_like(parameter)
    made.optimiser.step()
    made.step = 1
    return made


@pytest.fixture
def run(training: Training, tmp_path: Path) -> Path:
    """Its run folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_checkpoint(folder, training)
    (folder / "recipe.toml").write_bytes(dump_recipe(TINY))
    return folder


@pytest.fixture
def peer(training: Training, tmp_path: Path) -> Path:
    """Its networks as Monodepth2 saves them."""
    files: dict[str, State] = {}
    assert training.model.pose is not None
    for network, names in (
        (training.model.depth, ("encoder.pth", "depth.pth")),
        (training.model.pose, ("pose_encoder.pth", "pose.pth")),
    ):
        state = network.state_dict()
        encoder = {key: value for key, value in state.items() if key.startswith("encoder.")}
        files[names[0]] = encoder
        files[names[1]] = {key: v for key, v in state.items() if key not in encoder}
    write_peer_folder(tmp_path / "peer", files, width=64)
    return tmp_path / "peer"


def damages(content: bytes, *, flips: int, cuts: int) -> Iterator[tuple[str, bytes]]:
    """Bits flipped and ends cut over the whole file, at seeded places."""
    chance = random.Random(20211122)
    for part in range(flips):
        flipped = bytearray(content)
        place = (part + chance.random()) * len(content) / flips
        flipped[int(place)] ^= 1 << chance.randrange(8)
        yield f"a bit of byte {int(place)}", bytes(flipped)
    for part in range(cuts):
        length = int((part + chance.random()) * len(content) / cuts)
        yield f"the first {length} bytes", content[:length]


def require_told_or_harmless(read: Callable[[], State], expected: State, *, what: str) -> bool:
    """Whether damage is told; if it is not, every weight must be what it was."""
    try:
        found = read()
    except XDistillError as error:
        message = str(error)
        assert "what to do:" in message and not any(word in message for word in ADVICE), what
        return True
    assert found.keys() == expected.keys(), what
    assert all(torch.equal(found[key], expected[key]) for key in expected), what
    return False


@pytest.mark.slow
def test_damage_to_a_runs_checkpoint(training: Training, run: Path) -> None:
    path, told = run / FILE_NAME, 0
    content, expected = path.read_bytes(), training.model.depth.state_dict()

    def read() -> State:
        return load_depth_network(run, device=CPU)[0].state_dict()

    for what, damaged in damages(content, flips=50, cuts=10):
        path.write_bytes(damaged)
        told += require_told_or_harmless(read, expected, what=what)
    assert told >= 50


@pytest.mark.slow
@pytest.mark.parametrize("file", ["encoder.pth", "depth.pth"])
def test_damage_to_a_peers_files(training: Training, peer: Path, file: str) -> None:
    path, told = peer / file, 0
    content, expected = path.read_bytes(), training.model.depth.state_dict()

    def read() -> State:
        return load_depth_network(peer, device=CPU)[0].state_dict()

    for what, damaged in damages(content, flips=20, cuts=5):
        path.write_bytes(damaged)
        told += require_told_or_harmless(read, expected, what=f"{file}: {what}")
    assert told >= 20


def test_damage_is_told_before_a_training_goes_on(training: Training, run: Path) -> None:
    path = run / FILE_NAME
    content = path.read_bytes()
    moments = bytes(training.optimiser.state_dict()["state"][0]["exp_avg"].untyped_storage())
    place = content.index(moments)
    path.write_bytes(
        content[: place + 3] + bytes([content[place + 3] ^ 0x40]) + content[place + 4 :]
    )
    with pytest.raises(WeightsError, match=r"^checkpoint\.pt is damaged: its part 'data/\d+' does"):
        load_checkpoint(run, training)
    with pytest.raises(WeightsError, match="is damaged"):
        load_initial_networks(training.model, run)


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("depth.pth", "encoder.pth", "encoder.pth holds no encoder .* look like a depth decoder"),
        ("encoder.pth", "depth.pth", "depth.pth holds no depth .* look like an encoder"),
        ("pose.pth", "depth.pth", "depth.pth holds no depth .* look like a pose decoder"),
        ("pose_encoder.pth", "encoder.pth", "encoder.pth does not say the size"),
        ("recipe.toml", "encoder.pth", 'encoder.pth is text: \'name = "tiny"'),
        ("checkpoint.pt", "depth.pth", "depth.pth holds no tensors; its entries: format, step"),
    ],
)
def test_files_in_each_others_place(
    run: Path, peer: Path, source: str, target: str, told: str
) -> None:
    origin = run if (run / source).exists() else peer
    shutil.copyfile(origin / source, peer / target)
    with pytest.raises(WeightsError, match=f"^{told}"):
        load_depth_network(peer, device=CPU)


def test_the_checkpoint_of_another_recipe(training: Training, run: Path, tmp_path: Path) -> None:
    other = new_training(replace(TINY, encoder="resnet34"), device=CPU)
    save_checkpoint(run, other)
    with pytest.raises(WeightsError, match=r"unexpected \(\d+\): encoder.layer1.2"):
        load_depth_network(run, device=CPU)
    with pytest.raises(WeightsError, match=r"unexpected \(\d+\): encoder.layer1.2"):
        load_checkpoint(run, training)
