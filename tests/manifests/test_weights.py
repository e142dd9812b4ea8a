"""Files of weights: harmless extras are read past, everything else is refused unread."""

import argparse
import copy
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xdistill.manifests.errors import WeightsError
from xdistill.manifests.inert import Inert, NumberType, number
from xdistill.manifests.memory import MemoryShortError
from xdistill.manifests.weights import differences, load_strictly, read_weights, tensors_of

WEIGHT = torch.arange(6.0).reshape(2, 3)


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def training_log() -> dict[str, Any]:
    """What mmengine's runner writes beside the weights."""
    logging = pytest.importorskip("mmengine.logging")

    hub = logging.MessageHub("a training run")
    for loss in (1.5, np.float64(1.25), np.float32(1.0)):
        hub.update_scalar("train/loss", loss)
    hub.update_info("iter", np.int64(3))
    hub.update_info("done", np.bool_(True))
    state: dict[str, Any] = hub.state_dict()
    return state


def test_mmengines_training_log_is_read_past(tmp_path: Path) -> None:
    content = {"state_dict": {"a": WEIGHT}, "message_hub": training_log(), "meta": {"iter": 3}}
    path = save(tmp_path / "x.pth", content)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert torch.equal(read_weights(path)["state_dict"]["a"], WEIGHT)


def test_numpys_older_module_names(tmp_path: Path) -> None:
    """numpy 1 wrote numpy.core where numpy 2 writes numpy._core."""
    path = save(tmp_path / "new.pth", {"state_dict": {"a": WEIGHT}, "message_hub": training_log()})
    old = tmp_path / "old.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"numpy._core" in content
                content = content.replace(b"numpy._core", b"numpy.core")
            target.writestr(entry, content)
    assert torch.equal(read_weights(old)["state_dict"]["a"], WEIGHT)


