"""What a teacher is: frames in, train ids and confidence out, and a fingerprint of all of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xdistill.manifests.errors import XDistillError

Record: TypeAlias = Mapping[str, Any]
"""Everything that decides a teacher's labels, as JSON: strings, numbers, lists, mappings, None."""


class TeacherError(XDistillError, ValueError):
    """A teacher that cannot be had, or that breaks the protocol: nothing was labelled."""


class FrameLabelError(XDistillError, ValueError):
    """Labels that cannot be had for one frame; the other frames are not concerned."""

    def __init__(self, found: str, *, key: str | None = None, **context: Any) -> None:
        super().__init__(found, **context)
        self.key = key


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a teacher says of a batch of frames of one size."""

    classes: NDArray[np.uint8]
    """Train ids 0-18, or 255 where there is none; (batch, height, width)."""
    confidence: NDArray[np.uint8] | None = None
    """Levels 0-15 of the top probability, 255 = none; (batch, height, width); None if not asked."""


@runtime_checkable
class Teacher(Protocol):
    """Labels frames with the 19 Cityscapes classes."""

    @property
    def record(self) -> Record:
        """Everything that decides the labels; ``record["kind"]`` names the kind of teacher."""

    @property
    def fingerprint(self) -> str:
        """sha256 of the record, in hexadecimal: equal fingerprints give equal labels."""

    @property
    def calls_at_once(self) -> int:
        """Threads that may call ``label`` at the same time, at least 1."""

    def check_size(self, height: int, width: int) -> None:
        """Refuse frames of a size that ``label`` would fail at, before any is labelled.

        Args:
            height: Of the frames, in pixels.
            width: Of the frames, in pixels.

        Raises:
            TeacherError: The teacher does not take frames of this size.
        """

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        """Label frames of one size.

        Args:
            images: RGB frames (height, width, 3), uint8, all of one size.
            keys: Each frame's relative path without ``data/`` and extension
                (``2011_09_26/2011_09_26_drive_0013_sync/image_02/0000000050``).

        Raises:
            FrameLabelError: One frame's labels cannot be had; its ``key`` names the frame.
            TeacherError: No frame can be labelled.
        """


def fingerprint_of(record: Record) -> str:
    """The sha256 of a record in canonical JSON (sorted keys, no spaces, ASCII), hexadecimal.

    Raises:
        TeacherError: The record holds something that JSON cannot.
    """
    try:
        text = canonical_json(record)
    except (TypeError, ValueError) as error:
        raise TeacherError(
            f"a teacher's record that is no JSON: {error}",
            expected="strings, numbers, lists, mappings and None",
            remedy="convert arrays, paths and the like to strings",
        ) from error
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def canonical_json(content: Any) -> str:
    """One text for one content, whatever the order of its keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(content: Any) -> Any:
    """A config's part as plain JSON; what is none (a function, a class) by its text."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    known = content is None or isinstance(content, (str, int, float, bool))
    return content if known else repr(content)


def require_maps(
    prediction: Prediction, images: Sequence[NDArray[np.uint8]], *, where: str
) -> Prediction:
    """Return a prediction whose maps fit the frames that they were predicted for.

    Args:
        prediction: The teacher's answer.
        images: The frames, (height, width, 3) each.
        where: The teacher, named in the message.

    Raises:
        TeacherError: Wrong type, shape or dtype, or ids that are no train ids.
    """
    expected = (len(images), *images[0].shape[:2])
    maps = {"classes": getattr(prediction, "classes", None)}
    if getattr(prediction, "confidence", None) is not None:
        maps["confidence"] = prediction.confidence
    for name, found in maps.items():
        shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
        if shape != expected or dtype != np.uint8:
            raise TeacherError(
                f"{name} of shape {shape} and type {dtype or type(found).__name__}",
                expected=f"uint8 of shape {expected}: frames, height, width",
                where=where,
                remedy="return Prediction(classes=...) at the frames' own size",
            )
    return prediction
