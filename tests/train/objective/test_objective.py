import math
from typing import Literal

import pytest
import torch

from xdistill.train.objective.geometry import MAX_DEPTH, MIN_DEPTH, scaled_disparity
from xdistill.train.objective.losses import SelfSupervised, Views, self_supervised, total_loss

INTRINSICS = torch.tensor([[[40.0, 0.0, 16.0], [0.0, 40.0, 16.0], [0.0, 0.0, 1.0]]])
STILL = torch.eye(4)[None]


def noise_image(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def flat(value: float) -> list[torch.Tensor]:
    return [torch.full((1, 1, 32 // 2**s, 32 // 2**s), value) for s in range(4)]


def views(target: torch.Tensor, *sources: torch.Tensor) -> Views:
    """A camera that stands still."""
    motions = [STILL] * len(sources)
    return Views(target=target, sources=sources, intrinsics=INTRINSICS, motions=motions)


def loss(source: torch.Tensor, target: torch.Tensor, **settings: float) -> SelfSupervised:
    return self_supervised(flat(0.3), views(target, source, source), **settings)


def test_equal_frames_cost_nothing() -> None:
    found = loss(noise_image(1), noise_image(1), tie_break=0.0)
    assert found.photometric.abs().max() < 1e-5
    assert found.smoothness.abs().max() == 0


def test_the_sources_as_they_are_bound_the_loss() -> None:
    from xdistill.train.objective.losses import photometric

    source, target = noise_image(1), noise_image(2)
    found = loss(source, target, tie_break=0.0)
    assert (found.photometric <= photometric(source, target).mean() + 1e-6).all()


def test_the_share_of_pixels_that_a_warped_source_fits_best() -> None:
    # The first 8 of 32 columns stand still, the others move by two pixels, as the camera says.
    target = noise_image(1)
    source = torch.cat([target[..., :8], noise_image(2)[..., :2], target[..., 8:30]], 3)
    depth = scaled_disparity(torch.tensor(0.3), min_depth=MIN_DEPTH, max_depth=MAX_DEPTH)[1].item()
    motion = STILL.clone()
    motion[0, 0, 3] = 2 * depth / 40
    moving = Views(target=target, sources=[source], intrinsics=INTRINSICS, motions=[motion])
    # SSIM's window reaches one column over each border, and two columns have left the image.
    found = self_supervised(flat(0.3), moving).reprojected.item()
    assert found == pytest.approx(24 / 32, abs=2 / 32)


def test_noise_breaks_ties_by_one_in_a_hundred_thousand() -> None:
    target = noise_image(1)
    quiet = loss(noise_image(2), target, tie_break=0.0)
    noisy = loss(noise_image(2), target)
    difference = (noisy.photometric - quiet.photometric).abs().max().item()
    assert 0 < difference < 1e-5


def test_noise_comes_from_the_given_generator() -> None:
    found = [
        self_supervised(
            flat(0.3),
            views(noise_image(1), noise_image(2)),
            generator=torch.Generator().manual_seed(seed),
        ).photometric
        for seed in (1, 1, 2)
    ]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_smoothness_weight_halves_at_each_scale() -> None:
    ramps = [torch.linspace(0.2, 0.4, d.shape[3]).expand(d.shape) for d in flat(0.0)]
    image = torch.full((1, 3, 32, 32), 0.5)
    found = self_supervised(ramps, views(image, image), smoothness_weight=0.8)
    # The slope of a ramp over n pixels is 0.2 / (n - 1), its mean 0.3.
    expected = [0.8 / 2**s * (0.2 / (32 / 2**s - 1)) / 0.3 for s in range(4)]
    assert found.smoothness.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("placement", "expected"),
    [("outside", (0.1 + 0.2 + 0.3 + 0.6) / 4 + 0.5 * 2), ("inside", (1.2 + 0.5 * 2) / 4)],
)
def test_total_of_equation_4_by_hand(
    placement: Literal["outside", "inside"], expected: float
) -> None:
    per_scale = torch.tensor([0.1, 0.2, 0.3, 0.6])
    found = total_loss(per_scale, torch.tensor(2.0), weight=0.5, placement=placement)
    assert found.item() == pytest.approx(expected)


def test_total_without_weight_is_the_base() -> None:
    per_scale = torch.tensor([0.1, 0.2, 0.3, 0.6])
    found = total_loss(per_scale, torch.tensor(math.pi), weight=0.0, placement="outside")
    assert torch.equal(found, per_scale.mean())


def test_the_mean_over_the_sources_has_neither_mask_nor_minimum() -> None:
    from xdistill.train.objective.losses import photometric

    target, near, far = noise_image(1), noise_image(2), noise_image(3)
    found = self_supervised(
        flat(0.3),
        views(target, near, far),
        reduction="mean",
        generator=torch.Generator().manual_seed(1),
    )
    expected = (photometric(near, target).mean() + photometric(far, target).mean()) / 2
    torch.testing.assert_close(found.photometric, expected.expand(4), atol=1e-4, rtol=0)
    assert found.reprojected == 1
