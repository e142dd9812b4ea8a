"""Malformed run folders and files of weights: of ours, of peers, of torchvision."""

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import fuzz, invoke, must_hold, restored
from golden import sin_filled, write_peer_folder
from malformed import (
    HUGE,
    Malformed,
    content,
    damaged,
    encoded,
    flipped,
    json_forms,
    no_files,
    numbered,
    overwritten,
    toml_forms,
)
from training_tree import TINY

from xdistill.teachers.weights.checkpoint import read_checkpoint
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.train import main as train
from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import new_training

pytestmark = pytest.mark.slow

Record = Callable[[str, Any], None]
BAD_NUMBERS = (b"nan", b"-inf", b"1e999", HUGE, b"'x'", b"")


@pytest.fixture
def resumed(run: Path) -> Callable[..., Callable[[], object]]:
    """Makes what resumes the run, with its output and last losses, and leaves it as it was."""

    def of(path: Path, *, steps: int = 1) -> Callable[[], object]:
        def resume() -> object:
            with restored(run, but=path):
                said = invoke(train, "--resume", "--out", run, "--steps", steps)
                if steps == 1:
                    return said
                last = (run / "metrics.jsonl").read_text().splitlines()[-1]
                return last.partition('"seconds')[0]

        return resume

    return of


@pytest.fixture
def evaluated(good: Path, fresh: Callable[[str], Path]) -> Callable[[Path], Callable[[], object]]:
    """Makes what scores a run, or a folder of published files."""
    truth = fresh(".h5")

    def of(run: Path) -> Callable[[], object]:
        def score() -> object:
            out = fresh(".json")
            where = ("--data", good / "kitti", "--split", good / "split.txt")
            invoke(evaluate, "--run", run, *where, "--ground-truth", truth, "--json", out)
            return json.loads(out.read_text())["per_image"]

        return score

    return of


def test_recipe_of_a_run(
    run: Path,
    resumed: Callable[..., Callable[[], object]],
    evaluated: Callable[[Path], Callable[[], object]],
    record_property: Record,
) -> None:
    path = run / "recipe.toml"
    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *toml_forms(data)]
    inputs += numbered(data, BAD_NUMBERS)
    first = data.split(b"\n")
    inputs += [content(f"without line {n}", b"\n".join(first[:n] + first[n + 1 :])) for n in (1, 9)]
    reports = [
        fuzz("recipe.toml, xd-train --resume", path, inputs, resumed(path)),
        fuzz("recipe.toml, xd-eval", path, inputs, evaluated(run)),
    ]
    must_hold(*reports, record=record_property, at_least=90)


def test_record_of_a_run(
    run: Path, resumed: Callable[..., Callable[[], object]], record_property: Record
) -> None:
    path = run / "run.json"
    data = path.read_bytes()
    inputs = [
        *damaged(data),
        *encoded(data),
        *no_files(),
        *json_forms(data, values=(-1,), levels=1),
    ]
    report = fuzz("run.json", path, inputs, resumed(path))
    must_hold(report, record=record_property, at_least=45)


