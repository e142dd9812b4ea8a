import torch

from xdistill.train.networks.depth import depth_network
from xdistill.train.networks.hr_depth import _PUBLISHED, HRDepthDecoder, from_published
from xdistill.train.recipe.recipe import Recipe

CHANNELS = (64, 64, 128, 256, 512)


def decoder() -> HRDepthDecoder:
    return HRDepthDecoder(CHANNELS, decoder_channels=(16, 32, 64, 128, 256))


def test_every_parameter_has_its_published_name_once() -> None:
    modules = {name for name in _PUBLISHED if name}
    ours = {key for key, _ in decoder().named_parameters()}
    assert all(any(key.startswith(f"{name}.") for name in modules) for key in ours)
    assert len(modules) == len([name for name in _PUBLISHED if name])


def test_published_tensors_by_our_names() -> None:
    found = from_published(
        {
            "convs.X_31_attention.fc.0.weight": 0,
            "decoder.16.fc.0.weight": 1,
            "decoder.16.conv_se.bias": 2,
            "decoder.23.conv.weight": 3,
            "decoder.24.conv.conv.weight": 4,
            "decoder.0.conv.conv.weight": 5,
            "decoder.32.conv.bias": 6,
        }
    )
    assert found == {
        "join.31.squeeze.weight": 1,
        "join.31.mix.bias": 2,
        "join.02.0.weight": 3,
        "join.02.1.conv.conv.weight": 4,
        "heads.3.conv.bias": 6,
    }


def test_every_parameter_is_trained() -> None:
    network = depth_network(Recipe(name="test", encoder="narrow", decoder="hr-depth"))
    sum(d.square().mean() for d in network(torch.rand(1, 3, 64, 64))).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
