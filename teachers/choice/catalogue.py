"""The teachers known by name, and their published weights."""

import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from xdistill.manifests import disk, loader
from xdistill.manifests.download import cache_folder, fetch, sha256_of
from xdistill.manifests.errors import FetchError, ManifestError, WeightsError, shown
from xdistill.manifests.transfer import Watch, unwatched
from xdistill.teachers.mmseg.config import PACKAGED
from xdistill.teachers.protocol import TeacherError, TeacherSettings

PACKAGED_ADDRESS = "package:"
"""Address of weights that come with this package."""
ADDRESSES = ("https://", "http://", "file://", PACKAGED_ADDRESS)
"""How the addresses of weights begin."""


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
    """What it was measured on, and how."""
    training_data: str
    """What the weights were trained on."""
    licence: str
    """Terms of the weights."""
    source: str
    """Where this is documented."""
    file: str
    """File name of the weights."""
    address: str
    """Where the weights are published."""
    sha256: str | None = None
    """Digest of the weights; None where the publisher gives none."""
    input_note: str | None = None
    """``input_size`` in pixels, if it does not say so itself."""
    attention_scales: tuple[float, ...] | None = None
    """Multiples of the network input that an attention head fuses; None without such a head."""


def entry(name: str) -> TeacherEntry:
    """Read a teacher's manifest.

    Raises:
        ManifestError: There is no such teacher, or its manifest lacks keys or has unknown ones.
    """
    content = loader.load("teachers", name)
    weights: dict[str, Any] = content.pop("weights", {})
    scales = content.get("attention_scales")
    if isinstance(scales, list):
        content["attention_scales"] = tuple(scales)
    try:
        known = TeacherEntry(name=name, **content, **weights)
    except TypeError as error:
        raise ManifestError(
            str(error), expected="the keys of manifests/teachers/ocrnet-hr48.toml", where=name
        ) from error
    _require_forms(known)
    return known


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


FORMS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "miou": ("a number", _is_number),
    "attention_scales": (
        "positive numbers",
        lambda value: type(value) is tuple and all(_is_number(n) and n > 0 for n in value),
    ),
    "file": ("a file name", lambda value: type(value) is str and value == Path(value).name),
    "address": (
        f"an address that begins with {' or '.join(ADDRESSES)}",
        lambda value: type(value) is str and value.startswith(ADDRESSES),
    ),
    "sha256": (
        "64 hexadecimal digits",
        lambda value: type(value) is str and bool(re.fullmatch("[0-9a-f]{64}", value)),
    ),
}
TEXT: tuple[str, Callable[[Any], bool]] = ("text", lambda value: type(value) is str)
"""What every other key of a manifest holds."""


def _require_forms(known: TeacherEntry) -> None:
    for field in fields(known):
        value = getattr(known, field.name)
        expected, fits = FORMS.get(field.name, TEXT)
        if not (value is None and field.default is None) and not fits(value):
            raise ManifestError(
                f"{field.name} is {shown(value)}, not {expected}",
                expected=expected,
                where=known.name,
                remedy=f"correct {field.name} in the manifest",
            )


def entries() -> list[TeacherEntry]:
    """Every known teacher, by name."""
    return [entry(name) for name in loader.names("teachers")]


def with_defaults(settings: TeacherSettings, known: TeacherEntry) -> TeacherSettings:
    """Take the manifest's choice where the settings leave it open."""
    return replace(
        settings,
        input_size=settings.input_size or known.input_size,
        scales=settings.scales or known.attention_scales,
    )


def require_head(known: TeacherEntry, keys: Collection[str], *, where: Path) -> None:
    """Refuse a checkpoint that would be run at other scales than the manifest says.

    Args:
        known: The manifest.
        keys: Of the checkpoint's tensors.
        where: Its file, named in the message.

    Raises:
        TeacherError: The checkpoint has an attention head and the manifest no scales for it, or
            the reverse.
    """
    # It imports torch, and listing the teachers must not wait for that.
    from xdistill.teachers.weights.published import ATTENTION

    has = any(key.startswith(ATTENTION) for key in keys)
    if has == (known.attention_scales is not None):
        return
    words = {True: "has", False: "lacks"}
    others = [
        other
        for other in entries()
        if (other.attention_scales is not None) == has and other.config == known.config
    ]
    # Of several, those of the same authors.
    same = [other for other in others if other.source == known.source] or others
    names = " or ".join(f"--teacher {shlex.quote(f'{other.name},{where}')}" for other in same)
    raise TeacherError(
        f"the checkpoint {words[has]} an attention head, unlike {known.name}",
        expected=f"one that {words[not has]} it: the head decides at which scales the network runs",
        where=where,
        remedy=f"give {names}" if names else "give the checkpoint of this manifest",
    )


def weights_path(known: TeacherEntry) -> Path:
    """Path of the weights on this machine, whether downloaded or not."""
    if known.address.startswith(PACKAGED_ADDRESS):
        return PACKAGED / known.file
    return cache_folder() / "weights" / known.file


def fetch_weights(known: TeacherEntry, *, watch: Watch = unwatched) -> Path:
    """Download the weights unless they are on this machine, and check them.

    If no digest is published, the digest of the first file that reads as a checkpoint is recorded
    beside it and checked from then on.

    Args:
        known: Its manifest.
        watch: See ``fetch``.

    Raises:
        FetchError: There is no network, the download is incomplete, the digest differs, or the file
            is not a checkpoint.
    """
    target = weights_path(known)
    if known.sha256:
        return fetch(known.address, target, sha256=known.sha256, watch=watch)
    record = target.with_name(f"{target.name}.sha256")
    # An earlier version could leave an empty record.
    recorded = disk.read_text(record).strip() or None if record.exists() else None
    if recorded:
        return fetch(known.address, target, sha256=recorded, record=record, watch=watch)
    check = partial(_require_checkpoint, address=known.address)
    path = fetch(known.address, target, sha256=None, check=check, watch=watch)
    disk.write(record, [f"{sha256_of(path)}\n".encode()])
    print(f"recorded in {record}, and checked from now on", file=sys.stderr)
    return path


def _require_checkpoint(path: Path, address: str) -> None:
    """Refuse an error or sign-in page that was sent instead of the weights."""
    # It imports torch, and listing the teachers must not wait for that.
    from xdistill.teachers.weights.checkpoint import read_checkpoint

    try:
        read_checkpoint(path)
    except WeightsError as error:
        reason = str(error).splitlines()[0]
        raise FetchError(
            f"{path.name} is not a checkpoint: it begins with {_beginning(path)!r} ({reason})",
            expected="a file of tensors as torch.save writes it",
            where=path,
            remedy=f"move this file away and run again, or put the right one from {address} there",
        ) from error


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)