def logs(good: bytes) -> Iterator[Malformed]:
    """Logs that a crash, an editor or another program has changed."""
    yield content("a blank line", b"\n" + good)
    yield content("a blank line at the end", good + b"\n")
    yield content("half a line at the end", good + good[: len(good) // 2])
    yield content("NUL bytes at the end", good + bytes(300))
    yield content("a line that is no object", b"[1]\n" + good)
    yield content("a line without step", b'{"loss": 1}\n' + good)
    yield content("a step of text", b'{"step": "one"}\n' + good)
    yield content("a step of nan", b'{"step": NaN}\n' + good)
    yield content("a step of 5000 digits", b'{"step": ' + b"9" * 5000 + b"}\n" + good)
    yield content("a line nested deeply", b"[" * 5000 + b"\n" + good)
    yield content("every line twice", good + good)


def test_log_of_a_run(
    run: Path, resumed: Callable[..., Callable[[], object]], record_property: Record
) -> None:
    path = run / "metrics.jsonl"
    data = path.read_bytes()
    inputs = [*damaged(data), *list(encoded(data))[:4], *no_files(), *logs(data)][::2]
    report = fuzz("metrics.jsonl", path, inputs, resumed(path))
    must_hold(report, record=record_property, at_least=14)


def saved(value: Any, **options: Any) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


class Hostile:
    """Runs a program where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('code of a pickle was run')",)


def pickles(good: bytes) -> Iterator[Malformed]:
    """Files of torch and pickle that hold no weights of this network."""
    weights = torch.load(io.BytesIO(good), weights_only=True)
    first = next(key for key, value in weights.items() if isinstance(value, torch.Tensor))
    tensor = weights[first]
    for name, value in {
        "a number": 7,
        "a list": [tensor],
        "a tensor": tensor,
        "text": "weights",
        "nothing": None,
        "an empty dictionary": {},
        "numbered keys": dict(enumerate(weights.values())),
        "a tensor too few": {k: v for k, v in weights.items() if k != first},
        "a tensor of another shape": {**weights, first: tensor[:1]},
        "a tensor without dimension": {**weights, first: torch.tensor(1.0)},
        "text for a tensor": {**weights, first: "x"},
        "a list for a tensor": {**weights, first: tensor.tolist()},
        "a sparse tensor": {**weights, first: tensor.to_sparse()},
        "complex numbers": {**weights, first: tensor.to(torch.complex64)},
        "a tensor without data": {**weights, first: tensor.to("meta")},
        "nan": {**weights, first: torch.full_like(tensor, float("nan"))},
        "inf": {**weights, first: torch.full_like(tensor, float("inf"))},
        "a hostile object": {**weights, first: Hostile()},
        "a pickled module": torch.nn.Conv2d(1, 1, 1),
        "an array": {**weights, first: np.ones(3)},
    }.items():
        yield content(name, saved(value))
    yield content("a plain pickle", pickle.dumps({"a": 1}))
    yield content("a hostile plain pickle", pickle.dumps(Hostile()))
    old = saved(weights, _use_new_zipfile_serialization=False)
    yield content("the old form, cut to a half", old[: len(old) // 2])
    yield content("the old form, cut by a byte", old[:-1])
    yield content("the old form, hostile", saved(Hostile(), _use_new_zipfile_serialization=False))
    yield content("cut by a byte", good[:-1])
    yield content("a zip of nothing", b"PK\x05\x06" + bytes(18))
    yield content("twice", good + good)
    array = io.BytesIO()
    np.savez(array, a=np.ones(3))
    yield content("an archive of numpy", array.getvalue())


def of_weights(good: bytes) -> list[Malformed]:
    """Malformed files of weights."""
    inputs = [*damaged(good), *no_files(), *flipped(good, 6), *overwritten(good, 2)]
    return [*inputs, *pickles(good)]


def test_checkpoint_of_a_run(
    run: Path,
    resumed: Callable[..., Callable[[], object]],
    evaluated: Callable[[Path], Callable[[], object]],
    record_property: Record,
) -> None:
    path = run / "checkpoint.pt"
    data = path.read_bytes()
    whole = torch.load(path, weights_only=True)
    inputs = [*damaged(data), *no_files(), *flipped(data, 12), *overwritten(data, 4)]
    first = next(iter(whole["depth"]))
    for name, changed in {
        "no dictionary": [whole],
        "another format": {**whole, "format": 99},
        "without format": {k: v for k, v in whole.items() if k != "format"},
        "without depth": {k: v for k, v in whole.items() if k != "depth"},
        "depth of another network": {**whole, "depth": {"a": torch.ones(3)}},
        "depth as a list": {**whole, "depth": [1]},
        "a weight of nan": {
            **whole,
            "depth": {**whole["depth"], first: torch.full_like(whole["depth"][first], np.nan)},
        },
        "a hostile object": {**whole, "extra": Hostile()},
    }.items():
        inputs.append(content(name, saved(changed)))
    of_training = [
        content(name, saved(changed))
        for name, changed in {
            "without step": {k: v for k, v in whole.items() if k != "step"},
            "a step of text": {**whole, "step": "one"},
            "a step of -1": {**whole, "step": -1},
            "a step of nan": {**whole, "step": float("nan")},
            "without optimiser": {k: v for k, v in whole.items() if k != "optimiser"},
            "an empty optimiser": {**whole, "optimiser": {}},
            "an optimiser of another network": {
                **whole,
                "optimiser": {"state": {0: {"step": 1}}, "param_groups": [{"params": [0]}]},
            },
            "random states of text": {**whole, "random_states": {"cpu": "x"}},
            "random states that are none": {**whole, "random_states": {"cpu": torch.ones(3)}},
        }.items()
    ]
    # A run without a checkpoint has none to go on from.
    reports = [
        fuzz(
            "checkpoint.pt, xd-train --resume", path, inputs + of_training, resumed(path, steps=2)
        ),
        fuzz("checkpoint.pt, xd-eval", path, inputs, evaluated(run)),
    ]
    must_hold(*reports, record=record_property, at_least=70)


@pytest.fixture(scope="module")
def peer(good: Path) -> Path:
    """A folder of Monodepth2's four files."""
    recipe = Recipe(name="peer", width=64, height=64, encoder_weights="none")
    model = new_training(recipe, device=torch.device("cpu")).model
    assert model.pose is not None
    files = {}
    for network, names in (
        (model.depth, ("encoder.pth", "depth.pth")),
        (model.pose, ("pose_encoder.pth", "pose.pth")),
    ):
        shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        for name, of_encoder in zip(names, (True, False), strict=True):
            own = {k: s for k, s in shapes.items() if k.startswith("encoder.") == of_encoder}
            files[name] = sin_filled(own)
    write_peer_folder(good / "peer", files, width=64, height=64)
    return good / "peer"


@pytest.mark.parametrize("name", ["encoder.pth", "depth.pth"])
def test_published_depth_networks(
    peer: Path,
    evaluated: Callable[[Path], Callable[[], object]],
    record_property: Record,
    name: str,
) -> None:
    path = peer / name
    report = fuzz(f"peer's {name}", path, of_weights(path.read_bytes()), evaluated(peer))
    must_hold(report, record=record_property, at_least=45)


@pytest.fixture
def started(good: Path, fresh: Callable[[str], Path]) -> Callable[..., Callable[[], object]]:
    """Makes what trains one step from given weights, with its losses."""

    def of(*sets: str) -> Callable[[], object]:
        def step() -> object:
            out = fresh("")
            where = ("--data", good / "kitti", "--split", "all", "--out", out, "--steps", 1)
            own = [part for text in sets for part in ("--set", text)]
            invoke(train, "--recipe", "monodepth2-rn18", *where, *TINY, *own)
            return (out / "metrics.jsonl").read_text().partition('"seconds')[0]

        return step

    return of


def test_published_pose_networks(
    peer: Path, started: Callable[..., Callable[[], object]], record_property: Record
) -> None:
    path = peer / "pose.pth"
    inputs = of_weights(path.read_bytes())
    # A folder without a pose network starts with a random one.
    inputs = [one for one in inputs if one.name not in ("missing", "a link to nothing")]
    report = fuzz("peer's pose.pth", path, inputs, started(f"init={peer}"))
    must_hold(report, record=record_property, at_least=45)


def test_weights_of_an_encoder(
    good: Path, started: Callable[..., Callable[[], object]], record_property: Record
) -> None:
    path = good / "encoder.pth"
    torch.save(ResNetEncoder("resnet18").state_dict(), path)
    action = started(f"encoder_weights={path}")
    report = fuzz("encoder_weights", path, of_weights(path.read_bytes()), action)
    must_hold(report, record=record_property, at_least=45)


def test_checkpoint_of_a_teacher(good: Path, record_property: Record) -> None:
    path = good / "teacher.pth"
    torch.save({"state_dict": ResNetEncoder("resnet18").state_dict(), "meta": {}}, path)

    def read() -> object:
        found = read_checkpoint(path)
        return {key: value.tolist() for key, value in found.state.items()}

    data = path.read_bytes()
    inputs = [*damaged(data), *no_files(), *flipped(data, 12), *overwritten(data, 4)]
    weights = torch.load(path, weights_only=True)["state_dict"]
    plain = saved(weights)
    # Whether tensors are of the network is asked where the network is known.
    inputs += [one for one in pickles(plain) if "hostile" in one.name or "cut" in one.name]
    for name, value in {
        "a state of text": {"state_dict": "x"},
        "a state of lists": {"state_dict": {"a": [1.0]}},
        "a state of nothing": {"state_dict": {}},
        "a list": [weights],
        "a number": 7,
    }.items():
        inputs.append(content(name, saved(value)))
    report = fuzz("teacher's checkpoint", path, inputs, read)
    must_hold(report, record=record_property, at_least=35)
