"""The store against zarr-python and PNG files, its size, and 45,000 frames of it."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from xdistill.grouping.classes import cityscapes
from xdistill.pipeline.kitti.frames import Frame, find_frames
from xdistill.pipeline.labelling.plan import make_plan
from xdistill.pipeline.store import SHARD_FRAMES, LabelReader, LabelStore, chunks
from xdistill.pipeline.store.verify import verify_store
from xdistill.train.data.labels import resize_labels

ROUNDS = 9
READS = 60
DRIVE = "2011_09_26/2011_09_26_drive_0013_sync"
SEQUENCE = f"{DRIVE}/image_02"
DRIVES, DRIVE_FRAMES = 50, 900
TRAINING_SIZE = (192, 640)
CLASSES = len(cityscapes().names)

Labels = NDArray[np.uint8]
Read = Callable[[int], Labels]


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[Path]:
    """72 native label maps of one drive."""
    return sorted((shared / "kitti_labels_espnetv2" / SEQUENCE).glob("*.png"))


@pytest.fixture(scope="module")
def store(
    shared: Path, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> LabelStore:
    """All 82 frames of the shared labels, written."""
    root = shared / "kitti_labels_espnetv2"
    path = tmp_path_factory.mktemp("bench") / "labels.zarr"
    store = LabelStore.open_for_writing(path, teacher={"kind": "png"}, fingerprint="bench")
    for sequence in sorted({png.parent.relative_to(root) for png in root.rglob("*.png")}):
        maps = {int(p.stem): read_png(p) for p in sorted((root / sequence).glob("*.png"))}
        size = next(iter(maps.values())).shape
        array = store.ensure_array(
            sequence.as_posix(),
            "classes",
            length=max(maps) + 1,
            size=(size[0], size[1]),
            values=CLASSES,
            attributes={},
        )
        for shard in range(array.shards):
            array.write_shard(shard, {i: m for i, m in maps.items() if i // SHARD_FRAMES == shard})
    return store


def read_png(path: Path) -> Labels:
    """One label map by OpenCV."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)


def cpu_ms(read: Read, indices: Sequence[int]) -> float:
    """CPU milliseconds of one read, all threads together."""
    before = time.process_time()
    for index in indices:
        read(index)
    return (time.process_time() - before) * 1e3 / len(indices)


def show(name: str, values: Sequence[float], unit: str) -> float:
    """Print median and spread of the rounds; returns the median."""
    middle = statistics.median(values)
    print(f"{name:34} {middle:8.3f} {unit:8} {min(values):8.3f} - {max(values):.3f}")
    return middle


def test_random_frame(store: LabelStore, pictures: list[Path]) -> None:
    reader = LabelReader(store.path, "classes")
    group = zarr.open_group(store.path, mode="r")
    labels = zarr.open_array(store.path / SEQUENCE / "classes", mode="r")
    ways: dict[str, Read] = {
        "direct reader": lambda index: reader.read(SEQUENCE, index),
        "direct reader, a new one's first": lambda index: fresh(reader).read(SEQUENCE, index),
        "zarr-python, by name": lambda index: np.asarray(array_of(group)[index]),
        "zarr-python, array kept open": lambda index: np.asarray(labels[index]),
        "PNG file, OpenCV": lambda index: read_png(pictures[index]),
    }
    for index, picture in enumerate(pictures):
        assert int(picture.stem) == index
        for read in ways.values():
            np.testing.assert_array_equal(read(index), read_png(picture))
    cv2.setNumThreads(1)
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    rng = np.random.default_rng(1)
    for _ in range(ROUNDS):
        indices = rng.integers(0, len(pictures), READS).tolist()
        for name, read in ways.items():
            rounds[name].append(cpu_ms(read, indices))
    print("\n\nRandom frame of 1242x375, CPU per read (median, smallest - largest of 9 rounds)")
    for name, values in rounds.items():
        show(name, values, "ms")
    own = rounds.pop("direct reader")
    # With its array kept open zarr-python needs nothing but the frame: that is the honest figure.
    least = {
        "zarr-python, by name": 8.0,
        "zarr-python, array kept open": 6.0,
        "PNG file, OpenCV": 6.0,
    }
    for name, values in rounds.items():
        ratios = [other / mine for other, mine in zip(values, own, strict=True)]
        assert show(f"  {name}", ratios, "x") >= least.get(name, 0.0)


