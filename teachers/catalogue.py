"""The teachers that are known by name, and their published weights."""

import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xdistill.manifests import loader
from xdistill.manifests.download import Watch, cache_folder, fetch, sha256_of, unwatched
from xdistill.manifests.errors import FetchError, ManifestError
from xdistill.manifests.weights import WeightsError
from xdistill.teachers.mmseg.config import PACKAGED
from xdistill.teachers.protocol import TeacherError
from xdistill.teachers.settings import TeacherSettings

PACKAGED_ADDRESS = "package:"
"""Address of weights that come with this package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherEntry:
    """A manifest of manifests/teachers."""

    name: str
    """How ``--teacher`` knows it."""
    config: str
    """File name of the mmsegmentation config that its network is built from."""
    input_size: str
    """Network input, as in TeacherSettings."""
    miou: float
    """Claimed mean IoU in percent."""
    miou_on: str
    """What that was measured on, and how."""
    training_data: str
    """What the weights were trained on."""
    licence: str
    """Terms of the weights."""
    source: str
    """Where all of this is documented."""
    file: str
    """File name of the weights."""
    address: str
    """Where the weights are published."""
    sha256: str | None = None
    """Digest of the weights; None where the publisher gives none."""
    input_note: str | None = None
    """What ``input_size`` comes to in pixels, where it does not say so itself."""
    attention_scales: tuple[float, ...] | None = None
    """Multiples of the network input that an attention head joins; None for weights without."""


def entry(name: str) -> TeacherEntry:
    """Read a teacher's manifest.

    Raises:
        ManifestError: No such teacher, or a manifest with missing or unknown keys.
    """
    content = loader.load("teachers", name)
    weights: dict[str, Any] = content.pop("weights", {})
    if "attention_scales" in content:
        content["attention_scales"] = tuple(map(float, content["attention_scales"]))
    try:
        return TeacherEntry(name=name, **content, **weights)
    except TypeError as error:
        raise ManifestError(
            str(error), expected="the keys of manifests/teachers/ocrnet-hr48.toml", where=name
        ) from error


def entries() -> list[TeacherEntry]:
    """Every known teacher, by name."""
    return [entry(name) for name in loader.names("teachers")]


def with_defaults(settings: TeacherSettings, known: TeacherEntry) -> TeacherSettings:
    """The settings, with the manifest's choice where the user made none."""
    return replace(
        settings,
        input_size=settings.input_size or known.input_size,
        scales=settings.scales or known.attention_scales,
    )


def require_head(known: TeacherEntry, keys: Collection[str], *, where: Path) -> None:
    """Refuse a checkpoint that would be run at other scales than its manifest says.

    Args:
        known: The manifest.
        keys: The checkpoint's.
        where: Its file, named in the message.

    Raises:
        TeacherError: An attention head that the manifest knows nothing of, or none where it
            gives the scales of one.
    """
    # It imports torch, which a list of the teachers need not wait for.
    from xdistill.teachers.weights.published import ATTENTION

    has = any(key.startswith(ATTENTION) for key in keys)
    if has == (known.attention_scales is not None):
        return
    words = {True: "with", False: "without"}
    others = [
        other
        for other in entries()
        if (other.attention_scales is not None) == has and other.config == known.config
    ]
    # Of several, those of the same authors.
    same = [other for other in others if other.source == known.source] or others
    names = " or ".join(f"--teacher {other.name},{where}" for other in same)
    raise TeacherError(
        f"a checkpoint {words[has]} an attention head for {known.name}",
        expected=f"one {words[not has]}: the head decides at which scales the network is run",
        where=where,
        remedy=names or "give the checkpoint of this manifest",
    )


def weights_path(known: TeacherEntry) -> Path:
    """Where the weights belong on this machine, there or not."""
    if known.address.startswith(PACKAGED_ADDRESS):
        return PACKAGED / known.file
    return cache_folder() / "weights" / known.file


def fetch_weights(known: TeacherEntry, *, watch: Watch = unwatched) -> Path:
    """The weights' file, downloaded if it is not there yet, and checked.

    Where no digest is published, that of the first file that reads as a checkpoint is recorded
    beside it and checked from then on.

    Args:
        known: Its manifest.
        watch: See ``fetch``.

    Raises:
        FetchError: No network, an incomplete download, another digest than expected, or no
            checkpoint at all.
    """
    target = weights_path(known)
    if known.sha256:
        return fetch(known.address, target, sha256=known.sha256, watch=watch)
    record = target.with_name(f"{target.name}.sha256")
    # An empty record is one that another process has only begun to write.
    recorded = record.read_text("ascii").strip() or None if record.is_file() else None
    path = fetch(known.address, target, sha256=recorded, record=record, watch=watch)
    if recorded is None:
        _require_checkpoint(path, known.address)
        digest = sha256_of(path)
        record.write_text(f"{digest}\n", "ascii")
        print(f"recorded in {record}, and checked from now on", file=sys.stderr)
    return path


def _require_checkpoint(path: Path, address: str) -> None:
    """Refuse what a server or a network's sign-in page sent instead of the weights."""
    # It imports torch, which a list of the teachers need not wait for.
    from xdistill.teachers.weights.checkpoint import read_checkpoint

    try:
        read_checkpoint(path)
    except WeightsError as error:
        reason = str(error).splitlines()[0]
        raise FetchError(
            f"{path.name} is no checkpoint: it begins with {_beginning(path)!r} ({reason})",
            expected="a file of tensors as torch.save writes it",
            where=path,
            remedy=f"delete this file and run again, or put the right one from {address} there",
        ) from error


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)
