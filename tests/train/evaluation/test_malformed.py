"""Malformed input of xd-eval: one message and status 1, or the right numbers; never a traceback."""

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.velodyne import scan_path
from xdistill.train.cli.evaluate import main
from xdistill.train.evaluation.truth_file import (
    COLUMNS,
    FORMAT,
    GroundTruthError,
    _checksum,
    read_depth,
)

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"
FRAMES = [Frame(DRIVE, index, "l") for index in (1, 2)]
SHAPE = (2, 6, 20)

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def evaluated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scans, a split, predictions, their scores and the ground truth file."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(data, folder / "kitti")
    rng = np.random.default_rng(5)
    for frame in FRAMES:
        path = scan_path(folder / "kitti", frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        rng.uniform((2, -20, -4, 0), (60, 20, 1, 1), (2000, 4)).astype("<f4").tofile(path)
    (folder / "split.txt").write_text("".join(f"{frame}\n" for frame in FRAMES))
    np.save(folder / "d.npy", rng.uniform(0.02, 0.5, SHAPE).astype(np.float16))
    assert scored(folder) is not None
    return folder


@pytest.fixture
def folder(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(evaluated, tmp_path / "work", symlinks=True))


def scored(folder: Path, *, truth: str = "truth.h5") -> dict[str, Any] | None:
    """The scores of d.npy; None where it is refused with one message."""
    out = folder / "scores.json"
    out.unlink(missing_ok=True)
    options = {
        "--predictions": folder / "d.npy",
        "--data": folder / "kitti",
        "--split": folder / "split.txt",
        "--ground-truth": folder / truth,
        "--json": out,
    }
    words = [str(word) for pair in options.items() for word in pair]
    result = CliRunner().invoke(main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    if result.exit_code == 0:
        content = json.loads(out.read_text(), parse_constant=pytest.fail)
        return {"metrics": content["metrics"], "per_image": content["per_image"]}
    assert result.exit_code == 1 and not out.exists()
    assert result.stderr.count("Error: ") == 1 and "what to do: " in result.stderr
    assert "delete" not in result.stderr and "abs_rel" not in result.stdout
    return None


def npy(values: np.ndarray, **header: Any) -> bytes:
    """A .npy file whose header says something else than what follows."""
    file = io.BytesIO()
    said = {"descr": values.dtype.str, "fortran_order": False, "shape": values.shape} | header
    text = repr(said).encode() + b"\n"
    file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + values.tobytes())
    return file.getvalue()


def save(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


ONES = np.ones(SHAPE, np.float32)
MAPS = np.empty(2, object)
MAPS[:] = [np.ones((6, 20), np.float32), np.ones((5, 20), np.float32)]
SPOILT = [
    *((value, index) for value in (np.nan, np.inf, -np.inf, 0, -1) for index in ((0, 0, 0), ...)),
]


def spoilt(value: float, index: Any) -> np.ndarray:
    values = ONES.copy()
    values[index] = value
    return values


REFUSED: Mapping[str, bytes] = {
    "empty": b"",
    "text": b"0.1 0.2 0.3\n",
    "magic alone": b"\x93NUMPY",
    "no header": b"\x93NUMPY\x01\x00",
    "version 9": b"\x93NUMPY\x09\x00" + save(ONES)[8:],
    "header cut short": save(ONES)[:40],
    "data cut short": save(ONES)[:-1],
    "no data": save(ONES)[:128],
    "two arrays in one file": save(ONES) + save(ONES),
    "one byte more": save(ONES) + b"\n",
    "a header that is code": npy(ONES).replace(b"{'descr'", b"__import"),
    "a header that is nested": b"\x93NUMPY\x01\x00\x20\x4e" + b"(" * 20000,
    "a header that is a list": b"\x93NUMPY\x01\x00\x03\x00[]\n",
    "a header of null bytes": b"\x93NUMPY\x01\x00\x10\x00" + bytes(16),
    "negative count": npy(ONES, shape=(-2, 6, 20)),
    "two negative sides": npy(ONES, shape=(2, -6, -20)),
    "negative and zero": npy(ONES, shape=(-1, 0, 20)),
    "huge": npy(ONES, shape=(2, 1 << 31, 1 << 31)),
    "beyond 64 bits": npy(ONES, shape=(2, 1 << 70, 6)),
    "a shape of texts": npy(ONES, shape=("2", "6", "20")),
    "a shape of floats": npy(ONES, shape=(2.0, 6.0, 20.0)),
    "no shape": npy(ONES, shape=None),
    "another order of bytes": npy(ONES * np.float32(0.1), descr=">f4"),
    "no such type": npy(ONES, descr="<q9"),
    "a type that is an object": npy(ONES, descr="|O"),
    "a type that is a list": npy(ONES, descr=[("a", "<f4")]),
    "objects": save(MAPS, allow_pickle=True),
    "complex": save(ONES.astype(np.complex64)),
    "texts": save(ONES.astype("U3")),
    "bytes": save(ONES.astype("S3")),
    "whole numbers": save(np.full(SHAPE, 1000, np.uint16)),
    "truth values": save(ONES.astype(bool)),
    "times": save(ONES.astype("M8[s]")),
    "structures": save(np.ones(SHAPE, [("depth", "<f4")])),
    "one image too few": save(ONES[:1]),
    "one image too many": save(np.ones((3, 6, 20), np.float32)),
    "no image": save(ONES[:0]),
    "channels": save(ONES[:, None]),
    "one plane": save(ONES[0]),
    "no dimension": save(np.float32(1)),
    "no rows": save(ONES[:, :0]),
    "archive": archive(data=ONES),
    "archive of objects": archive(data=MAPS),
    "archive cut short": archive(data=ONES)[:30],
    **{f"{value} at {index}": save(spoilt(value, index)) for value, index in SPOILT},
    # Positive and finite as they are stored, but not what can be made of them in float32.
    "denormal": save(np.full(SHAPE, 1e-40, np.float32)),
    "smallest": save(np.full(SHAPE, 1e-45, np.float32)),
    "too large": save(np.full(SHAPE, 3e37, np.float32)),
    "largest": save(np.full(SHAPE, 3.4e38, np.float32)),
    "beyond float32": save(np.full(SHAPE, 1e300)),
    "one beyond float32": save(spoilt(1, ...).astype(float) + 1e300 * (ONES.cumsum(1) == 5)),
    "below float32": save(np.full(SHAPE, 1e-300)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_predictions_of_every_malformed_kind_are_refused(folder: Path, name: str) -> None:
    (folder / "d.npy").write_bytes(REFUSED[name])
    assert scored(folder) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda values: save(np.asfortranarray(values)),
        lambda values: save(values.astype(">f8")),
        lambda values: save(values.astype(np.longdouble)),
        lambda values: npy(values.astype("<f4")),
        lambda values: b"\x93NUMPY\x02\x00\x76\x00\x00\x00" + save(values)[10:],
    ],
    ids=["Fortran order", "big-endian", "long double", "bare header", "version 2"],
)
def test_every_sound_form_gives_the_same_scores(
    folder: Path, change: Callable[[np.ndarray], bytes]
) -> None:
    expected = scored(folder)
    (folder / "d.npy").write_bytes(change(np.load(folder / "d.npy")))
    assert scored(folder) == expected


def test_a_header_with_any_wrong_byte_is_refused_or_harmless(folder: Path) -> None:
    path, rng = folder / "d.npy", np.random.default_rng(11)
    expected, whole = scored(folder), path.read_bytes()
    refused = 0
    for position in rng.integers(0, 80, 80):
        content = bytearray(whole)
        content[position] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        found = scored(folder)
        refused += found is None
        assert found in (None, expected), content[:80]
    assert refused > 60


def replaced(name: str, change: Change) -> Change:
    """Puts something else in the place of a file."""

    def put(folder: Path) -> None:
        path = folder / name
        path.unlink()
        change(path)

    return put


def loop(path: Path) -> None:
    path.symlink_to(path.name)


SCAN = str(scan_path("kitti", FRAMES[1]))
CAMERAS = "kitti/2011_09_26/calib_cam_to_cam.txt"
KINDS: Mapping[str, Change] = {"folder": Path.mkdir, "pipe": os.mkfifo, "link to itself": loop}
PLACES = ["d.npy", SCAN, CAMERAS]


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in PLACES for kind in KINDS]
    # A link that leads nowhere is no ground truth yet: the new file takes its place.
    + [("truth.h5", kind) for kind in KINDS if kind != "link to itself"],
)
def test_what_is_no_file_is_refused_at_once(folder: Path, name: str, kind: str) -> None:
    replaced(name, KINDS[kind])(folder)
    # Ground truth that exists needs neither scans nor calibration.
    assert scored(folder, truth="new.h5" if name in (SCAN, CAMERAS) else "truth.h5") is None


