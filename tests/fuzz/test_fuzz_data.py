"""Malformed KITTI data: no traceback, no hang, no result that is not the good file's."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fuzzing import Refused, fuzz, invoke, must_hold
from malformed import (
    HUGE,
    Malformed,
    content,
    damaged,
    encoded,
    flipped,
    no_files,
    numbered,
    overwritten,
)
from training_tree import DRIVE, SEQUENCE, TINY

from xdistill.pipeline.cli.main import main as pipeline
from xdistill.pipeline.store import LabelStore
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.train import main as train

pytestmark = pytest.mark.slow

Record = Callable[[str, Any], None]
NOT_FINITE = (b"nan", b"inf", b"1e999", b"x", HUGE, b"1,5", b"")


@pytest.fixture
def labelled(good: Path, fresh: Callable[[str], Path]) -> Callable[..., object]:
    """Labels every frame into a new store; the labels of all frames."""

    def label(teacher: str = f"png:{good / 'labels'}") -> object:
        store = fresh(".zarr")
        where = ("--data", good / "kitti", "--store", store, "--teacher", teacher)
        invoke(pipeline, "segment", *where)
        array = LabelStore.open(store).array(SEQUENCE, "classes")
        return [array.read(index).tobytes() for index in range(array.length)]

    return label


@pytest.fixture
def scored(good: Path, fresh: Callable[[str], Path]) -> Callable[..., object]:
    """Scores the predictions; what the JSON holds of them."""

    def score(split: Path = good / "split.txt", truth: Path | None = None) -> object:
        out = fresh(".json")
        where = ("--data", good / "kitti", "--split", split, "--json", out)
        truth = truth or fresh(".h5")
        invoke(evaluate, "--predictions", good / "disps.npy", *where, "--ground-truth", truth)
        written = json.loads(out.read_text())
        return written["per_image"], written["metrics"]

    return score


def split_lines(good: bytes) -> Iterator[Malformed]:
    """Lists with one bad line."""
    first, _, rest = good.partition(b"\n")
    for line in (
        b"2011_09_26 13 l",
        f"{DRIVE} -1 l".encode(),
        f"{DRIVE} 1.5 l".encode(),
        f"{DRIVE} 1 x".encode(),
        f"{DRIVE} 99999999999 l".encode(),
        f"{DRIVE} {'9' * 5000} l".encode(),
        f"{DRIVE} 1 l extra".encode(),
        f"{DRIVE} ١ l".encode(),
        f"{DRIVE} 77 l".encode(),
        b"../../../etc/passwd 1 l",
        b"/etc/passwd 1 l",
        b"\\date\\drive 1 l",
        b"x" * 100_000,
        b"2011_09_26/" + b"a" * 400 + b" 1 l",
        b"\x1b[31m 1 l",
        b"1,2,3",
    ):
        yield content(f"line {line[:30]!r}", line + b"\n" + rest)
    yield content("every line twice", good + good)
    yield content("a line too few", rest)
    yield content("blank lines only", b"\n \n\t\n")


def test_split_files(good: Path, scored: Callable[..., object], record_property: Record) -> None:
    path = good / "split.txt"
    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *split_lines(data)]
    report = fuzz("split file", path, inputs, scored)
    must_hold(report, record=record_property, at_least=35)


def test_split_files_of_segment(
    good: Path, fresh: Callable[[str], Path], record_property: Record
) -> None:
    path = good / "split.txt"

    def plan() -> object:
        where = ("--data", good / "kitti", "--store", fresh(".zarr"), "--split", path)
        teacher = ("--teacher", f"png:{good / 'labels'}")
        done = invoke(pipeline, "segment", *where, *teacher, "--plan")
        return done.partition("next:")[0]

    data = path.read_bytes()
    bad = [*damaged(data), *encoded(data), *no_files(), *split_lines(data)]
    # Twice a frame is one frame, and fewer frames are fewer labels.
    inputs = [one for one in bad if one.name not in ("every line twice", "a line too few")]
    must_hold(fuzz("split file, segment", path, inputs, plan), record=record_property, at_least=33)


def png_of_size(good: bytes, width: int, height: int) -> bytes:
    """The image with another size in its header, and the header's checksum made right."""
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">II", width, height) + good[24:29]
    return good[:12] + header + struct.pack(">I", zlib.crc32(header)) + good[33:]


