"""Train the street teacher on rendered frames with exact labels.

python -m xdistill.pipeline.street.teacher.training --out street_ocrnet.pth
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.grouping.scheme import load_scheme
from xdistill.manifests import disk
from xdistill.manifests.progress import Advance, progress
from xdistill.pipeline.cli import console
from xdistill.pipeline.labelling.score import confusion, measures, merge
from xdistill.pipeline.street.record.drive import make_drive
from xdistill.pipeline.street.render.camera import render

CONFIG = "street_ocrnet.py"
SIZE = (64, 192)
"""Height and width of the frames that the teacher is trained on, in pixels."""
ENLARGED = 2
"""Network input over frame size: the heads work at a quarter of the input."""
CHUNK = 20
"""Frames labelled at a time in evaluation."""
TRAINING_SEED, VALIDATION_SEED = 3_000_000_000, 3_000_000_001
"""The shipped teacher was trained on the first, and its settings were chosen on the second:
evaluate it on any other seed."""
SPACING = 9
"""Distance between the frames of one drive, because neighbours look nearly alike."""
FRAMES = 5
"""Frames taken from a drive."""

Frames = UInt8[np.ndarray, "frames height width 3"]
LabelMaps = UInt8[np.ndarray, "frames height width"]
Images = Float[Tensor, "batch 3 height width"]
Classes = Int[Tensor, "batch height width"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherTraining:
    """Hyperparameters of a training run, chosen on VALIDATION_SEED."""

    drives: int = 500
    """Drives of TRAINING_SEED."""
    steps: int = 1800
    """Optimiser steps."""
    batch: int = 8
    """Frames of a step."""
    rate: float = 4e-3
    """Highest learning rate of the one cycle (Smith and Topin, 2018)."""
    decay: float = 0.01
    """Weight decay of convolutions (AdamW)."""
    rarity: float = 0.4
    """A class of frequency f has the weight f^-rarity, so that rare classes are learnt too."""
    auxiliary: float = 0.4
    """Weight of the loss of OCR's first head (Yuan et al., ECCV 2020)."""
    seed: int = 0
    """Decides initial weights, order and augmentation."""


FEWEST_DRIVES = -(-TeacherTraining().batch // FRAMES)
"""Drives whose frames fill one batch."""


def labelled_frames(
    seed: int, *, drives: int, size: tuple[int, int], advance: Advance
) -> tuple[Frames, LabelMaps]:
    """Render FRAMES frames of each drive.

    Args:
        seed: The data set's seed.
        drives: How many drives.
        size: Height and width in pixels.
        advance: Called with the number of frames finished, for progress.

    Returns:
        RGB images and train ids.
    """
    images = np.empty((drives * FRAMES, *size, 3), np.uint8)
    labels = np.empty((drives * FRAMES, *size), np.uint8)
    for number in range(drives):
        drive = make_drive(seed, number + 1, frames=SPACING * (FRAMES - 1) + 1)
        for k in range(FRAMES):
            frame = k * SPACING
            camera, sensor = drive.camera(frame, size), drive.sensor(frame)
            picture = render(drive.scene(frame), camera, size=size, sensor=sensor)
            images[number * FRAMES + k] = picture.image
            labels[number * FRAMES + k] = picture.labels
            advance(1)
    return images, labels


def class_weights(labels: LabelMaps, *, rarity: float) -> Float[Tensor, " classes"]:
    """Weight of each class; the mean over pixels is 1."""
    counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)[: len(cityscapes().names)]
    frequency = counts / counts.sum()
    weights = (np.maximum(counts, 1) / counts.sum()) ** -rarity
    return torch.tensor(weights / (weights * frequency).sum(), dtype=torch.float32)


def batches(
    images: Frames, labels: LabelMaps, settings: TeacherTraining
) -> Iterator[tuple[Images, Classes]]:
    """Random frames, randomly mirrored, exposed and balanced; one batch per step."""
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.steps):
        chosen = rng.choice(len(images), settings.batch, replace=False)
        frames = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).float()
        classes = torch.from_numpy(labels[chosen]).long()
        mirrored = torch.from_numpy(rng.random(settings.batch) < 0.5)
        frames[mirrored] = frames[mirrored].flip(3)
        classes[mirrored] = classes[mirrored].flip(2)
        exposure = rng.uniform(0.8, 1.25, (settings.batch, 1, 1, 1))
        balance = rng.uniform(0.93, 1.07, (settings.batch, 3, 1, 1))
        gain = torch.from_numpy(exposure * balance).float()
        yield (frames * gain).clamp(0, 255), classes


def logits(model: Any, frames: Images) -> tuple[Tensor, Tensor]:
    """Logits of the last and of the first head, at the size of the RGB frames in 0-255."""
    inputs = interpolate(frames, scale_factor=float(ENLARGED), mode="bilinear")
    known = model.data_preprocessor
    inputs = ((inputs - known.mean) / known.std).to(memory_format=torch.channels_last)
    features = model.extract_feat(inputs)
    coarse = model.decode_head[0].forward(features)
    fine = model.decode_head[1].forward(features, coarse)
    size = frames.shape[2:]
    return interpolate(fine, size=size, mode="bilinear"), interpolate(
        coarse, size=size, mode="bilinear"
    )