def fresh(reader: LabelReader) -> LabelReader:
    """A reader that has read nothing yet."""
    return LabelReader(reader.path, reader.name)


def array_of(group: zarr.Group) -> "zarr.Array[Any]":
    """The array of a frame looked up by its name, as ``LabelReader.read`` does."""
    array = group[f"{SEQUENCE}/classes"]
    assert isinstance(array, zarr.Array)
    return array


class DirectData:
    """Labels as the trainer reads them: a frame of the store, resized."""

    def __init__(self, path: Path, indices: Sequence[int]) -> None:
        self.indices = indices
        self.reader = LabelReader(path, "classes")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Labels:
        return resize_labels(self.reader.read(SEQUENCE, self.indices[position]), TRAINING_SIZE)


class ZarrData:
    """The same through zarr-python, its array opened once in each worker."""

    def __init__(self, path: Path, indices: Sequence[int]) -> None:
        self.path, self.indices = path, indices
        self.labels: zarr.Array[Any] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Labels:
        if self.labels is None:
            self.labels = zarr.open_array(self.path / SEQUENCE / "classes", mode="r")
        return resize_labels(np.asarray(self.labels[self.indices[position]]), TRAINING_SIZE)


def epoch_rate(loader: "DataLoader[torch.Tensor]", frames: int) -> float:
    """Frames a second of one pass."""
    before = time.perf_counter()
    for _ in loader:
        pass
    return frames / (time.perf_counter() - before)


def test_two_data_loader_workers(store: LabelStore, pictures: list[Path]) -> None:
    indices = np.random.default_rng(2).integers(0, len(pictures), 480).tolist()
    data = {
        "direct reader": DirectData(store.path, indices),
        "zarr-python": ZarrData(store.path, indices),
    }
    loaders: dict[str, DataLoader[torch.Tensor]] = {
        name: DataLoader(
            items,  # type: ignore[arg-type]
            batch_size=12,
            num_workers=2,
            persistent_workers=True,
        )
        for name, items in data.items()
    }
    rounds: dict[str, list[float]] = {name: [] for name in loaders}
    for repeat in range(ROUNDS + 1):
        for name, loader in loaders.items():
            rate = epoch_rate(loader, len(indices))
            if repeat:  # The first pass starts the workers.
                rounds[name].append(rate)
    print(
        "\n\nDataLoader, two workers, labels at 640x192, batches of 12 "
        "(median, smallest - largest of 9 passes)"
    )
    for name, values in rounds.items():
        show(name, values, "frames/s")
    pairs = zip(rounds["direct reader"], rounds["zarr-python"], strict=True)
    assert show("  direct reader / zarr-python", [a / b for a, b in pairs], "x") >= 3.0


def test_size(store: LabelStore, shared: Path) -> None:
    files = [file for file in store.path.rglob("*") if file.is_file()]
    pngs = list((shared / "kitti_labels_espnetv2").rglob("*.png"))
    frames = verify_store(store.path).frames
    assert frames == len(pngs) == 82
    own = sum(file.stat().st_size for file in files) / frames
    print(f"\n\nSize of {frames} real label maps, everything included")
    print(f"store {own / 1e3:.2f} KB a frame, PNG {sum(map(size_of, pngs)) / frames / 1e3:.2f} KB")
    assert own <= 13e3