def pictures(good: bytes) -> Iterator[Malformed]:
    """PNG files with another header than their pixels."""
    yield content("a size of 100000 x 100000", png_of_size(good, 100_000, 100_000))
    yield content("a size of 0 x 0", png_of_size(good, 0, 0))
    yield content("a size of 2147483648", png_of_size(good, 1 << 31, 1 << 31))
    yield content("twice the height", png_of_size(good, 128, 160))
    yield content("cut by a byte", good[:-1])
    yield content("without its end", good[:-12])
    yield content("a GIF", b"GIF89a" + bytes(64))
    yield content("a BMP", b"BM" + bytes(64))
    yield content("a TIFF", b"II*\0" + bytes(64))


def test_png_images(good: Path, labelled: Callable[..., object], record_property: Record) -> None:
    path = good / "kitti" / SEQUENCE / "data" / "0000000003.png"
    data = path.read_bytes()
    inputs = [*damaged(data), *no_files(), *pictures(data), *flipped(data, 12)]
    inputs += overwritten(data, 4)
    report = fuzz("PNG image", path, inputs, lambda: labelled("bright_teacher:without_confidence"))
    must_hold(report, record=record_property, at_least=35)


def jpegs(good: bytes) -> Iterator[Malformed]:
    """JPEG files whose structure is broken; pixels have no checksum."""
    yield content("without its end marker", good[:-2])
    yield content("cut by a byte", good[:-1])
    yield content("cut within the header", good[:20])
    yield content("its markers alone", b"\xff\xd8\xff\xd9")
    start = good.index(b"\xff\xc0")
    yield content("a size of 65535 x 65535", good[: start + 5] + b"\xff" * 4 + good[start + 9 :])
    yield content("a size of 0 x 0", good[: start + 5] + bytes(4) + good[start + 9 :])
    yield content("a segment of length 0", good[:4] + bytes(2) + good[6:])
    yield content("a segment of length 65535", good[:4] + b"\xff" * 2 + good[6:])
    yield content("without tables", good[:2] + good[start:])


def test_jpeg_images(good: Path, labelled: Callable[..., object], record_property: Record) -> None:
    path = good / "kitti" / SEQUENCE / "data" / "0000000007.jpg"
    data = path.read_bytes()
    inputs = [*damaged(data), *no_files(), *jpegs(data)]
    report = fuzz("JPEG image", path, inputs, lambda: labelled("bright_teacher:without_confidence"))
    must_hold(report, record=record_property, at_least=20)


def test_label_maps(good: Path, labelled: Callable[..., object], record_property: Record) -> None:
    path = good / "labels" / SEQUENCE / "0000000004.png"
    data = path.read_bytes()
    inputs = [*damaged(data), *no_files(), *pictures(data), *flipped(data, 12)]
    picture = (good / "kitti" / SEQUENCE / "data" / "0000000003.png").read_bytes()
    inputs += [*overwritten(data, 4), content("an RGB picture", picture)]
    must_hold(fuzz("label PNG", path, inputs, labelled), record=record_property, at_least=35)


def test_ground_truth_labels(good: Path, store: Path, record_property: Record) -> None:
    path = good / "labels" / SEQUENCE / "0000000004.png"

    def score() -> object:
        done = invoke(pipeline, "score", "--store", store, "--labels", good / "labels", "--json")
        return json.loads(done)

    data = path.read_bytes()
    inputs = [*damaged(data), *no_files(), *pictures(data), *flipped(data, 6)]
    inputs = [one for one in inputs if one.name != "missing"]
    must_hold(fuzz("label PNG, score", path, inputs, score), record=record_property, at_least=25)


def test_mappings(good: Path, store: Path, record_property: Record) -> None:
    maps = good / "semantic"
    maps.mkdir()
    lines = []
    for index in range(3):
        shutil.copy(good / "labels" / SEQUENCE / f"{index:010d}.png", maps / f"{index:06d}_10.png")
        lines.append(f"2011_09_26 {DRIVE.split('/')[1]} {index:010d}\n")
    path = good / "train_mapping.txt"
    path.write_text("".join(lines))

    def score() -> object:
        arguments = ("--labels", maps, "--mapping", path, "--json")
        return json.loads(invoke(pipeline, "score", "--store", store, *arguments))

    data = path.read_bytes()
    first, _, rest = data.partition(b"\n")
    inputs = [*damaged(data), *encoded(data), *no_files()]
    inputs += [
        content("two fields", b"2011_09_26 x\n" + rest),
        content("no number", b"2011_09_26 x y\n" + rest),
        content("a number of 5000 digits", first[:-10] + b"9" * 5000 + b"\n" + rest),
        content("a long line", b"x" * 100_000 + b"\n" + rest),
    ]
    must_hold(
        fuzz("mapping of KITTI 2015", path, inputs, score), record=record_property, at_least=20
    )