def train(
    model: nn.Module, images: Frames, labels: LabelMaps, settings: TeacherTraining
) -> Iterator[float]:
    """Train in place and yield the loss of each step."""
    weights = class_weights(labels, rarity=settings.rarity)
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=settings.steps, pct_start=0.15
    )
    model.train()
    for frames, classes in batches(images, labels, settings):
        fine, coarse = logits(model, frames)
        loss = cross_entropy(fine, classes, weights, ignore_index=IGNORE_INDEX)
        loss = loss + settings.auxiliary * cross_entropy(
            coarse, classes, weights, ignore_index=IGNORE_INDEX
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        cycle.step()
        yield loss.item()
    model.eval()


def predict(model: nn.Module, images: Frames) -> LabelMaps:
    """Train ids of RGB frames."""
    parts = []
    with torch.inference_mode():
        for at in range(0, len(images), CHUNK):
            frames = torch.from_numpy(images[at : at + CHUNK]).permute(0, 3, 1, 2).float()
            parts.append(logits(model, frames)[0].argmax(dim=1).to(torch.uint8).numpy())
    return np.concatenate(parts)


def ceiling(labels: LabelMaps) -> LabelMaps:
    """Labels that a perfect teacher of this architecture could predict.

    A cell of the heads (a quarter of the network input) holds each class's share of its pixels,
    which is upsampled to the frame's size as the network's logits are.
    """
    cell = 4 // ENLARGED
    known = torch.from_numpy(np.where(labels == IGNORE_INDEX, len(cityscapes().names), labels))
    shares = nn.functional.one_hot(known.long(), len(cityscapes().names) + 1)
    coarse = nn.functional.avg_pool2d(shares.permute(0, 3, 1, 2).float(), cell)[:, :-1]
    fine = interpolate(coarse, size=labels.shape[1:], mode="bilinear")
    return np.asarray(fine.argmax(dim=1).to(torch.uint8).numpy())


def report(truth: LabelMaps, found: LabelMaps) -> list[str]:
    """IoU of each group and class in percent, beside the ceiling's, and the means."""
    best, table, scheme = ceiling(truth), cityscapes(), load_scheme("4")
    lines = []
    for title, names in (("groups", scheme.groups), ("classes", table.names)):
        scores = []
        for labels in (found, best):
            counts = confusion(truth, labels, classes=len(table.names))
            counts = merge(counts, scheme.table) if title == "groups" else counts
            scores.append(measures(counts, names))
        lines.append(f"{title:<20} teacher  ceiling")
        rows = [(name, *(score["iou"][name] for score in scores)) for name in names]
        rows.append(("mean", *(score["miou"] for score in scores)))
        lines += [
            f"  {name:<18} {100 * own:7.1f}  {100 * top:7.1f}"
            for name, own, top in rows
            if own is not None and top is not None
        ]
    return lines


def save(model: nn.Module, path: Path) -> None:
    """Write the weights, convolutions as float16, which loading converts to float32."""
    state = {
        key: value.half() if value.ndim > 1 else value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    with disk.replacing(path) as aside:
        torch.save(
            {"state_dict": state, "meta": {"dataset_meta": {"classes": cityscapes().names}}}, aside
        )


@click.command("train-street-teacher", cls=console.Command)
@click.option("--out", type=console.OUTPUT, required=True, help="File to write.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=TeacherTraining().steps,
    show_default=True,
    help="Optimiser steps.",
)
@click.option(
    "--drives",
    type=click.IntRange(min=FEWEST_DRIVES),
    default=TeacherTraining().drives,
    show_default=True,
    help="Drives to train on.",
)
@click.option(
    "--judged",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="Drives to evaluate on.",
)
@console.examples(
    "OMP_NUM_THREADS=1 python -m xdistill.pipeline.street.teacher.training --out street_ocrnet.pth"
)
def main(out: Path, steps: int, drives: int, judged: int) -> None:
    """Train the street teacher, and evaluate it on drives of another seed."""
    from xdistill.teachers.mmseg import config as mmseg_config
    from xdistill.teachers.mmseg.teacher import build

    settings = TeacherTraining(steps=steps, drives=drives)
    torch.manual_seed(settings.seed)
    model: Any = build(mmseg_config.load_config(CONFIG))
    model = model.to(memory_format=torch.channels_last)
    with progress(total=(drives + judged) * FRAMES, unit="frame") as bar:
        images, labels = labelled_frames(
            TRAINING_SEED, drives=drives, size=SIZE, advance=bar.update
        )
        others = labelled_frames(VALIDATION_SEED, drives=judged, size=SIZE, advance=bar.update)
    with progress(total=steps, unit="step") as bar:
        for loss in train(model, images, labels, settings):
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(1)
    save(model, out)
    for line in report(others[1], predict(model, others[0])):
        click.echo(line)
    click.echo(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB)")
    click.echo(f"next: xd-pipeline segment --teacher {shlex.quote(f'mmseg:{CONFIG},{out}')}")


if __name__ == "__main__":
    main()
