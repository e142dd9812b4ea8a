import math

import pytest
import torch
from torch import nn

from xdistill.train.networks.d2s import D2SNetwork, d2s_input
from xdistill.train.networks.depth import depth_network
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.recipe.recipe import Recipe

RN18 = Recipe(name="test")
PARAMETERS: dict[str, int] = {
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
}
"""The published totals (torchvision's documentation) less the classifier."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_encoders_have_the_published_size(name: str) -> None:
    count = sum(parameter.numel() for parameter in ResNetEncoder(name).parameters())
    assert count == PARAMETERS[name]


def test_disparities_at_four_scales_finest_first(narrow: None) -> None:
    disparities = depth_network(RN18)(torch.rand(2, 3, 64, 96))
    assert [tuple(d.shape) for d in disparities] == [
        (2, 1, 64, 96),
        (2, 1, 32, 48),
        (2, 1, 16, 24),
        (2, 1, 8, 12),
    ]
    assert all(0 < d.min() and d.max() < 1 for d in disparities)


def test_every_parameter_is_trained(narrow: None) -> None:
    networks = nn.ModuleList([depth_network(RN18), PoseNetwork("resnet18")])
    image = torch.rand(2, 3, 64, 64)
    depth, pose = networks
    loss = sum(d.square().mean() for d in depth(image)) + pose(image, image.flip(0)).square().sum()
    loss.backward()
    silent = [name for name, p in networks.named_parameters() if p.grad is None]
    assert silent == []


def test_pose_is_small_at_the_start_and_depends_on_the_order(narrow: None) -> None:
    torch.manual_seed(0)
    network = PoseNetwork("resnet18").eval()
    first, second = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    motions = network(first, second)
    assert motions.shape == (1, 2, 6)
    assert motions.abs().max() < 0.1
    assert not torch.equal(motions, network(second, first))


@pytest.mark.parametrize("layers", [0, 2, 4])
def test_d2s_sizes_of_table_6(layers: int) -> None:
    network = D2SNetwork(layers=layers, channels=8, groups=4)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(3, 3)] * layers + [(1, 1)]
    assert len([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]) == layers
    assert len([m for m in network.modules() if isinstance(m, nn.ReLU)]) == layers
    assert network(torch.rand(2, 1, 6, 8)).shape == (2, 4, 6, 8)


def test_d2s_does_not_know_the_border() -> None:
    logits = D2SNetwork(layers=2, channels=8, groups=4).eval()(torch.full((1, 1, 6, 8), 0.4))
    torch.testing.assert_close(logits, logits[:, :, :1, :1].expand_as(logits))


@pytest.mark.parametrize(
    ("kind", "expected"), [("disparity", 0.5), ("depth", 1.6), ("log_depth", math.log(1.6))]
)
def test_inputs_by_hand(kind: str, expected: float) -> None:
    # Between 1/4 and 1: 0.625 at a sigmoid of one half.
    found = d2s_input(torch.full((1, 1, 1, 1), 0.5), kind, min_depth=1.0, max_depth=4.0)
    assert found.item() == pytest.approx(expected)
