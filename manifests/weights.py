"""Files of weights: read as data alone, and loaded with every key accounted for."""

import errno
import pickle
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from xdistill.manifests.archive import damaged, opened, unreadable
from xdistill.manifests.errors import WeightsError, XDistillError
from xdistill.manifests.memory import memory_reported

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state_dict", "model", "params", "net", "network", "weights")
"""Keys below which training programs keep a state dict."""
DEEPEST = 4
"""Dictionaries around a state dict; one that holds itself has no end."""
PARALLEL = "module."
"""Prefix that data-parallel training leaves on every key."""
PROFILED = ("total_ops", "total_params")
"""Last parts of the keys that a profiler (thop) leaves in a network."""
PARAMETERS = (".weight", ".bias", ".running_mean", ".running_var")
"""Last parts of the keys of weights."""
KEYS_NAMED = 10
"""Keys that a message names; of another network hundreds differ."""
OWN_NETWORK = (
    "give the config that these weights were trained with, or the recipe (check encoder, scheme "
    "and d2s_layers)"
)
BATCH_COUNT = "num_batches_tracked"
"""Last part of a key that files older than PyTorch 0.4.1 lack, and that no network here reads."""


def read_weights(path: Path) -> dict[str, Any]:
    """Read a dictionary written by torch.save; a pickle that would run code is refused unread.

    Raises:
        WeightsError: The file is missing or damaged, is something else, or holds more than data or
            no dictionary.
        MemoryShortError: Memory runs out.
    """
    with opened(path) as file:
        content = _load(path, file)
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path.name} holds a {type(content).__name__}",
            expected="a dictionary of tensors",
            where=path,
            remedy="save the network's state_dict()",
        )
    return dict(content)


def _load(path: Path, file: BinaryIO) -> Any:
    # The command line imports this package, and must answer before torch is imported.
    import torch

    from xdistill.manifests.inert import stand_ins

    try:
        with (
            memory_reported(f"the weights of {path.name}"),
            torch.serialization.safe_globals(stand_ins()),
            warnings.catch_warnings(),
        ):
            # Of an odd pickle protocol torch warns before it fails; one message is enough.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except XDistillError:
        raise
    # Of a damaged file torch raises whatever its parts do, in words on its own internals.
    except Exception as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> WeightsError:
    """Why a file was not read, in our words: torch advises to switch its protection off."""
    # A file cut short makes torch seek before its beginning.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return unreadable(path, error)
    named = re.search(r"GLOBAL (\S+)", f"{error.__context__} {error}")
    if named is None and not isinstance(error, pickle.UnpicklingError):
        return damaged(path)
    what = f"it names {named[1]}" if named else "its pickle does what no weights need"
    return WeightsError(
        f"{path.name} holds more than data, or is damaged: {what}",
        expected="only tensors, numbers and text: anything else in a pickle may run any program",
        where=path,
        remedy="download it again from its publisher, or ask for the network's state_dict()",
    )


def tensors_of(content: Mapping[str, Any], *, where: Path) -> "dict[str, Tensor]":
    """The tensors of a checkpoint by key, from the forms in which checkpoints circulate.

    They may lie below ``state_dict``, ``model``, ...; data-parallel training leaves ``module.``
    before every key, and a profiler leaves counts of operations among the weights.

    Args:
        content: What ``read_weights`` gave.
        where: Its file, named in the message.

    Raises:
        WeightsError: There are no tensors, or something else stands where a weight belongs.
    """
    from torch import Tensor

    found = _state_dict(content)
    named = {str(key).removeprefix(PARALLEL): value for key, value in found.items()}
    kept = {key: v for key, v in named.items() if key.rpartition(".")[2] not in PROFILED}
    tensors = {key: value for key, value in kept.items() if isinstance(value, Tensor)}
    others = [key for key in kept if key.endswith(PARAMETERS) and key not in tensors]
    if others:
        raise WeightsError(
            f"{where.name} holds {len(others)} weights that are no tensors: {listed(others)}",
            expected="tensors, as torch.save writes a network's state_dict()",
            where=where,
            remedy="ask for the network's state_dict(), as PyTorch gives it",
        )
    if not tensors:
        entries = listed([str(key) for key in content]) or "nothing"
        raise WeightsError(
            f"{where.name} holds no tensors; its entries: {entries}",
            expected="a state dict, or a checkpoint with a state_dict",
            where=where,
            remedy="give the file with the network's weights",
        )
    return tensors


def _state_dict(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The innermost of the dictionaries that training programs put around each other."""
    for _ in range(DEEPEST):
        below = (content.get(name) for name in WRAPPERS)
        content = next((part for part in below if isinstance(part, Mapping)), content)
    return content


def load_strictly(
    network: "nn.Module",
    weights: Mapping[str, Any],
    *,
    where: Path,
    idle: Sequence[str] = (),
    remedy: str = OWN_NETWORK,
) -> None:
    """Load weights that must fit the network key by key, shape by shape, and be finite.

    Args:
        network: Changed in place, as ``load_state_dict`` does.
        weights: Tensors by key.
        where: Their file, named in the message.
        idle: First parts of keys that decide nothing, and may be missing or left over.
        remedy: What to do where they do not fit.

    Raises:
        WeightsError: A key is missing or left over, a shape or a type differs, or a weight is not
            finite.
    """
    own = network.state_dict()
    problems = _problems(own, weights, idle)
    if any(problems.values()):
        raise WeightsError(
            f"the weights do not fit the network: keys {differences(problems)}",
            expected=f"the {len(own)} tensors of {type(network).__name__}",
            where=where,
            remedy=remedy,
        )
    fitting = {key: weights[key].to(own[key].dtype) for key in own if key in weights}
    if lost := [key for key, value in fitting.items() if not value.isfinite().all()]:
        raise WeightsError(
            f"weights are not finite: {listed(lost)}",
            expected="finite numbers: the training that wrote them had diverged, or the file is "
            "damaged",
            where=where,
            remedy="give an earlier checkpoint, or the file as its publisher has it",
        )
    network.load_state_dict(own | fitting)


def _problems(
    own: Mapping[str, Any], weights: Mapping[str, Any], idle: Sequence[str]
) -> dict[str, list[str]]:
    """Keys at which weights do not fit a network's own, by what is wrong with them."""
    given = [str(key) for key in weights]
    return {
        "missing": [key for key in own if key not in weights and not _is_idle(key, idle)],
        "unexpected": [key for key in given if key not in own and not _is_idle(key, idle)],
        "of another shape": [
            f"{key} {_shape(weights[key])} for {_shape(own[key])}"
            for key in own
            if key in weights and _shape(weights[key]) != _shape(own[key])
        ],
        "of another type": [
            f"{key} {_numbers(weights[key])} for {_numbers(own[key])}"
            for key in own
            if _shape(weights.get(key)) == _shape(own[key])
            and _numbers(weights[key]) != _numbers(own[key])
            and not key.endswith(BATCH_COUNT)
        ],
    }


def _is_idle(key: str, idle: Sequence[str]) -> bool:
    return key.startswith(tuple(idle)) or key.endswith(BATCH_COUNT)


def _shape(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, "shape", ("no tensor",)))


def _numbers(value: "Tensor") -> str:
    """What kind of numbers a tensor holds; within a kind they convert to each other."""
    if value.is_meta or value.is_quantized or str(value.layout) != "torch.strided":
        return "without data" if value.is_meta else "quantised or sparse"
    if value.is_floating_point():
        return "floating"
    return "complex" if value.is_complex() else "whole"


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
