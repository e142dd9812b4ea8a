"""Files of weights: read as data alone, and loaded with every key accounted for."""

import errno
import pickle
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.memory import memory_reported

if TYPE_CHECKING:
    from torch import nn

DAMAGE = (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError)
"""What torch raises, from one damaged file to the next."""
KEYS_NAMED = 10
"""Keys that a message names; of another network hundreds differ."""
BATCH_COUNT = "num_batches_tracked"
"""Last part of a key that files older than PyTorch 0.4.1 lack, and that no network here reads."""


class WeightsError(XDistillError, ValueError):
    """A file of weights that is missing, damaged, or of another network."""


def read_weights(path: Path) -> dict[str, Any]:
    """Read a dictionary written by torch.save; a pickle that would run code is refused unread.

    Raises:
        WeightsError: The file is missing or damaged, or holds more than data or no dictionary.
        MemoryShortError: Memory runs out.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path.name} does not exist",
            expected="a file of weights",
            where=path.absolute(),
            remedy="correct the path",
        )
    content = _load(path)
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path.name} holds a {type(content).__name__}",
            expected="a dictionary of tensors",
            where=path,
            remedy="save the network's state_dict()",
        )
    return dict(content)


def _load(path: Path) -> Any:
    # The command line imports this package, and must answer before torch is imported.
    import torch

    try:
        with (
            memory_reported(f"the weights of {path.name}"),
            torch.serialization.safe_globals(_harmless()),
            warnings.catch_warnings(),
        ):
            # Of an odd pickle protocol torch warns before it fails; one message is enough.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except XDistillError:
        raise
    except pickle.UnpicklingError as error:
        reason = str(error.__context__ or error)
        raise WeightsError(
            f"{path.name} holds more than data, or is damaged: {_short(reason)}",
            expected="only tensors, numbers and text: loading a pickle may run any program",
            where=path,
            remedy="download it again from its publisher; load it another way only if you trust "
            "whoever made it",
        ) from error
    except DAMAGE as error:
        raise WeightsError(
            _unreadable(path, error),
            expected="a complete file as torch.save writes it",
            where=path,
            remedy="download or copy it again",
        ) from error


def _unreadable(path: Path, error: Exception) -> str:
    """The reason; what torch says of a damaged file concerns torch's internals alone."""
    # A file cut short makes torch seek before its beginning.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return f"{path.name} cannot be read: {error.strerror}"
    return f"{path.name} is cut short or damaged: {path.stat().st_size} bytes"


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
    """Names that a file may contain: none is called, each gives an inert object."""
    return [(_Inert, name) for name in _LOG_NAMES]


def load_strictly(
    network: "nn.Module", weights: Mapping[str, Any], *, where: Path, idle: Sequence[str] = ()
) -> None:
    """Load weights that must fit the network key by key and shape by shape.

    Args:
        network: Changed in place, as ``load_state_dict`` does.
        weights: Tensors by key.
        where: Their file, named in the message.
        idle: First parts of keys that decide nothing, and may be missing or left over.

    Raises:
        WeightsError: A key is missing or left over, or a shape differs.
    """
    own = network.state_dict()
    problems = {
        "missing": [key for key in own if key not in weights and not _is_idle(key, idle)],
        "unexpected": [key for key in weights if key not in own and not _is_idle(key, idle)],
        "of another shape": [
            f"{key} {_shape(weights[key])} for {_shape(own[key])}"
            for key in own
            if key in weights and _shape(weights[key]) != _shape(own[key])
        ],
    }
    if any(problems.values()):
        raise WeightsError(
            f"the weights do not fit the network: keys {differences(problems)}",
            expected=f"the {len(own)} tensors of {type(network).__name__}",
            where=where,
            remedy="give the config that these weights were trained with, or the recipe (check "
            "encoder, scheme and d2s_layers)",
        )
    network.load_state_dict(own | {key: weights[key] for key in own if key in weights})


def _is_idle(key: str, idle: Sequence[str]) -> bool:
    return key.startswith(tuple(idle)) or key.endswith(BATCH_COUNT)


def _shape(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, "shape", ("no tensor",)))


def differences(found: Mapping[str, Collection[str]]) -> str:
    """How many keys differ in each way, with ten of them by name.

    Args:
        found: Keys by the way they differ: ``missing``, ``unexpected``, ...
    """
    some = {kind: list(keys) for kind, keys in found.items() if keys}
    shares = {kind: listed(keys, most=KEYS_NAMED // len(some)) for kind, keys in some.items()}
    return "; ".join(f"{kind} ({len(some[kind])}): {names}" for kind, names in shares.items())


def listed(keys: Sequence[str], *, most: int = KEYS_NAMED) -> str:
    """The first keys by name."""
    return ", ".join(keys[:most]) + (", ..." if len(keys) > most else "")
