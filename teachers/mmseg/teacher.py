"""Any mmsegmentation segmentor as a teacher, with the labels that mmsegmentation gives."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from xdistill.grouping.classes import cityscapes
from xdistill.manifests.download import sha256_of
from xdistill.manifests.memory import memory_reported
from xdistill.manifests.weights import load_strictly
from xdistill.teachers.engines.engine import make_engine, torch_device
from xdistill.teachers.engines.network import NetworkTeacher, quiet
from xdistill.teachers.mmseg import attention
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg.faults import told
from xdistill.teachers.mmseg.network import MmsegNetwork, SingleScale
from xdistill.teachers.mmseg.packages import registry
from xdistill.teachers.protocol import Record, TeacherError, TeacherSettings
from xdistill.teachers.weights.checkpoint import Checkpoint, read_checkpoint
from xdistill.teachers.weights.published import ATTENTION, MMSEG, adapt, author, convert

AUXILIARY = "auxiliary_head."
"""Heads that only training uses: their weights decide no label and may be missing."""


def load_mmseg(
    config_name: str,
    checkpoint: Path,
    *,
    device: str,
    settings: TeacherSettings,
    require: Callable[[Collection[str]], None] = lambda keys: None,
) -> NetworkTeacher:
    """Load a segmentor from its config and checkpoint.

    Args:
        config_name: Path of a config, or file name of one that mmsegmentation ships.
        checkpoint: File with the weights.
        device: Where the network runs.
        settings: How it is run; ``input_size`` None is the config's own.
        require: Raises TeacherError if it does not accept the checkpoint's keys.

    Raises:
        TeacherError: A package is missing, or the config or the checkpoint's classes do not suit.
        WeightsError: The checkpoint cannot be read, or does not fit the config.
    """
    config = mmseg_config.load_config(config_name)
    weights = read_checkpoint(checkpoint)
    require(weights.state.keys())
    place = torch_device(device)
    with memory_reported("the network"):
        model = load_weights(build(config), weights, where=checkpoint).to(place).eval()
    decoder, fusion = _decoder(model, settings)
    engine = make_engine(settings.engine, decoder, place)
    network = MmsegNetwork(config, model, engine=engine, settings=settings)
    record = {
        **network.record(),
        "weights_sha256": sha256_of(checkpoint),
        "weights_by": author(weights.state),
        **fusion,
    }
    own_scales = replace(settings, scales=None) if fusion else settings
    return NetworkTeacher(network, settings=own_scales, record=record, device=place)


def _decoder(model: Any, settings: TeacherSettings) -> tuple[nn.Module, Record]:
    """The module that gives the logits, and the record of the scales that it fuses."""
    if not hasattr(model, "scale_attn"):
        return SingleScale(model), {}
    scales = settings.scales or attention.SCALES
    if 1.0 not in scales:
        raise TeacherError(
            f"the scales {', '.join(map(str, scales))} lack 1",
            expected="1 among them: attention fuses from the finer scales to it and on",
            where="--scales",
        )
    return attention.MultiScale(model, scales), {"attention_scales": sorted(scales)}


def build(config: Any) -> nn.Module:
    """Build the segmentor of a config, in eval mode, with its initial weights.

    Raises:
        TeacherError: mmsegmentation cannot be imported, or lacks a module that the config names.
    """
    with quiet():
        models = registry(config.get("default_scope", "mmseg"))
        with told(config.filename), memory_reported("the network"):
            model: nn.Module = models.build(config.model)
    return model.eval()


def require_cityscapes(
    model: Any, state: Mapping[str, Tensor], classes: Sequence[str] | None, *, where: Path
) -> None:
    """Refuse a network or checkpoint that is not of the 19 Cityscapes classes.

    Raises:
        TeacherError: The number or the names of the classes differ.
    """
    names = cityscapes().names
    heads = [key for key in state if key.endswith("conv_seg.weight")]
    counts = {state[key].shape[0] for key in heads if not key.startswith(AUXILIARY)}
    for found in {int(model.out_channels), *counts}:
        if found != len(names):
            raise TeacherError(
                f"the network has {found} classes",
                expected=f"the {len(names)} Cityscapes classes",
                where=where,
                remedy="give a config and checkpoint trained on Cityscapes",
            )
    if classes is not None and tuple(classes) != names:
        raise TeacherError(
            f"the network has other classes: {', '.join(classes)}",
            expected=f"{', '.join(names)}",
            where=where,
            remedy="give a checkpoint trained on Cityscapes",
        )


def load_weights(model: Any, weights: Checkpoint, *, where: Path) -> Any:
    """Load weights into a built segmentor; those of HRNet-OCR's authors are converted.

    Raises:
        TeacherError: They are not of the 19 Cityscapes classes, or of an unknown author.
        WeightsError: They do not fit.
    """
    state, by = weights.state, author(weights.state)
    if by != MMSEG:
        state = convert(state, where=where)
        adapt(model, author=by, where=where)
    if any(key.startswith(ATTENTION) for key in state):
        model.scale_attn = attention.attention_head(model.decode_head[-1].channels)
    require_cityscapes(model, state, weights.classes, where=where)
    load_strictly(model, state, where=where, idle=(AUXILIARY,))
    return model