def points(change: Callable[[np.ndarray], object]) -> bytes:
    values = np.ones((9, 4), "<f4")
    change(values)
    return values.tobytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", bytes(15), bytes(17), bytes(16), points(lambda p: None)]
    + [
        points(lambda p, place=place, value=value: p.__setitem__(place, value))
        for place in ((0, 0), (4, 1), (8, 2), ...)
        for value in (np.nan, np.inf, -np.inf, -1, 3e38)
        if (place, value) not in {((4, 1), -1), ((8, 2), -1)}
    ],
)
def test_scans_without_a_point_that_counts_are_refused(folder: Path, content: bytes) -> None:
    (folder / SCAN).write_bytes(content)
    assert scored(folder, truth="new.h5") is None


@pytest.mark.parametrize("key", ["S_rect_02", "P_rect_02", "R_rect_00"])
@pytest.mark.parametrize("values", [None, "", "x", "nan", "1e999", "0 " * 12, "-1 " * 12, "1 2"])
def test_calibration_that_describes_no_camera_is_refused(
    folder: Path, key: str, values: str | None
) -> None:
    path = folder / CAMERAS
    lines = [line for line in path.read_text().splitlines() if not line.startswith(key)]
    path.write_text("\n".join(lines + ([] if values is None else [f"{key}: {values}"])) + "\n")
    assert scored(folder, truth="new.h5") is None


