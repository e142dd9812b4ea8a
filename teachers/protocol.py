"""What a teacher is: how it is run, frames in, train ids and confidence out, and a fingerprint."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xdistill.manifests.errors import XDistillError

Record: TypeAlias = Mapping[str, Any]
"""Everything that decides a teacher's labels, as JSON: strings, numbers, lists, mappings, None."""
Ids = Literal["train", "label"]
"""What label maps hold: train ids, or Cityscapes label ids."""
NATIVE = "native"
CONFIG = "config"
ENGINES = ("exact", "fused", "bf16", "fp16", "compile", "onnx")
"""How the network is run; the first is the default and gives the reference labels."""
MIN_SIDE_PX, MAX_SIDE_PX = 32, 1 << 14
"""Bounds of an input's or a window's side: networks shrink it 32 times, and fail below."""


class TeacherError(XDistillError, ValueError):
    """A teacher that is not usable or breaks the protocol; nothing was labelled."""


class FrameLabelError(XDistillError, ValueError):
    """One frame could not be labelled; the other frames are unaffected."""

    def __init__(self, found: str, *, key: str | None = None, **context: Any) -> None:
        super().__init__(found, **context)
        self.key = key


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherSettings:
    """How a network is run; None takes the choice of its manifest or config."""

    input_size: str | None = None
    """Network input: ``native``, ``config``, a longer side in pixels (``2048``), or ``WxH``."""
    engine: str = ENGINES[0]
    """One of ENGINES."""
    window: str | None = None
    """``whole``, ``slide`` (the config's own window), or ``WxH`` at a stride of three quarters."""
    flip: bool = False
    """Average the probabilities with those of the mirrored frame."""
    scales: tuple[float, ...] | None = None
    """Average the probabilities over these multiples of the network input."""
    confidence: bool = False
    """Also give the level of the top probability; does not change the labels."""

    def __post_init__(self) -> None:
        if self.input_size not in (None, NATIVE, CONFIG):
            parse_size(str(self.input_size), option="--input-size")
        if self.window not in (None, "whole", "slide"):
            parse_size(str(self.window), option="--window")
        if self.engine not in ENGINES:
            raise TeacherError(
                f"the engine {self.engine!r} does not exist",
                expected=f"one of {', '.join(ENGINES)}",
                where="--engine",
            )
        if self.scales is not None and not (
            self.scales and all(0.1 <= scale <= 4.0 for scale in self.scales)
        ):
            raise TeacherError(
                f"the scales {self.scales} are not usable",
                expected="at least one factor, each from 0.1 to 4",
                where="--scales",
            )


def parse_size(text: str, *, option: str) -> tuple[int, int | None]:
    """Read ``2048`` as (2048, None) and ``1024x320`` as (1024, 320): width, height in pixels.

    Raises:
        TeacherError: The text has neither form, or a side is out of range.
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    sides = [int(side) for side in match.groups() if side] if match else []
    if not sides or not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in sides):
        raise TeacherError(
            f"{text!r} is not a usable size",
            expected=f"pixels as 2048 or 1024x320 (width x height), "
            f"{MIN_SIDE_PX} to {MAX_SIDE_PX} a side",
            where=option,
        )
    return sides[0], sides[1] if len(sides) == 2 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A teacher's answer for a batch of frames of one size."""

    classes: NDArray[np.uint8]
    """Train ids 0-18, 255 = ignore; (batch, height, width)."""
    confidence: NDArray[np.uint8] | None = None
    """Levels 0-15 of the top probability, 255 = none, (batch, height, width); None unless asked."""


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

    @property
    def reads_pixels(self) -> bool:
        """Whether ``label`` looks at the images; else they are only as large as the frames."""

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
            FrameLabelError: One frame could not be labelled; ``key`` names it.
            TeacherError: No frame can be labelled.
        """


def fingerprint_of(record: Record) -> str:
    """The sha256 of a record in canonical JSON (sorted keys, no spaces, ASCII), hexadecimal.

    Raises:
        TeacherError: The record holds something that is not JSON.
    """
    try:
        text = canonical_json(record)
    except (TypeError, ValueError) as error:
        raise TeacherError(
            f"the teacher's record is not JSON: {error}",
            expected="strings, numbers, lists, mappings and None",
            remedy="convert arrays, paths and the like to strings",
        ) from error
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def canonical_json(content: Any) -> str:
    """The same text for equal content, in whichever order its keys come."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def as_json(content: Any) -> Any:
    """The content as JSON; anything that JSON lacks (a function, a class) becomes its repr."""
    if isinstance(content, Mapping):
        return {str(key): as_json(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [as_json(value) for value in content]
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
        TeacherError: A map has another shape or type than its frames need.
    """
    expected = (len(images), *images[0].shape[:2])
    maps = {"classes": getattr(prediction, "classes", None)}
    if getattr(prediction, "confidence", None) is not None:
        maps["confidence"] = prediction.confidence
    for name, found in maps.items():
        shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
        if shape != expected or dtype != np.uint8:
            raise TeacherError(
                f"{name} has shape {shape} and type {dtype or type(found).__name__}",
                expected=f"uint8 of shape {expected}: frames, height, width",
                where=where,
                remedy="return Prediction(classes=...) at the frames' own size",
            )
    return prediction