@pytest.mark.parametrize("name", ["calib_cam_to_cam.txt", "calib_velo_to_cam.txt"])
def test_calibration_of_evaluation(
    good: Path, scored: Callable[..., object], record_property: Record, name: str
) -> None:
    path = good / "kitti" / "2011_09_26" / name
    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *numbered(data, NOT_FINITE)]
    report = fuzz(name, path, inputs, scored)
    must_hold(report, record=record_property, at_least=30)


@pytest.fixture
def trained(good: Path, store: Path, fresh: Callable[[str], Path]) -> Callable[[], object]:
    """Trains one step with recorded motion; its losses."""

    def step() -> object:
        out = fresh("")
        where = ("--data", good / "kitti", "--store", store, "--split", "all")
        recipe = (
            "--recipe",
            "monodepth2-rn18",
            "--set",
            "intrinsics=calibration",
            "--set",
            "pose=oxts",
        )
        invoke(train, *recipe, *TINY, *where, "--steps", 1, "--out", out)
        return (out / "metrics.jsonl").read_text().splitlines()[0].partition('"seconds')[0]

    return step


@pytest.mark.parametrize("name", ["calib_cam_to_cam.txt", "calib_imu_to_velo.txt"])
def test_calibration_of_training(
    good: Path, trained: Callable[[], object], record_property: Record, name: str
) -> None:
    path = good / "kitti" / "2011_09_26" / name
    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *numbered(data, NOT_FINITE, places=1)]
    report = fuzz(f"{name}, training", path, inputs, trained)
    must_hold(report, record=record_property, at_least=25)


def test_recorded_motion(
    good: Path, trained: Callable[[], object], record_property: Record
) -> None:
    # In a drive of three frames with both neighbours every frame is read in the first step.
    path = good / "kitti" / DRIVE / "oxts" / "data" / "0000000003.txt"
    data = path.read_bytes()
    fields = data.split()
    inputs = [*damaged(data), *encoded(data), *no_files(), *numbered(data, NOT_FINITE, places=1)]
    inputs += [
        content("29 fields", b" ".join(fields[:-1])),
        content("31 fields", data + b" 0"),
        content("two lines", data + b"\n" + data),
        content("a latitude of 900", b"900 " + b" ".join(fields[1:])),
    ]
    must_hold(fuzz("oxts record", path, inputs, trained), record=record_property, at_least=25)


def scans(good: bytes) -> Iterator[Malformed]:
    """Scans that are none; a point's numbers have no checksum."""
    points = np.frombuffer(good, "<f4").reshape(-1, 4)
    for value in (np.nan, np.inf, -np.inf, 3e38):
        wrong = points.copy()
        wrong[:, :3] = value
        yield content(f"coordinates of {value}", wrong.tobytes())
    yield content("cut within a point", good[:-3])
    yield content("cut within a number", good[:-2])


def test_scans(good: Path, scored: Callable[..., object], record_property: Record) -> None:
    path = good / "kitti" / DRIVE / "velodyne_points" / "data" / "0000000002.bin"
    data = path.read_bytes()
    # Noise of a multiple of 16 bytes is a scan, as far as anyone can tell; so are NUL bytes.
    untold = ("noise", "NUL bytes", "a PNG", "cut to a half")
    inputs = [one for one in damaged(data) if one.name not in untold]
    inputs += [*no_files(), *scans(data)]
    must_hold(fuzz("velodyne scan", path, inputs, scored), record=record_property, at_least=15)


