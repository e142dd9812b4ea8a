import sys
from pathlib import Path

import pytest
import torch

from xdistill.train import networks
from xdistill.train.model import depth_network, depth_networks
from xdistill.train.recipe.recipe import Recipe, RecipeError

FILE = """
from xdistill.train.networks.depth import DepthDecoder, DepthNetwork
from xdistill.train.networks.narrow import CHANNELS, NarrowEncoder

DEPTH_NETWORKS = {"mine": lambda recipe: DepthNetwork(NarrowEncoder(), DepthDecoder(CHANNELS))}
"""


def test_a_new_file_adds_a_depth_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    depth_networks.cache_clear()
    try:
        network = depth_network(Recipe(name="test", encoder="mine"))
        assert network(torch.rand(1, 3, 64, 64))[0].shape == (1, 1, 64, 64)
    finally:
        depth_networks.cache_clear()
        sys.modules.pop(f"{networks.__name__}.mine", None)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError) as caught:
        depth_network(Recipe(name="test", encoder="resnet19"))
    message = str(caught.value)
    assert "encoder is 'resnet19', which is unknown" in message
    assert "expected: one of narrow, resnet18, resnet34, resnet50" in message


@pytest.mark.parametrize("encoder", depth_networks())
def test_every_network_gives_four_scales(encoder: str) -> None:
    network = depth_network(Recipe(name="test", encoder=encoder)).eval()
    with torch.no_grad():
        sizes = [tuple(d.shape[2:]) for d in network(torch.rand(1, 3, 64, 96))]
    assert sizes == [(64, 96), (32, 48), (16, 24), (8, 12)]
