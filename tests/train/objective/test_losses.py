import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from xdistill.train.objective.losses import (
    SSIM_C1,
    SSIM_C2,
    _window_mean,
    cross_entropy,
    d2s_loss,
    per_pixel_minimum,
    photometric,
    smoothness,
    ssim_dissimilarity,
)


def images(seed: int, *, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, 6, 8, generator=generator, dtype=torch.float64)


def flat(value: float) -> torch.Tensor:
    return torch.full((1, 1, 4, 4), value, dtype=torch.float64)


def test_ssim_of_flat_images_by_hand() -> None:
    x, y = flat(0.2), flat(0.6)
    # Without variance only the luminance term is left.
    similarity = (2 * 0.2 * 0.6 + SSIM_C1) / (0.04 + 0.36 + SSIM_C1)
    expected = flat((1 - similarity) / 2)
    torch.testing.assert_close(ssim_dissimilarity(x, y), expected)


def test_ssim_of_one_window_by_hand() -> None:
    # 3x3 images: the middle pixel's window is the whole image.
    x = torch.tensor([[[[0.0, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.0]]]])
    y = torch.tensor([[[[0.9, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]])
    mean, square = 0.1, 0.81 / 9
    variance, covariance = square - mean**2, -(mean**2)
    similarity = (2 * mean**2 + SSIM_C1) * (2 * covariance + SSIM_C2)
    similarity /= (2 * mean**2 + SSIM_C1) * (2 * variance + SSIM_C2)
    assert ssim_dissimilarity(x, y)[0, 0, 1, 1].item() == pytest.approx((1 - similarity) / 2)


def test_ssim_is_clamped_at_one() -> None:
    x = (torch.arange(64).view(1, 1, 8, 8) % 2).double()
    assert ssim_dissimilarity(x, 1 - x).max().item() <= 1


@given(st.integers(0, 1000))
def test_ssim_is_zero_on_itself_and_symmetric(seed: int) -> None:
    x, y = images(seed), images(seed + 1)
    assert ssim_dissimilarity(x, x).abs().max() < 1e-12
    torch.testing.assert_close(ssim_dissimilarity(x, y), ssim_dissimilarity(y, x))


def test_photometric_of_flat_images_by_hand() -> None:
    x, y = flat(0.2).expand(1, 3, 4, 4), flat(0.6).expand(1, 3, 4, 4)
    similarity = (2 * 0.2 * 0.6 + SSIM_C1) / (0.04 + 0.36 + SSIM_C1)
    expected = 0.85 * (1 - similarity) / 2 + 0.15 * 0.4
    torch.testing.assert_close(photometric(x, y), flat(expected))


@given(st.integers(0, 1000))
def test_photometric_ignores_the_order_of_channels(seed: int) -> None:
    x, y = images(seed), images(seed + 1)
    assert photometric(x, x).abs().max() < 1e-12
    torch.testing.assert_close(photometric(x, y), photometric(x[:, [2, 0, 1]], y[:, [2, 0, 1]]))


def test_photometric_gradient_by_finite_differences() -> None:
    x, y = images(5, channels=2), images(6, channels=2)
    assert torch.autograd.gradcheck(lambda a: photometric(a, y), x.requires_grad_())


def test_minimum_by_hand_and_ties_go_to_the_identity() -> None:
    identity = torch.tensor([0.3, 0.5, 0.2]).view(1, 1, 1, 3)
    reprojection = torch.tensor([[0.4, 0.1, 0.2], [0.6, 0.3, 0.9]]).view(1, 2, 1, 3)
    values, reprojected = per_pixel_minimum(identity, reprojection)
    assert values.flatten().tolist() == pytest.approx([0.3, 0.1, 0.2])
    assert reprojected.flatten().tolist() == [False, True, False]


def test_auto_mask_of_a_map_by_hand() -> None:
    # Two sources. Columns: stands still; moves as the camera says; only one source fits well.
    identity = torch.tensor(
        [[[0.0, 0.6, 0.4], [0.1, 0.5, 0.7]], [[0.1, 0.7, 0.2], [0.0, 0.6, 0.9]]]
    )
    reprojection = torch.tensor(
        [[[0.2, 0.1, 0.3], [0.3, 0.2, 0.8]], [[0.3, 0.2, 0.5], [0.2, 0.1, 0.6]]]
    )
    values, reprojected = per_pixel_minimum(identity[None], reprojection[None])
    torch.testing.assert_close(values[0], torch.tensor([[0.0, 0.1, 0.2], [0.0, 0.1, 0.6]]))
    assert reprojected[0].tolist() == [[False, True, False], [False, True, True]]


def test_masked_pixels_carry_no_gradient() -> None:
    identity = torch.tensor([0.3, 0.5]).view(1, 1, 1, 2)
    reprojection = torch.tensor([0.4, 0.1]).view(1, 1, 1, 2).requires_grad_()
    per_pixel_minimum(identity, reprojection)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert reprojection.grad is not None
    assert reprojection.grad.flatten().tolist() == [0.0, 1.0]


def test_minimum_gradient_by_finite_differences() -> None:
    identity, reprojection = images(7, channels=2), images(8, channels=2)
    assert torch.autograd.gradcheck(
        lambda a: per_pixel_minimum(identity, a)[0], reprojection.requires_grad_()
    )


def test_smoothness_by_hand() -> None:
    disparity = torch.tensor([[1.0, 3.0], [1.0, 3.0]]).view(1, 1, 2, 2)
    image = torch.zeros(1, 3, 2, 2)
    image[..., 1] = 0.5
    # Mean 2: slopes of 1 across an edge of 0.5; nothing along the columns.
    assert smoothness(disparity, image).item() == pytest.approx(math.exp(-0.5), rel=1e-6)


def test_smoothness_of_a_plane_is_zero() -> None:
    assert smoothness(torch.full((2, 1, 4, 5), 0.3), torch.rand(2, 3, 4, 5)).item() == 0.0


@given(st.floats(0.1, 10.0))
def test_smoothness_does_not_depend_on_the_scale_of_disparity(scale: float) -> None:
    disparity = images(9, channels=1) + 0.1
    scaled = smoothness(disparity * scale, images(10))
    assert scaled.item() == pytest.approx(smoothness(disparity, images(10)).item(), rel=1e-4)


def test_smoothness_gradient_by_finite_differences() -> None:
    disparity, image = images(11, channels=1), images(12)
    assert torch.autograd.gradcheck(lambda d: smoothness(d, image), disparity.requires_grad_())


def test_window_mean_is_average_pooling_to_the_bit() -> None:
    image = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(5))
    assert torch.equal(_window_mean(image), F.avg_pool2d(image, 3, stride=1))


def test_gradient_of_the_window_mean() -> None:
    image = images(2).requires_grad_()
    assert torch.autograd.gradcheck(_window_mean, image)


def logits(*pixels: tuple[float, ...]) -> torch.Tensor:
    """Logits (1, groups, 1, pixels)."""
    return torch.tensor(pixels).T[None, :, None]


def labels(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8)[None, None]


def test_cross_entropy_by_hand() -> None:
    found = cross_entropy(logits((2.0, 0.0), (0.0, 1.0)), labels(0, 0))
    first, second = math.log(1 + math.exp(-2.0)), math.log(1 + math.exp(1.0))
    assert found.item() == pytest.approx((first + second) / 2)


def test_a_certain_right_answer_costs_nothing() -> None:
    assert cross_entropy(logits((100.0, 0.0), (0.0, 100.0)), labels(0, 1)).item() == 0.0


def test_ignored_pixels_count_neither_above_nor_below_the_line() -> None:
    with_ignored = cross_entropy(logits((2.0, 0.0), (5.0, 5.0)), labels(1, 255))
    alone = cross_entropy(logits((2.0, 0.0)), labels(1))
    assert with_ignored.item() == pytest.approx(alone.item())


def test_a_batch_without_labels_gives_zero_and_no_gradient() -> None:
    values = logits((2.0, 0.0), (1.0, 0.0)).requires_grad_()
    loss = cross_entropy(values, labels(255, 255))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert values.grad is not None and values.grad.abs().max() == 0


def test_every_pixel_weighs_the_same_whatever_its_image() -> None:
    values = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    wanted = torch.tensor([[[0, 255], [255, 255]], [[1, 2], [0, 1]]], dtype=torch.uint8)
    per_pixel = -torch.log_softmax(values, 1)
    picked = [per_pixel[0, 0, 0, 0], per_pixel[1, 1, 0, 0], per_pixel[1, 2, 0, 1]]
    picked += [per_pixel[1, 0, 1, 0], per_pixel[1, 1, 1, 1]]
    torch.testing.assert_close(cross_entropy(values, wanted), torch.stack(picked).mean())


def test_one_shift_of_all_logits_changes_nothing() -> None:
    values = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    wanted = torch.arange(9, dtype=torch.uint8).view(1, 3, 3) % 4
    torch.testing.assert_close(cross_entropy(values + 7, wanted), cross_entropy(values, wanted))


def test_gradient_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(1, 3, 2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    wanted = torch.tensor([[[0, 1], [255, 2]]], dtype=torch.uint8)
    assert torch.autograd.gradcheck(lambda v: cross_entropy(v, wanted), values)


def test_scales_are_averaged() -> None:
    scales = [logits((2.0, 0.0)), logits((0.0, 2.0))]
    expected = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(2.0))) / 2
    assert d2s_loss(scales, labels(0)).item() == pytest.approx(expected)
