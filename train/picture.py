"""A picture of one frame: image, disparity, and the teacher's beside the predicted groups."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from xdistill.grouping.scheme import Scheme, load_scheme
from xdistill.train.data.dataset import Batch, unit_images
from xdistill.train.model import Model

Picture = NDArray[np.uint8]
PANEL_WIDTH = 400
"""Pixels; smaller panels are enlarged by whole numbers, so that captions fit."""
CAPTION_HEIGHT = 22
"""Pixels."""
TEXT_SCALE = 0.45
NEAR_PERCENTILE = 95
"""Percentile of the disparity that gets the brightest colour, so that outliers do not dim it."""


def draw(model: Model, batch: Batch) -> Picture:
    """Draw the first frame of a batch, with predictions in evaluation mode.

    Args:
        model: Its training mode is restored.
        batch: On the model's device.

    Returns:
        RGB picture, the panels in two columns: image and disparity; with distillation, below
        them, the teacher's groups and the predicted groups, with a legend.
    """
    training = model.training
    model.eval()
    with torch.no_grad():
        image = unit_images(batch.originals[:1])[0]
        disparity = model.depth(image)[0]
        logits = None if model.d2s is None else model.group_logits(disparity)
    model.train(training)
    panels = [
        _panel(_bytes(image[0].permute(1, 2, 0)), batch.frames[0].split("/")[-1]),
        _panel(_heat(disparity[0, 0].cpu().numpy()), "disparity (bright is near)"),
    ]
    if logits is None or batch.labels is None:
        return np.hstack(panels)
    scheme = load_scheme(model.recipe.scheme)
    palette = scheme.palette()
    predicted = logits[0].argmax(0).cpu().numpy()
    groups = [
        _panel(palette[batch.labels[0].cpu().numpy()], "teacher's groups (black: ignored)"),
        _panel(palette[predicted], "groups predicted from depth"),
    ]
    rows = [np.hstack(panels), np.hstack(groups)]
    return np.vstack([*rows, _legend(scheme, rows[0].shape[1])])


def _bytes(image: torch.Tensor) -> Picture:
    return (image * 255).round().byte().cpu().numpy().copy()


def _heat(disparity: NDArray[np.float32]) -> Picture:
    """Colour disparity with magma: dark is far, bright is near."""
    far, near = float(disparity.min()), float(np.percentile(disparity, NEAR_PERCENTILE))
    level = np.clip((disparity - far) / max(near - far, 1e-6), 0, 1)
    colours = cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_MAGMA)
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), np.uint8)


def _panel(content: Picture, caption: str) -> Picture:
    factor = -(-PANEL_WIDTH // content.shape[1])
    enlarged = content.repeat(factor, axis=0).repeat(factor, axis=1)
    strip = _strip(enlarged.shape[1])
    _write(strip, caption, 4)
    return np.vstack([strip, enlarged])


def _legend(scheme: Scheme, width: int) -> Picture:
    """Colour and name of every group, on as many lines as needed."""
    strips = [_strip(width)]
    x = 4
    for name, colour in zip(scheme.groups, scheme.colours, strict=True):
        needed = _text_width(name) + 34
        if x > 4 and x + needed > width:
            strips.append(_strip(width))
            x = 4
        strips[-1][5:17, x : x + 12] = colour
        _write(strips[-1], name, x + 16)
        x += needed
    return np.vstack(strips)


def _strip(width: int) -> Picture:
    return np.full((CAPTION_HEIGHT, width, 3), 255, np.uint8)


def _write(strip: Picture, text: str, x: int) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, text, (x, 15), font, TEXT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, TEXT_SCALE, 1)[0][0])
