"""A file of weights on disk: what it is by its first bytes, and whether its checksums hold.

torch.save writes a zip archive with a CRC-32 of each tensor's bytes, which torch.load does not
compare: a bit that flipped on disk would become a weight. Files from before PyTorch 1.6 are plain
pickles without checksums.
"""

import os
import re
import shlex
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from xdistill.manifests.disk import open_regular
from xdistill.manifests.errors import WeightsError

BEGINNING_BYTES = 512
ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""First bytes of the two forms that torch.save has written."""
PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
OTHERS = {
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
}
PUBLISHER = "download or copy it again"
BLOCK_BYTES = 1 << 20
FOLDER_BIT = 0x10
"""Marks a part of a zip archive as a folder."""
NAMED = 4
"""Entries of a foreign archive that a message names."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of weights, once it is known to be one and its checksums were compared.

    Raises:
        WeightsError: It cannot be read, is something else, is cut short or damaged.
    """
    try:
        file = os.fdopen(open_regular(path), "rb")
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path.name} does not exist",
            expected="a file of weights",
            where=path.absolute(),
            remedy="correct the path",
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        try:
            beginning = file.read(BEGINNING_BYTES)
            if beginning.startswith(ZIP):
                _require_whole(path, file)
            elif not beginning.startswith(PICKLE) or _is_safetensors(beginning):
                raise _foreign(path, *_what(path, beginning))
            file.seek(0)
        except OSError as error:
            raise unreadable(path, error) from error
        yield file


def unreadable(path: Path, error: OSError) -> WeightsError:
    """The error of a file that the disk does not give."""
    return WeightsError(
        f"{path.name} cannot be read: {error.strerror}",
        expected="a file of weights",
        where=path.absolute(),
        remedy="give a file that can be read",
    )


def damaged(path: Path, how: str | None = None) -> WeightsError:
    """The error of a file that torch.save wrote, and that has changed since."""
    size = path.stat().st_size
    return WeightsError(
        f"{path.name} is damaged: {how}"
        if how
        else f"{path.name} is cut short or damaged: {size} bytes",
        expected="a complete file as torch.save writes it",
        where=path,
        remedy=f"{PUBLISHER}; of a run, restore an earlier copy of the file",
    )


def _require_whole(path: Path, file: BinaryIO) -> None:
    """Compare every checksum of a zip archive, and look for what torch.save writes."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            changed = [part.filename for part in parts if _changed(archive, part)]
    except OSError:
        raise
    # Of a damaged archive zipfile raises whatever its parts do: NotImplementedError, ...
    except Exception as error:
        raise damaged(path) from error
    if changed:
        part = changed[0].partition("/")[2] or changed[0]
        raise damaged(path, f"its part {part!r} does not match its checksum")
    names = [part.filename for part in parts]
    if len(set(names)) < len(names):
        raise damaged(path, "two of its parts have the same name")
    files = {name.partition("/")[2] for name in names}
    if "constants.pkl" in files:
        raise _foreign(
            path,
            "a TorchScript archive, which is a program",
            "ask its maker for the network's state_dict()",
        )
    if "data.pkl" not in files:
        listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        raise _foreign(
            path,
            f"a zip archive of {listed or 'nothing'}",
            "unpack it, and give the file of weights inside",
        )


def _changed(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether one part differs from what was written."""
    # Where this bit is set, torch.load reads nothing, and memory as it was becomes the weights.
    if part.external_attr & FOLDER_BIT:
        return not part.is_dir()
    try:
        with archive.open(part) as content:
            while content.read(BLOCK_BYTES):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return True
    return False


def _what(path: Path, beginning: bytes) -> tuple[str, str]:
    """What a file is that torch.save did not write, and what to do with it."""
    for signature, kind in PACKED.items():
        if beginning.startswith(signature):
            return f"a {kind} archive", "unpack it, and give the file of weights inside"
    if beginning[257:262] == b"ustar":
        return "a tar archive", (
            "unpack it, and give the file of weights inside; if PyTorch itself wrote the archive, "
            "ask for one of PyTorch 1.6 or newer"
        )
    for signature, kind in OTHERS.items():
        if beginning.startswith(signature):
            return kind, "give the file of weights"
    if _is_safetensors(beginning):
        return "a safetensors file", _conversion(path)
    return _text(beginning) or (
        f"no file of torch.save: it begins with {beginning[:8]!r}",
        PUBLISHER,
    )


def _text(beginning: bytes) -> tuple[str, str] | None:
    """What a text file is; None if it is no text."""
    if not beginning:
        return "empty", PUBLISHER
    if beginning.startswith(b"version https://git-lfs"):
        return (
            "a Git LFS pointer, which stands for the file",
            "run git lfs pull in its repository, or download the file itself",
        )
    # A character may be cut at the end.
    text = beginning.decode("utf-8-sig", errors="ignore").strip()
    if re.match(r"(<!--|<\?xml|<!doctype|<html|<head)", text, re.IGNORECASE):
        return (
            "a web page",
            "download the file itself: the page was saved in its place, often since it asks to "
            "sign in or to confirm",
        )
    if len(text) > 0.9 * len(beginning) and all(c.isprintable() or c.isspace() for c in text):
        return f"text: {text[:40]!r}", "give the file of weights"
    return None


def _is_safetensors(beginning: bytes) -> bool:
    """Eight bytes of length, then JSON."""
    return beginning[8:10] == b'{"' and beginning[5:8] == bytes(3)


def _conversion(path: Path) -> str:
    """A command that writes the tensors of a safetensors file as torch.save does."""
    into = path.with_name(f"{path.stem}-torch.pth")
    code = (
        "import torch; from safetensors.torch import load_file; "
        f"torch.save(load_file({str(path)!r}), {str(into)!r})"
    )
    return f"convert it, with the package safetensors: python -c {shlex.quote(code)}"


def _foreign(path: Path, kind: str, remedy: str) -> WeightsError:
    return WeightsError(
        f"{path.name} is {kind}",
        expected="a file of weights, as torch.save writes it",
        where=path.absolute(),
        remedy=remedy,
    )
