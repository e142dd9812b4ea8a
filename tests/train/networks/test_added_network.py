import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from xdistill.train import networks
from xdistill.train.networks import depth, hr_depth
from xdistill.train.networks.depth import decoders, depth_network, encoders
from xdistill.train.recipe.recipe import Recipe, RecipeError

FILE = """
from xdistill.train.networks.depth import monodepth2
from xdistill.train.networks.narrow import NarrowEncoder

ENCODERS = {"mine": lambda recipe: NarrowEncoder()}
DECODERS = {"also mine": monodepth2}
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more file in the folder of networks."""
    (tmp_path / "mine.py").write_text(FILE)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    depth._tables.cache_clear()
    yield
    depth._tables.cache_clear()
    sys.modules.pop(f"{networks.__name__}.mine", None)


def test_a_new_file_adds_an_encoder_and_a_decoder(added: None) -> None:
    network = depth_network(Recipe(name="test", encoder="mine", decoder="also mine"))
    assert network(torch.rand(1, 3, 64, 64))[0].shape == (1, 1, 64, 64)


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("encoder", "narrow, resnet101, resnet18, resnet34, resnet50, timm:NAME"),
        ("decoder", "hr-depth, monodepth2"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(key: str, known: str) -> None:
    with pytest.raises(RecipeError) as caught:
        depth_network(Recipe(name="test", **{key: "resnet19"}))  # type: ignore[arg-type]
    message = str(caught.value)
    assert f"{key} is 'resnet19', which is unknown" in message
    assert f"expected: one of {known}" in message


@pytest.mark.parametrize("decoder", decoders())
@pytest.mark.parametrize("encoder", [name for name in encoders() if ":" not in name])
def test_every_network_gives_four_scales(narrow: None, encoder: str, decoder: str) -> None:
    recipe = Recipe(name="test", encoder=encoder, decoder=decoder)
    few = min(encoders()[encoder](recipe).channels) < hr_depth.REDUCTION
    if few and decoder == "hr-depth":
        with pytest.raises(RecipeError, match="decoder hr-depth cannot read encoder"):
            depth_network(recipe)
        return
    network = depth_network(recipe).eval()
    with torch.no_grad():
        sizes = [tuple(d.shape[2:]) for d in network(torch.rand(1, 3, 64, 96))]
    assert sizes == [(64, 96), (32, 48), (16, 24), (8, 12)]
