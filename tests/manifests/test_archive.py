"""Files that are given as weights: each kind is named, and no bit flips in silence."""

import gzip
import io
import os
import pickle
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from xdistill.manifests.errors import WeightsError
from xdistill.manifests.weights import read_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4665a5\nsize 58\n"


def saved(*, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(TENSORS, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def zip_of(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights/encoder.pth"))
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, conv1=np.ones(3))
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def safetensors() -> bytes:
    header = b'{"a.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return len(header).to_bytes(8, "little") + header + np.ones(2, "f4").tobytes()


# What is in the file, what the first line says, and what the remedy begins with.
FOREIGN = {
    "empty": (b"", "is empty", "download or copy it again"),
    "text": (b"not found\n" * 9, "is text: 'not found", "give the file of weights"),
    "page": (b"\xef\xbb\xbf\n <!DOCTYPE html><title>Sign in</title>", "is a web page", "download"),
    "page with a comment": (b"<!-- mirror --><html>", "is a web page", "download the file itself"),
    "pointer": (LFS.encode(), "is a Git LFS pointer", "run git lfs pull"),
    "safetensors": (safetensors(), "is a safetensors file", "convert it, with the package"),
    "gzip": (gzip.compress(saved()), "is a gzip archive", "unpack it, and give the file"),
    "tar": (tar(), "is a tar archive", "unpack it, and give the file of weights inside"),
    "zip": (
        zip_of("mono/encoder.pth", "mono/depth.pth"),
        "is a zip archive of mono/encoder.pth, mono/depth.pth",
        "unpack it, and give the file of weights inside",
    ),
    "npz": (npz(), "is a zip archive of conv1.npy", "unpack it"),
    "npy": (npy(), "is a NumPy array", "give the file of weights"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras", "give the file"),
    "program": (
        zip_of("net/data.pkl", "net/code/net.py", "net/constants.pkl"),
        "is a TorchScript archive, which is a program",
        "ask its maker for the network's state_dict()",
    ),
    "noise": (bytes(range(1, 255, 3)), r"is no file of torch.save: it begins with b'\x01", "down"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_a_foreign_file_is(tmp_path: Path, kind: str) -> None:
    content, found, remedy = FOREIGN[kind]
    path = tmp_path / "depth net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    first, *_, last = str(caught.value).splitlines()
    assert first.startswith(f"depth net.pth {found}"), first
    assert last.startswith(f"  what to do: {remedy}"), last
    assert path.read_bytes() == content


def test_the_command_that_converts_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "it's a net.pth"
    path.write_bytes(safetensors())
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    command = shlex.split(str(caught.value).partition("safetensors: ")[2])
    assert command[:2] == ["python", "-c"]
    exec(command[2], {})
    (converted,) = tmp_path.glob("*-torch.pth")
    assert torch.equal(read_weights(converted)["a.weight"], torch.ones(2))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Path.mkdir, "it is a folder, not a file"),
        (fifo, "it is a named pipe, not a file"),
        (loop, "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file(tmp_path: Path, make: Callable[[Path], None], told: str) -> None:
    make(tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=f"^x.pth cannot be read: {told}\n"):
        read_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    content, path = saved(zipped=zipped), tmp_path / "x.pth"
    for length in (*range(1, 40, 3), *range(40, len(content), len(content) // 25)):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError) as caught:
            read_weights(path)
        assert f"where: {path}" in str(caught.value)


def test_every_bit_of_the_weights_is_compared(tmp_path: Path) -> None:
    """Wherever a bit flips, the file is refused, or every weight is what it was."""
    content, path, refused = saved(), tmp_path / "x.pth", 0
    for number in range(0, 8 * len(content), 17):
        flipped = bytearray(content)
        flipped[number // 8] ^= 1 << number % 8
        path.write_bytes(flipped)
        try:
            found = read_weights(path)
        except WeightsError:
            refused += 1
            continue
        assert found.keys() == TENSORS.keys(), number
        assert all(torch.equal(found[key], TENSORS[key]) for key in found), number
    assert refused > 300


def entry(content: bytes, name: bytes) -> int:
    """Where the archive's table of contents, at its end, has the 46 bytes of one part."""
    return content.rindex(name) - 46


def test_a_part_that_became_a_folder_is_refused(tmp_path: Path) -> None:
    """torch.load gives it whatever the memory held."""
    content, path = bytearray(saved()), tmp_path / "x.pth"
    content[entry(content, b"archive/data/0") + 38] |= 0x10
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    with pytest.raises(WeightsError, match="'data/0' does not match its checksum"):
        read_weights(path)


def test_two_parts_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(saved())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data/0", bytes(24))
    with pytest.raises(WeightsError, match="two of its parts have the same name"):
        read_weights(path)


def test_the_damaged_part_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    content = saved()
    weights = TENSORS["a.weight"].numpy().tobytes()
    path.write_bytes(content.replace(weights, weights[:-1] + b"\x7f"))
    with pytest.raises(WeightsError, match=r"^x.pth is damaged: its part 'data/0' does not match"):
        read_weights(path)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"a": 1}),
        pickle.dumps({"a": np.ones(3)}, protocol=2),
        b"\x80\x02X\x01\x00\x00\x001\x85R.",
        b"\x80\x02](X\x01\x00\x00\x001X\x01\x00\x00\x001u.",
        b"\x80\x09.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    ],
)
def test_other_pickles_give_no_advice_on_unsafe_loading(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    for word in ("weights_only", "safe_globals", "trust", "PyTorch 2", "operand"):
        assert word not in str(caught.value)
