"""Fewer operations for the same logits: normalisation folded into convolutions, levels apart."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xdistill.teachers.engines.levels import keep_apart
from xdistill.teachers.protocol import TeacherError

TOLERANCE = 1e-3
"""Largest change of a logit, relative to the largest logit: rounding is far below it."""


def fuse(network: nn.Module, example: Tensor) -> nn.Module:
    """Copy a network, fold each batch normalisation into the convolution before it, and let heads
    convolve their levels apart (``levels.keep_apart``).

    A run shows which normalisations follow a convolution; the order of declaration does not, as
    some blocks normalise before they convolve.

    Args:
        network: In eval mode; not changed.
        example: An input to run it with.

    Raises:
        TeacherError: The folded network gives other logits.
    """
    # Eval mode for all of it: a wrapper around a network in eval mode is itself in training mode,
    # and the exporter to ONNX would leave its parts in that mode.
    fused = copy.deepcopy(network).eval()
    before = fused(example)
    for convolution, normalisation in _pairs(fused, example):
        _fold(convolution, normalisation)
        _replace(fused, normalisation)
    keep_apart(fused, example)
    after = fused(example)
    change = float((after - before).abs().max() / before.abs().max().clamp(min=1e-12))
    if not change <= TOLERANCE:
        raise TeacherError(
            f"folding the network changes its logits by {change:.2g} of their range",
            expected=f"at most {TOLERANCE}",
            where="--engine",
            remedy="use --engine exact",
        )
    return fused


def _pairs(network: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, Any]]:
    """Pairs of a convolution and the one normalisation whose input is always exactly its output."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    seen: set[tuple[nn.Conv2d | None, Any]] = set()

    def remember(module: Any, _: object, output: Tensor) -> None:
        # Holding the tensor keeps its identity from another one.
        made[id(output)] = module, output

    def look_up(module: Any, inputs: tuple[Tensor, ...]) -> None:
        seen.add((made.get(id(inputs[0]), (None, None))[0], module))

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(remember))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            handles.append(module.register_forward_pre_hook(look_up))
    network(example)
    for handle in handles:
        handle.remove()
    before = Counter(normalisation for _, normalisation in seen)
    after = Counter(convolution for convolution, _ in seen)
    return [
        (convolution, normalisation)
        for convolution, normalisation in seen
        if convolution and before[normalisation] == after[convolution] == 1
    ]


def _fold(convolution: nn.Conv2d, normalisation: Any) -> None:
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        normalisation.running_mean,
        normalisation.running_var,
        normalisation.eps,
        normalisation.weight,
        normalisation.bias,
    )
    convolution.weight, convolution.bias = weight, bias


def _replace(network: nn.Module, normalisation: nn.Module) -> None:
    """Replace the folded normalisation by an identity wherever it is used."""
    for module in network.modules():
        for name, child in module.named_children():
            if child is normalisation:
                setattr(module, name, nn.Identity())


def fold_on(network: nn.Module, device: torch.device) -> nn.Module:
    """Fold a network, in the memory layout in which convolutions run fastest."""
    generator = torch.Generator().manual_seed(0)
    example = torch.randn((1, 3, 128, 128), generator=generator).to(device)
    with torch.no_grad():
        folded = fuse(network, example)
    return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
