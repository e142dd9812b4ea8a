"""How a network is run: this decides the labels, so it is part of the fingerprint."""

import re
from dataclasses import dataclass
from typing import Literal

from xdistill.teachers.protocol import TeacherError

Ids = Literal["train", "label"]
"""What label maps hold: train ids, or Cityscapes label ids."""
NATIVE = "native"
CONFIG = "config"
ENGINES = ("exact", "fused", "bf16", "fp16", "compile", "onnx")
"""How the network is run; the first is the default and gives the reference labels."""
MIN_SIDE_PX, MAX_SIDE_PX = 32, 1 << 14
"""Bounds of an input's or a window's side: networks shrink it 32 times, and fail below."""


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
