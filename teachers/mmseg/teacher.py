"""Any mmsegmentation segmentor as a teacher, with the labels mmsegmentation itself would give."""

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
from xdistill.teachers.mmseg import attention
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg.network import MmsegNetwork, SingleScale
from xdistill.teachers.mmseg.packages import registry
from xdistill.teachers.network import NetworkTeacher, quiet
from xdistill.teachers.protocol import Record, TeacherError
from xdistill.teachers.settings import TeacherSettings
from xdistill.teachers.weights.checkpoint import Checkpoint, read_checkpoint
from xdistill.teachers.weights.published import ATTENTION, MMSEG, adapt, author, convert

AUXILIARY = "auxiliary_head."
"""Heads that only training reads: their weights decide no label, wherever they are missing."""


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
        config_name: A config's path, or the file name of one that mmsegmentation ships.
        checkpoint: File with the weights.
        device: Where the network runs.
        settings: How it is run; ``input_size`` None is the config's own.
        require: Raises TeacherError where the checkpoint's keys are not those that are wanted.

    Raises:
        TeacherError: Packages missing, config or checkpoint not usable, or not fitting together.
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
    """What gives the logits, and what there is to record of how it joins several scales."""
    if not hasattr(model, "scale_attn"):
        return SingleScale(model), {}
    scales = settings.scales or attention.SCALES
    if 1.0 not in scales:
        raise TeacherError(
            f"scales {', '.join(map(str, scales))}",
            expected="1 among them: attention leads from the finer scales to it and on",
            where="--scales",
        )
    return attention.MultiScale(model, scales), {"attention_scales": sorted(scales)}


def build(config: Any) -> nn.Module:
    """Build the segmentor of a config, in eval mode, with whatever weights it starts from.

    Raises:
        TeacherError: mmsegmentation cannot be imported, or lacks something that the config names.
    """
    with quiet():
        models = registry(config.get("default_scope", "mmseg"))
        try:
            model: nn.Module = models.build(config.model)
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            raise TeacherError(
                f"the config's network cannot be built: {error}",
                expected="a segmentor of the installed mmsegmentation",
                where=config.filename,
                remedy="give the config that the checkpoint was trained with",
            ) from error
    return model.eval()


def require_cityscapes(
    model: Any, state: Mapping[str, Tensor], classes: Sequence[str] | None, *, where: Path
) -> None:
    """Refuse a network or checkpoint that does not speak the 19 Cityscapes classes.

    Raises:
        TeacherError: Another number of classes, or other names.
    """
    names = cityscapes().names
    heads = [key for key in state if key.endswith("conv_seg.weight")]
    counts = {state[key].shape[0] for key in heads if not key.startswith(AUXILIARY)}
    for found in {int(model.out_channels), *counts}:
        if found != len(names):
            raise TeacherError(
                f"a network of {found} classes",
                expected=f"the {len(names)} Cityscapes classes",
                where=where,
                remedy="give a config and checkpoint trained on Cityscapes",
            )
    if classes is not None and tuple(classes) != names:
        raise TeacherError(
            f"a network of other classes: {', '.join(classes)}",
            expected=f"{', '.join(names)}",
            where=where,
            remedy="give a checkpoint trained on Cityscapes",
        )


def load_weights(model: Any, weights: Checkpoint, *, where: Path) -> Any:
    """Give a built segmentor its weights, converted if HRNet-OCR's own authors wrote them.

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
