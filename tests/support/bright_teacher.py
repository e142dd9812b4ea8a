"""A user's own teacher for tests: labels are a frame's red, confidence its green."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xdistill.teachers.protocol import Prediction, Record, fingerprint_of


class BrightTeacher:
    """Gives confidence if asked, as the record does not say."""

    def __init__(self, *, confidence: bool) -> None:
        self.confidence = confidence
        self.record: Record = {"kind": "bright"}
        self.fingerprint = fingerprint_of(self.record)

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        """Train ids 0-18 and, if asked, levels 0-15."""
        pixels = np.stack(images)
        levels = pixels[..., 1] % 16 if self.confidence else None
        return Prediction(classes=pixels[..., 0] % 19, confidence=levels)


def with_settings(settings: object) -> BrightTeacher:
    """``bright_teacher:with_settings``."""
    return BrightTeacher(confidence=bool(getattr(settings, "confidence", False)))


def without_confidence() -> BrightTeacher:
    """``bright_teacher:without_confidence``."""
    return BrightTeacher(confidence=False)