def arrays(good: Path) -> Iterator[Malformed]:
    """Files of numpy that hold no disparities of these frames."""
    right = np.load(good)
    for name, array in {
        "a frame too few": right[:-1],
        "four dimensions": right[:, None],
        "one dimension": right.ravel(),
        "a number": np.float32(1),
        "integers": right.astype(np.int32),
        "text": right.astype(str),
        "complex numbers": right.astype(complex),
        "no pixels": right[:, :0],
        "nan": np.full_like(right, np.nan),
        "inf": np.full_like(right, np.inf),
        "zeros": np.zeros_like(right),
        "negative numbers": -right,
        "1e-40": np.full_like(right, 1e-40),
        "3e37": np.full_like(right, 3e37),
        "1e300": np.full(right.shape, 1e300),
    }.items():
        yield Malformed(name, lambda path, array=array: np.save(path, array))  # type: ignore[misc]
    yield Malformed("objects", lambda path: np.save(path, np.array([{}, []], dtype=object)))
    data = good.read_bytes()
    for shape in ("(-3, 20, 32)", "(3, -1, 32)", "(10**9,)", "(3, 20, 9999999999)", "'x'", "None"):
        header = data[:128].replace(b"(3, 20, 32)", shape.encode())
        yield content(f"a header with shape {shape}", header[:128] + data[128:])
    yield content("a header of another version", data[:6] + b"\x09\x09" + data[8:])
    yield content("cut by a byte", data[:-1])


def test_predictions(good: Path, scored: Callable[..., object], record_property: Record) -> None:
    path = good / "disps.npy"
    data = path.read_bytes()
    inputs = [*damaged(data), *no_files(), *arrays(path)]
    must_hold(fuzz("predictions .npy", path, inputs, scored), record=record_property, at_least=35)


def truths(path: Path) -> Iterator[Malformed]:
    """HDF5 files with other contents."""

    def changed(change: Callable[[h5py.File], object]) -> Callable[[Path], object]:
        data = path.read_bytes()

        def put(target: Path) -> None:
            target.write_bytes(data)
            with h5py.File(target, "r+") as file:
                change(file)

        return put

    key = f"{SEQUENCE}/0000000002"

    def replaced(name: str, values: object) -> Callable[[h5py.File], object]:
        def change(file: h5py.File) -> None:
            del file[key][name]
            file[key][name] = values

        return change

    def attribute(of: str, name: str, value: object) -> Callable[[h5py.File], object]:
        return lambda file: file[of].attrs.__setitem__(name, value)

    changes: dict[str, Callable[[h5py.File], object]] = {
        "without a frame": lambda file: file.__delitem__(key),
        "without depth": lambda file: file[key].__delitem__("depth"),
        "depth as text": replaced("depth", "text"),
        "depth of another length": replaced("depth", np.ones(3, np.float32)),
        "depth as a group": lambda file: (
            file[key].__delitem__("depth"),
            file[key].create_group("depth"),
        ),
        "rows beyond the image": replaced("rows", np.full(5, 60000, np.uint16)),
        "without size": lambda file: file[key].attrs.__delitem__("size"),
        "a size of text": attribute(key, "size", "x"),
        "a size of 10**9": attribute(key, "size", (10**9, 10**9)),
        "a negative size": attribute(key, "size", (-5, 5)),
        "without checksum": lambda file: file[key].attrs.__delitem__("crc32c"),
        "a checksum of text": attribute(key, "crc32c", "x"),
        "without scan": lambda file: file[key].attrs.__delitem__("scan"),
        "a scan of one number": attribute(key, "scan", 3),
        "without format": lambda file: file.attrs.__delitem__("format"),
        "another format": attribute("/", "format", np.bytes_(b"other 9")),
        "without source": lambda file: file.attrs.__delitem__("source"),
        "a source of {}": attribute("/", "source", np.bytes_(b"{}")),
        "a source of []": attribute("/", "source", np.bytes_(b"[]")),
        "a source that is not JSON": attribute("/", "source", np.bytes_(b"{")),
        "a source nested deeply": attribute("/", "source", np.bytes_(b"[" * 5000)),
    }
    for name, change in changes.items():
        yield Malformed(name, changed(change))


def test_ground_truth(good: Path, scored: Callable[..., object], record_property: Record) -> None:
    path = good / "truth.h5"
    scored(truth=path)
    data = path.read_bytes()
    # Where the file is missing, it is made.
    inputs = [*damaged(data), *no_files(), *truths(path), *flipped(data, 20)]
    inputs += overwritten(data, 4)
    report = fuzz("ground truth .h5", path, inputs, lambda: scored(truth=path))
    must_hold(report, record=record_property, at_least=55)


def test_a_command_on_good_files_is_not_refused(
    good: Path, labelled: Callable[..., object], scored: Callable[..., object]
) -> None:
    try:
        assert labelled() and scored()
    except Refused as error:
        pytest.fail(f"the good files are refused: {error}")
