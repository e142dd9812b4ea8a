"""A teacher's checkpoint: state dicts as they are and wrapped, and their class names."""

from pathlib import Path

import pytest
import torch

from xdistill.manifests.errors import WeightsError
from xdistill.teachers.weights.checkpoint import read_checkpoint

WEIGHT = torch.arange(6.0).reshape(2, 3)


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_plain_and_wrapped_state_dicts(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.pth", {"a.weight": WEIGHT})
    inner = {"module.a.weight": WEIGHT}
    wrapped = save(tmp_path / "wrapped.pth", {"state_dict": inner, "epoch": 3})
    for path in (plain, wrapped):
        found = read_checkpoint(path)
        assert found.state.keys() == {"a.weight"} and torch.equal(found.state["a.weight"], WEIGHT)
        assert found.classes is None


@pytest.mark.parametrize(
    "meta", [{"dataset_meta": {"classes": ["road", "car"]}}, {"CLASSES": ("road", "car")}]
)
def test_class_names_old_and_new(tmp_path: Path, meta: dict[str, object]) -> None:
    path = save(tmp_path / "x.pth", {"state_dict": {"a": WEIGHT}, "meta": meta})
    assert read_checkpoint(path).classes == ("road", "car")


@pytest.mark.parametrize("content", [[], {}, {"state_dict": {}}, {"epoch": 3}, "text", 5])
def test_files_without_weights(tmp_path: Path, content: object) -> None:
    with pytest.raises(
        WeightsError, match=r"^x.pth holds (no tensors; its entries: |a (list|str|int)\n)"
    ):
        read_checkpoint(save(tmp_path / "x.pth", content))
