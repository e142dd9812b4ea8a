import torch

from xdistill.train.networks.cost_volume import (
    FORWARD,
    RADIUS_X,
    RADIUS_Y,
    CostVolumePoseNetwork,
    cost_volume,
)

SIZE = (64, 96)


def textured(seed: int = 3) -> torch.Tensor:
    """Random pairs of pixels, so that halving keeps the texture."""
    small = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(seed))
    return small.repeat_interleave(2, 2).repeat_interleave(2, 3)


def window(image: torch.Tensor, *, right: int, down: int) -> torch.Tensor:
    """A frame out of a larger image, its corner ``right`` and ``down`` half-size pixels away."""
    y, x = 2 * (4 + down), 2 * (4 + right)
    return image[:, :, y : y + SIZE[0], x : x + SIZE[1]]


def best_shift(costs: torch.Tensor) -> tuple[int, int]:
    inner = costs[:, :, 6:-6, 6:-6].mean((0, 2, 3))
    number = int(inner.argmin())
    return number % (2 * RADIUS_X + 1) - RADIUS_X, number // (2 * RADIUS_X + 1) - RADIUS_Y


def test_the_true_shift_has_the_lowest_cost() -> None:
    image = textured()
    for right, down in ((0, 0), (2, 0), (-3, 1), (1, -2)):
        costs = cost_volume(window(image, right=0, down=0), window(image, right=right, down=down))
        assert best_shift(costs) == (right, down)


def test_costs_are_normalised_for_each_image() -> None:
    pair = torch.rand(2, 3, *SIZE), torch.rand(2, 3, *SIZE)
    costs = cost_volume(*pair)
    assert costs.shape == (2, 35, 32, 48)
    torch.testing.assert_close(costs.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(costs.std((1, 2, 3)), torch.ones(2), atol=0.05, rtol=0)
    dimmer = cost_volume(0.5 * pair[0], 0.5 * pair[1])
    torch.testing.assert_close(dimmer, costs, atol=0.1, rtol=0.1)


def test_equal_uniform_frames_have_finite_costs() -> None:
    grey = torch.full((1, 3, *SIZE), 0.5)
    assert torch.equal(cost_volume(grey, grey), torch.zeros(1, 35, 32, 48))


def test_motion_starts_near_straight_ahead() -> None:
    torch.manual_seed(0)
    network = CostVolumePoseNetwork(size=SIZE, unit=2.0)
    motion = network(textured()[:, :, :64, :96], textured(4)[:, :, :64, :96])
    assert motion.shape == (1, 1, 6)
    expected = torch.tensor([0, 0, 0, 0, 0, -2.0 * FORWARD])
    torch.testing.assert_close(motion[0, 0], expected, atol=0.25, rtol=0)


def test_motion_depends_on_where_the_costs_are() -> None:
    torch.manual_seed(0)
    network = CostVolumePoseNetwork(size=SIZE, unit=1.0)
    first, second = textured()[:, :, :64, :96], textured(4)[:, :, :64, :96]
    upright = network(first, second)
    upside_down = network(first.flip(2), second.flip(2))
    assert (upright - upside_down).abs().max() > 1e-4


def test_every_parameter_gets_a_gradient() -> None:
    network = CostVolumePoseNetwork(size=SIZE, unit=1.0)
    network(torch.rand(2, 3, *SIZE), torch.rand(2, 3, *SIZE)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
