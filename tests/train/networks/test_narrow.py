import pytest
import torch

from xdistill.train.networks.narrow import CHANNELS, NarrowEncoder


def test_five_features_halve_their_size() -> None:
    features = NarrowEncoder()(torch.rand(2, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (2, channels, 64 // 2**n, 96 // 2**n) for n, channels in enumerate(CHANNELS, 1)
    ]


def test_it_is_a_sixteenth_of_resnet18() -> None:
    parameters = sum(p.numel() for p in NarrowEncoder().parameters())
    assert parameters < 11_200_000 / 16


def test_every_parameter_gets_a_gradient() -> None:
    encoder = NarrowEncoder()
    sum(feature.sum() for feature in encoder(torch.rand(1, 3, 64, 64))).backward()
    without = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_features_depend_on_the_image(shift: float) -> None:
    encoder = NarrowEncoder().eval()
    image = torch.rand(1, 3, 64, 64) * 0.5
    same = torch.equal(encoder(image)[-1], encoder(image + shift)[-1])
    assert same == (shift == 0.0)