Spoil = Callable[[h5py.File], object]
KEY = FRAMES[1].key


def put(name: str, values: Any, **options: Any) -> Spoil:
    """Puts a dataset in the place of another."""

    def change(file: h5py.File) -> None:
        del file[KEY][name]
        file[KEY].create_dataset(name, data=values, **options)

    return change


def consistent(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Changes the rows, and the checksum with them, as another program might write them."""

    def put(file: h5py.File) -> None:
        group = file[KEY]
        rows = change(group["rows"][()])
        del group["rows"]
        group["rows"] = rows
        seal(group)

    return put


def seal(group: h5py.Group) -> None:
    """Gives a group the checksum of what it holds."""
    contents = {name: group[name][()] for name in COLUMNS}
    group.attrs["crc32c"] = _checksum(group.attrs["size"], contents)


def record(**values: Any) -> Spoil:
    """Changes what the file says that it was made from."""

    def change(file: h5py.File) -> None:
        content = json.loads(file.attrs["source"]) | values
        file.attrs["source"] = np.bytes_(json.dumps(content))

    return change


def attribute(name: str, value: Any) -> Spoil:
    return lambda file: file[KEY].attrs.__setitem__(name, value)


def whole(name: str, value: Any) -> Spoil:
    return lambda file: file.attrs.__setitem__(name, value)


def replace_group(value: Any) -> Spoil:
    def change(file: h5py.File) -> None:
        del file[KEY]
        if value is not None:
            file[KEY] = value

    return change


HDF5: Mapping[str, Spoil] = {
    "no frame": replace_group(None),
    "a number in place of a frame": replace_group(7),
    "a dangling link": replace_group(h5py.SoftLink("/nowhere")),
    "a link to itself": replace_group(h5py.SoftLink(KEY)),
    "a link to another file": replace_group(h5py.ExternalLink("none.h5", "/")),
    "a type in place of a frame": replace_group(np.dtype("f4")),
    **{
        f"{name} {form}": put(name, values)
        for name in ("rows", "columns", "depth")
        for form, values in {
            "of whole numbers": np.arange(9),
            "of texts": "x",
            "of one number": np.float32(1),
            "in two dimensions": np.ones((3, 3), np.float32),
            "too long": np.ones(200_000, np.uint16),
            "without values": np.ones(0, np.float32),
            "missing": h5py.Empty("f4"),
        }.items()
    },
    "rows outside, with their checksum": consistent(lambda rows: rows + 60_000),
    "rows below 0, with their checksum": consistent(lambda rows: -1 - rows.astype(np.int64)),
    "rows outside": put("rows", np.full(9, 60_000, np.uint16)),
    "a size of text": attribute("size", "large"),
    "a size of one": attribute("size", 7),
    "a size of three": attribute("size", (2, 3, 4)),
    "a negative size": attribute("size", (-80, -128)),
    "a size of nothing": attribute("size", (0, 0)),
    "a huge size": attribute("size", (1 << 40, 1 << 40)),
    "another size": attribute("size", (128, 80)),
    "a checksum of text": attribute("crc32c", "sound"),
    "another checksum": attribute("crc32c", 1),
    "a scan of text": attribute("scan", "whole"),
    "a scan of two": attribute("scan", (1, 2)),
    "another format": whole("format", np.bytes_(b"xdistill ground truth 1")),
    "a format of numbers": whole("format", [1, 2]),
    "a format of text": whole("format", FORMAT.decode()),
    "a record that is no JSON": whole("source", np.bytes_(b"{")),
    "a record that is nested": whole("source", np.bytes_(b"[" * 9000)),
    "a record that is a list": whole("source", np.bytes_(b"[]")),
    "a record of numbers": whole("source", [1, 2]),
    "a record without keys": whole("source", np.bytes_(b"{}")),
    "a record of more keys": record(unit="m"),
    "another depth": record(depth="camera_z"),
    "a depth of none": record(depth=None),
    "data that is a number": record(data=7),
    "frames that are not finite": record(frames=float("nan")),
    "calibration that is a list": record(calibration_sha256=[]),
    "calibration of numbers": record(calibration_sha256={"2011_09_26": 7}),
    "another calibration": record(calibration_sha256={"2011_09_26": "0" * 64}),
}


@pytest.mark.parametrize("name", HDF5)
def test_hdf5_of_another_layout_is_refused(folder: Path, name: str) -> None:
    with h5py.File(folder / "truth.h5", "r+") as file:
        HDF5[name](file)
    assert scored(folder) is None


def test_nothing_huge_is_read(folder: Path) -> None:
    for size, said in (((20_000, 20_000), "its size is 20000x20000"), ((80, 128), "of shape")):
        with h5py.File(folder / "truth.h5", "r+") as file:
            group = file[KEY]
            group.attrs["size"] = size
            seal(group)
            if said == "of shape":
                del group["rows"]
                group.create_dataset("rows", (1 << 31,), "u2", chunks=True, compression=1)
        with pytest.raises(GroundTruthError, match=said):
            read_depth(folder / "truth.h5", FRAMES[1])


def test_a_file_of_another_hdf5_kind_is_refused(folder: Path) -> None:
    (folder / "truth.h5").unlink()
    with h5py.File(folder / "truth.h5", "w") as file:
        file["disparity"] = np.ones((2, 3))
    assert scored(folder) is None