def size_of(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


@pytest.fixture(scope="module")
def big(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """45,000 frames as links to one image, and a store that has them all committed.

    The store has no shard files: neither planning nor ``info`` may open one.
    """
    root = tmp_path_factory.mktemp("big")
    image = root / "image.png"
    cv2.imwrite(str(image), np.zeros((375, 1242, 3), np.uint8))
    for number in range(DRIVES):
        folder = root / f"kitti/2011_09_26/2011_09_26_drive_{number:04d}_sync/image_02/data"
        folder.mkdir(parents=True)
        for index in range(DRIVE_FRAMES):
            (folder / f"{index:010d}.png").symlink_to(image)
    frames = find_frames(root / "kitti", drives=None, cameras=["l"])
    assert len(frames) == DRIVES * DRIVE_FRAMES
    # The teacher of the store needs a label map to be one.
    label = root / f"labels/{frames[0].sequence}/{frames[0].index:010d}.png"
    label.parent.mkdir(parents=True)
    cv2.imwrite(str(label), np.zeros((375, 1242), np.uint8))
    (root / "split.txt").write_text("".join(f"{frame}\n" for frame in frames))
    committed_store(root, frames)
    yield root


def committed_store(root: Path, frames: Sequence[Frame]) -> None:
    """Commit words and counts of every frame, under the PNG teacher's fingerprint."""
    from xdistill.teachers.choice.spec import load_teacher

    teacher = load_teacher(f"png:{root / 'labels'}")
    store = LabelStore.open_for_writing(
        root / "labels.zarr", teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    slots = np.arange(SHARD_FRAMES)
    counts = np.zeros((SHARD_FRAMES, CLASSES + 1), np.uint32)
    counts[:, 0] = 375 * 1242
    for sequence in sorted({frame.sequence for frame in frames}):
        array = store.ensure_array(
            sequence,
            "classes",
            length=DRIVE_FRAMES,
            size=(375, 1242),
            values=CLASSES,
            attributes={},
        )
        for shard in range(array.shards):
            name = array.folder.name
            there = shard * SHARD_FRAMES + slots < DRIVE_FRAMES
            words = np.where(there, chunks.DONE, 0).astype(np.uint64)
            chunks.write_words(array.folder.with_name(f"{name}_commit"), shard, words)
            chunks.write_counts(array.folder.with_name(f"{name}_counts"), shard, counts)


def wall_s(action: Callable[[], object]) -> list[float]:
    """Seconds of five repetitions."""
    times = []
    for _ in range(5):
        before = time.perf_counter()
        action()
        times.append(time.perf_counter() - before)
    return times


def command(*arguments: str | Path, expect: str) -> Callable[[], None]:
    """A whole xd-pipeline process, interpreter and imports included."""
    program = Path(sys.executable).with_name("xd-pipeline")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run() -> None:
        done = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0 and expect in done.stdout, done.stdout + done.stderr

    return run


def test_45000_frames(big: Path) -> None:
    path = big / "labels.zarr"

    def sum_counts() -> None:
        store = LabelStore.open(path)
        arrays = [store.array(sequence, "classes") for sequence in store.sequences()]
        assert sum(int(array.totals().sum()) for array in arrays) == 45_000 * 375 * 1242

    frames = find_frames(big / "kitti", drives=None, cameras=["l"])

    def plan() -> None:
        assert not make_plan(big / "kitti", frames, store=LabelStore.open(path)).tasks

    def verify() -> None:
        # The store has no pixels, and that of every frame is told; the rest must be whole.
        kinds = {finding.kind for finding in verify_store(path).findings}
        assert kinds == {"frame"}, kinds

    teacher = f"png:{big / 'labels'}"
    segment = ("segment", "--data", big / "kitti", "--store", path, "--teacher", teacher)
    info = command("info", "--store", path, expect="45000 frames labelled")
    print("\n\n45,000 frames, all committed, wall time (median, smallest - largest of 5)")
    show("open, sum the counts", wall_s(sum_counts), "s")
    show("plan", wall_s(plan), "s")
    show("verify everything but pixels", wall_s(verify), "s")
    nothing = command(*segment, expect="nothing to do")
    by_split = command(*segment, "--split", big / "split.txt", expect="nothing to do")
    assert show("xd-pipeline info", wall_s(info), "s") < 2.0
    assert show("xd-pipeline segment", wall_s(nothing), "s") < 3.0
    assert show("xd-pipeline segment --split", wall_s(by_split), "s") < 3.0