class Malicious:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("place", ["top", "state_dict", "message_hub"])
@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_pickle_is_refused_and_never_run(
    tmp_path: Path, place: str, zipped: bool
) -> None:
    victim = tmp_path / "created_by_the_pickle"
    attack = Malicious(os.system, f"touch {victim}")
    content: Any = {"state_dict": {"a": WEIGHT}}
    if place == "top":
        content = attack
    else:
        content.setdefault(place, {})["attack"] = attack
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="holds more than data") as caught:
        read_weights(path)
    assert "system" in str(caught.value) and not victim.exists()
    assert "weights_only" not in str(caught.value), "no advice on unsafe loading"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_short_is_told_in_our_words(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(9000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert str(caught.value).startswith("x.pth is cut short or damaged: 20000 bytes\n")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "x.pth", {"a": WEIGHT})
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(WeightsError, match=r"^x.pth cannot be read: Permission denied\n"):
        read_weights(path)


def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried")

    path = save(tmp_path / "x.pth", {"a": WEIGHT})
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(MemoryShortError, match=r"^out of memory(.|\n)*a --device with more memory"):
        read_weights(path)


def test_of_many_different_keys_ten_are_named() -> None:
    assert differences({"missing": [], "unexpected": ["a"]}) == "unexpected (1): a"
    found = {"missing": [f"m{i}" for i in range(300)], "unexpected": [f"u{i}" for i in range(5)]}
    assert differences(found) == (
        "missing (300): m0, m1, m2, m3, m4, ...; unexpected (5): u0, u1, u2, u3, u4"
    )


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^gone.pth does not exist\n"):
        read_weights(tmp_path / "gone.pth")


@pytest.mark.parametrize("zipped", [True, False])
@settings(max_examples=30)
@given(data=st.data())
def test_damaged_files_never_end_in_anything_else(
    tmp_path_factory: pytest.TempPathFactory, zipped: bool, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damage") / "x.pth"
    torch.save({"state_dict": {"a": WEIGHT}}, path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    position = data.draw(st.integers(0, max(0, cut - 1)))
    content[position : position + 1] = data.draw(st.binary(max_size=4))
    path.write_bytes(content[:cut])
    try:
        read_weights(path)
    except WeightsError:
        return


def test_other_content_than_a_dictionary(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^x.pth holds a list\n"):
        read_weights(save(tmp_path / "x.pth", [1, 2]))


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.touch()
    with pytest.raises(WeightsError, match="^x.pth is empty\n"):
        read_weights(path)


def test_missing_unexpected_and_reshaped_keys_are_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    before = copy.deepcopy(network.state_dict())
    weights = dict(before) | {"1.weight": torch.ones(3), "extra": torch.ones(1), "0.bias": 5}
    del weights["1.bias"]
    with pytest.raises(WeightsError) as caught:
        load_strictly(network, weights, where=Path("w.pth"))
    message = str(caught.value)
    assert "missing (1): 1.bias; unexpected (1): extra; of another shape (2): " in message
    assert "0.bias ('no tensor',) for (2,), 1.weight (3,) for (2,)\n" in message
    assert "where: w.pth" in message and "7 tensors of Sequential" in message
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_what_decides_nothing_may_be_missing_or_left_over() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    weights = {key: torch.full_like(value, 7) for key, value in network.state_dict().items()}
    del weights["1.num_batches_tracked"], weights["0.bias"]
    weights["0.more"] = torch.ones(1)
    with pytest.raises(WeightsError, match=r"missing \(1\): 0.bias; unexpected \(1\): 0.more\n"):
        load_strictly(network, weights, where=Path("w.pth"))
    load_strictly(network, weights, where=Path("w.pth"), idle=("0.bias", "0.more"))
    assert (network[0].weight == 7).all() and (network[1].running_var == 7).all()


def test_a_weight_of_another_kind_of_numbers_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    own = network.state_dict()
    kinds = {
        "whole": torch.ones(2, dtype=torch.int8),
        "complex": torch.ones(2, dtype=torch.complex64),
        "without data": torch.ones(2, device="meta"),
        "quantised or sparse": torch.ones(2).to_sparse(),
    }
    for kind, value in kinds.items():
        told = rf"keys of another type \(1\): 1\.bias {kind} for floating\n"
        with pytest.raises(WeightsError, match=told):
            load_strictly(network, own | {"1.bias": value}, where=Path("w.pth"))
    halves = {key: value.half() + 1 for key, value in own.items()}
    load_strictly(network, halves, where=Path("w.pth"))
    assert torch.equal(network[1].bias, torch.ones(2)) and network[1].bias.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_in_the_network_are_refused(value: float) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    before = copy.deepcopy(network.state_dict())
    weights = {key: v.double() for key, v in before.items()}
    weights["1.running_var"][1] = value
    with pytest.raises(WeightsError, match=r"^weights are not finite: 1\.running_var\n"):
        load_strictly(network, weights, where=Path("w.pth"))
    assert all(torch.equal(v, before[key]) for key, v in network.state_dict().items())


@pytest.mark.parametrize(
    "content",
    [
        {"a.weight": WEIGHT},
        {"module.a.weight": WEIGHT, "epoch": 3, "args": {"lr": 1e-4}},
        {"state_dict": {"a.weight": WEIGHT}, "optimizer": {"a.weight": "no"}},
        {"model": {"module.a.weight": WEIGHT, "a.total_ops": WEIGHT, "total_params": WEIGHT}},
        {"checkpoint": 1, "params": {"state_dict": {"a.weight": WEIGHT}}},
    ],
)
def test_tensors_are_found_where_checkpoints_keep_them(content: dict[str, Any]) -> None:
    found = tensors_of(content, where=Path("w.pth"))
    assert found.keys() == {"a.weight"} and torch.equal(found["a.weight"], WEIGHT)


def test_a_dictionary_that_holds_itself(tmp_path: Path) -> None:
    content: dict[Any, Any] = {"a.weight": WEIGHT, 7: WEIGHT}
    content["model"] = content
    path = save(tmp_path / "x.pth", content)
    found = tensors_of(read_weights(path), where=path)
    assert found.keys() == {"a.weight", "7"}
    with pytest.raises(WeightsError, match=r"unexpected \(3\): a\.weight, 7, model\n"):
        load_strictly(nn.Identity(), read_weights(path), where=path)


def test_a_weight_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", {"a.bias": WEIGHT, "a.weight": np.ones(3)})
    with pytest.raises(WeightsError, match=r"^x\.pth holds 1 weights that are no tensors: a\.wei"):
        tensors_of(read_weights(path), where=path)


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_and_options_beside_the_weights(tmp_path: Path, zipped: bool) -> None:
    sizes: dict[str, Any] = {
        "height": np.int64(192),
        "width": np.array(640, dtype=">i4")[()],
        "scale": np.float32(0.5),
        "stereo": np.bool_(True),
        "opt": argparse.Namespace(height=1, log_dir=Path("logs")),
    }
    path = tmp_path / "x.pth"
    torch.save({**sizes, "a": WEIGHT}, path, _use_new_zipfile_serialization=zipped)
    found = read_weights(path)
    assert [found[key] for key in list(sizes)[:-1]] == [192, 640, 0.5, True]
    assert type(found["height"]) is int and torch.equal(found["a"], WEIGHT)


def test_numbers_that_numpy_would_not_write_are_inert() -> None:
    kind = NumberType("i8")
    assert number(kind, bytes([5, *[0] * 7])) == 5
    for strange in (number(kind, b"12"), number("i8", bytes(8)), number(NumberType("O"), bytes(8))):
        assert isinstance(strange, Inert)
