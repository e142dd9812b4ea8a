import math

import pytest
import torch

from xdistill.train.objective.distillation import cross_entropy, d2s_input, d2s_loss


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


@pytest.mark.parametrize(
    ("kind", "expected"), [("disparity", 0.5), ("depth", 1.6), ("log_depth", math.log(1.6))]
)
def test_inputs_by_hand(kind: str, expected: float) -> None:
    # Between 1/4 and 1: 0.625 at a sigmoid of one half.
    found = d2s_input(torch.full((1, 1, 1, 1), 0.5), kind, min_depth=1.0, max_depth=4.0)
    assert found.item() == pytest.approx(expected)
