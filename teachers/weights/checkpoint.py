"""Checkpoint files read without running anything that is in them."""

import errno
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xdistill.teachers.engines.engine import memory_told
from xdistill.teachers.protocol import TeacherError

DAMAGE = (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError)
"""What torch raises, from one damaged file to the next."""
KEYS_NAMED = 10
"""Keys that a message names; of another network hundreds differ."""
MORE_MEMORY = "a machine or a --device with more memory"
WRAPPER = "module."
"""Prefix that data-parallel training leaves on every key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The part of a checkpoint file that a teacher needs."""

    state: dict[str, Tensor]
    """Tensors by key, without the data-parallel prefix."""
    classes: tuple[str, ...] | None
    """Class names written by the training run, if any."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read tensors and class names; a pickle that would run code is refused.

    Raises:
        TeacherError: No such file, not a checkpoint, damaged, or not only data.
    """
    content = _load(path)
    found = content.get("state_dict", content) if isinstance(content, Mapping) else None
    state = {
        str(key).removeprefix(WRAPPER): value
        for key, value in (found or {}).items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise TeacherError(
            f"no tensors in {path.name}",
            expected="a state dict, or a checkpoint with a state_dict",
            where=path,
            remedy="give the file with the network's weights",
        )
    return Checkpoint(state=state, classes=_class_names(content.get("meta")))


def _load(path: Path) -> Any:
    if not path.is_file():
        raise TeacherError(
            f"no checkpoint {path.name}",
            expected="a checkpoint file",
            where=path.absolute(),
            remedy="correct the path",
        )
    try:
        with (
            memory_told("the checkpoint", options=(MORE_MEMORY,)),
            torch.serialization.safe_globals(_harmless()),
            warnings.catch_warnings(),
        ):
            # Of an odd pickle protocol torch warns before it fails; one message is enough.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except TeacherError:
        raise
    except pickle.UnpicklingError as error:
        reason = str(error.__context__ or error)
        raise TeacherError(
            f"{path.name} holds more than data, or is damaged: {_short(reason)}",
            expected="tensors, numbers and text alone: a pickle may run any program when loaded",
            where=path,
            remedy="fetch it again from its publisher; never load it another way unless you "
            "trust whoever made it",
        ) from error
    except DAMAGE as error:
        raise TeacherError(
            _unreadable(path, error),
            expected="a whole checkpoint file as torch.save writes it",
            where=path,
            remedy="fetch or copy it again",
        ) from error


def _unreadable(path: Path, error: Exception) -> str:
    """Why; what torch says of a damaged file speaks of torch's insides alone."""
    # A cut file makes torch seek before its beginning.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return f"{path.name} cannot be read: {error.strerror}"
    return f"{path.name} is cut short or damaged: {path.stat().st_size} bytes"


def differences(found: Mapping[str, Sequence[str]]) -> str:
    """How many keys differ in each way, with ten of them by name.

    Args:
        found: Keys by the way they differ: ``missing``, ``unexpected``, ...
    """
    some = {kind: keys for kind, keys in found.items() if keys}
    shares = {kind: listed(keys, most=KEYS_NAMED // len(some)) for kind, keys in some.items()}
    return "; ".join(f"{kind} ({len(some[kind])}): {names}" for kind, names in shares.items())


def listed(keys: Sequence[str], *, most: int = KEYS_NAMED) -> str:
    """The first keys by name."""
    return ", ".join(keys[:most]) + (", ..." if len(keys) > most else "")


def _short(reason: str) -> str:
    """The sentence that names the cause, without torch's advice on unsafe loading."""
    named = re.search(
        r"unsupported (?:global|class|operand).*?(?= was | whose |\.?$)",
        reason,
        re.IGNORECASE | re.MULTILINE,
    )
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return named[0] if named else (lines or ["unknown cause"])[0][:200]


class _Inert:
    """Stands for an object that nobody needs: swallows whatever a pickle does with it."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


_LOG_NAMES = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.ndarray",
    "numpy.dtype",
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ),
)
"""What mmengine's training log (message_hub) and numpy's numbers are written with."""


def _harmless() -> list[Any]:
    """Names that may stand in a file: not even these are called, an inert object is made."""
    return [(_Inert, name) for name in _LOG_NAMES]


def _class_names(meta: Any) -> tuple[str, ...] | None:
    """Class names as mmsegmentation 1.x (dataset_meta) and 0.x (CLASSES) store them."""
    if not isinstance(meta, Mapping):
        return None
    known = meta.get("dataset_meta")
    names = known.get("classes") if isinstance(known, Mapping) else meta.get("CLASSES")
    return tuple(map(str, names)) if names else None
