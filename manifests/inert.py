"""Stand-ins for what a pickle names beside tensors: nothing of theirs is called.

Published checkpoints carry training logs, options and sizes as objects of other packages. torch
refuses a file for any name that it was not told of; each name here gets a stand-in of our own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


class Inert:
    """Stands for an object that nobody needs: swallows whatever a pickle does with it."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())
"""Codes of the numpy types that a stand-in reads."""


class NumberType:
    """Stands for a numpy.dtype: the code of its type, and then its byte order."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code if isinstance(code, str) else ""
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


def number(kind: object = None, content: object = b"", *_: object) -> Any:
    """Stands for numpy's scalar: a plain number, as the sizes of some checkpoints are written.

    Args:
        kind: Its type.
        content: Its bytes; text where Python 2 wrote them.
    """
    raw = content.encode("latin-1", "replace") if isinstance(content, str) else content
    if not isinstance(kind, NumberType) or kind.code not in NUMBERS or not isinstance(raw, bytes):
        return Inert()
    dtype = np.dtype(kind.order + kind.code)
    return np.frombuffer(raw, dtype)[0].item() if len(raw) == dtype.itemsize else Inert()


CORES = ("core", "_core")
"""numpy 1 and numpy 2 have the same functions under these names."""


def stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """The stand-ins, each with the name that a file may contain."""
    inert = (
        "mmengine.logging.history_buffer.HistoryBuffer",
        "builtins.getattr",
        "argparse.Namespace",
        *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath")),
        "numpy.ndarray",
        *(f"numpy.{core}.multiarray._reconstruct" for core in CORES),
    )
    numbers = [(number, f"numpy.{core}.multiarray.scalar") for core in CORES]
    return [*((Inert, name) for name in inert), *numbers, (NumberType, "numpy.dtype")]
