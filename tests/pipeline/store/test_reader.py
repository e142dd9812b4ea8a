"""The direct reader in worker processes of every kind, and what it says of damage."""

import json
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numcodecs.pickles
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from label_stores import SEQUENCE, FrameData, frame, new_array, new_store, scratch_folder
from torch.utils.data import DataLoader
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.kitti.frames import Frame, SplitError
from xdistill.pipeline.labelling.regroup import plan_regroup, regroup
from xdistill.pipeline.store import (
    SHARD_FRAMES,
    CorruptLabelsError,
    LabelReader,
    LabelStoreError,
    UncommittedFrameError,
    open_store,
)

FRAMES = (0, 5, 63, 64, 69)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    """A store with five frames, twice: as it is written, and converted by another program."""
    with scratch_folder() as folder:
        for name in ("own", "foreign"):
            array = new_array(new_store(Path(folder, name)))
            for shard in (0, 1):
                array.write_shard(shard, {i: frame(i) for i in FRAMES if i // 64 == shard})
        labels = zarr.open_array(Path(folder, "foreign", SEQUENCE, "classes"), mode="r")
        pixels = np.asarray(labels[:])
        zarr.create_array(
            Path(folder, "foreign", SEQUENCE, "classes"),
            data=pixels,
            chunks=(7, 4, 6),
            overwrite=True,
        )
        yield Path(folder)


# Newer Pythons warn of forking with threads about, which is what is tried here.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_in_data_loader_workers(path: Path, method: str) -> None:
    readers = [LabelReader(path / name, "classes") for name in ("own", "foreign")]
    for reader in readers:
        # Used before the fork, so that the child inherits whatever a reader may hold.
        reader.read(SEQUENCE, 0)
    items = [(reader, index) for reader in readers for index in FRAMES]
    loader: DataLoader[torch.Tensor] = DataLoader(
        FrameData(SEQUENCE, items),  # type: ignore[arg-type]
        batch_size=1,
        num_workers=1,
        multiprocessing_context=method,
    )
    for (_, index), batch in zip(items, loader, strict=True):
        np.testing.assert_array_equal(batch[0].numpy(), frame(index))


def test_pickled_readers_start_afresh(path: Path) -> None:
    reader = LabelReader(path / "own", "classes")
    reader.read(SEQUENCE, 0)
    state = pickle.dumps(reader)
    assert len(state) < 300
    np.testing.assert_array_equal(pickle.loads(state).read(SEQUENCE, 69), frame(69))


def test_labels_may_be_written_to(path: Path) -> None:
    labels = LabelReader(path / "own", "classes").read(SEQUENCE, 0)
    assert labels.flags.writeable and labels.flags.c_contiguous and labels.shape == (4, 6)


def test_damage_names_the_frame(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0), 1: frame(1)})
    file = array.folder / "c.0.0.0"
    data = bytearray(file.read_bytes())
    data[3] ^= 4
    file.write_bytes(data)
    reader = LabelReader(tmp_path / "s", "classes")
    with pytest.raises(CorruptLabelsError, match=f"frame 0 of {SEQUENCE}/classes is damaged"):
        reader.read(SEQUENCE, 0)
    np.testing.assert_array_equal(reader.read(SEQUENCE, 1), frame(1))
    data[-10] ^= 4
    file.write_bytes(data)
    with pytest.raises(CorruptLabelsError, match=f"frame 1 of {SEQUENCE}/classes .* checksum"):
        reader.read(SEQUENCE, 1)
    file.unlink()
    with pytest.raises(CorruptLabelsError, match="frame 1 of .*/classes is damaged: no shard file"):
        reader.read(SEQUENCE, 1)


@pytest.mark.parametrize("array", ["classes", "classes_commit"])
def test_damaged_metadata_is_never_taken_for_foreign(tmp_path: Path, array: str) -> None:
    new_array(new_store(tmp_path / "s")).write_shard(0, {0: frame(0)})
    file = tmp_path / "s" / SEQUENCE / array / ("zarr.json" if array == "classes" else "c.0")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptLabelsError, match="checksum"):
        LabelReader(tmp_path / "s", "classes").read(SEQUENCE, 0)


def test_pixels_of_another_commit(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0)})
    other = new_array(new_store(tmp_path / "other"))
    other.write_shard(0, {0: frame(1)})
    (other.folder / "c.0.0.0").rename(array.folder / "c.0.0.0")
    with pytest.raises(CorruptLabelsError, match="not the pixels that were committed"):
        LabelReader(tmp_path / "s", "classes").read(SEQUENCE, 0)


def test_a_new_frame_beyond_the_array(tmp_path: Path) -> None:
    store = new_store(tmp_path / "s")
    new_array(store).write_shard(0, {0: frame(0)})
    reader = LabelReader(tmp_path / "s", "classes")
    assert not reader.has(SEQUENCE, 100)
    new_array(store, length=101).write_shard(1, {100: frame(100)})
    np.testing.assert_array_equal(reader.read(SEQUENCE, 100), frame(100))


@st.composite
def layouts(draw: st.DrawFn, size: tuple[int, int]) -> dict[str, Any] | None:
    """How another program lays out (T, H, W); None is as the store itself does."""
    if draw(st.booleans()):
        return None
    height, width = (draw(st.integers(-(-side // 2), side)) for side in size)
    chunks = draw(st.integers(1, 8)), height, width
    times = draw(st.none() | st.tuples(*[st.integers(1, 4)] * 3))
    return {
        "chunks": chunks,
        "shards": times and tuple(c * t for c, t in zip(chunks, times, strict=True)),
        "compressors": draw(st.sampled_from(CODECS)),
    }


CODECS = [None, [GzipCodec()], [BloscCodec()], [ZstdCodec(level=9)], [ZstdCodec(), Crc32cCodec()]]


@pytest.mark.slow
@given(
    data=st.data(), length=st.integers(1, 140), height=st.integers(1, 9), width=st.integers(1, 9)
)
def test_reads_what_zarr_reads(data: st.DataObject, length: int, height: int, width: int) -> None:
    size = (height, width)
    indices = data.draw(st.sets(st.integers(0, length - 1), max_size=12))
    blank = data.draw(st.sets(st.sampled_from(sorted(indices)))) if indices else set()
    taken_back = data.draw(st.sets(st.sampled_from(sorted(indices)))) if indices else set()
    layout = data.draw(layouts(size))
    with scratch_folder() as folder:
        array = new_array(new_store(Path(folder, "s")), length=length, size=size)
        for shard in {index // SHARD_FRAMES for index in indices}:
            own = [index for index in indices if index // SHARD_FRAMES == shard]
            # Frames of nothing but ignore are chunks that another program leaves out.
            maps = {
                i: np.full(size, 255, np.uint8) if i in blank else frame(i, size=size) for i in own
            }
            array.write_shard(shard, maps)
        array.retract(taken_back)
        if layout is not None:
            pixels = np.asarray(zarr.open_array(array.folder, mode="r")[:])
            zarr.create_array(array.folder, data=pixels, fill_value=255, overwrite=True, **layout)
        expected = np.asarray(zarr.open_array(array.folder, mode="r")[:])
        words = zarr.open_array(array.folder.with_name("classes_commit"), mode="r")
        done = np.asarray(words[:]) >> np.uint64(32) & np.uint64(1) == 1
        assert set(done.nonzero()[0].tolist()) == indices - taken_back
        reader = LabelReader(Path(folder, "s"), "classes")
        for index in range(-1, length + 1):
            there = 0 <= index < length and bool(done[index])
            assert reader.has(SEQUENCE, index) == there
            if there:
                np.testing.assert_array_equal(reader.read(SEQUENCE, index), expected[index])
        for index in sorted(set(range(length)) - set(done.nonzero()[0].tolist()))[:1]:
            with pytest.raises(UncommittedFrameError):
                reader.read(SEQUENCE, index)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two sequences with five frames each, and groups of one of them."""
    store = new_store(tmp_path / "s")
    for seed, sequence in enumerate((SEQUENCE, SEQUENCE.replace("image_02", "image_03"))):
        array = store.ensure_array(
            sequence, "classes", length=70, size=(4, 6), values=19, attributes={}
        )
        for shard in (0, 1):
            frames = {i: frame(100 * seed + i) for i in FRAMES if i // 64 == shard}
            array.write_shard(shard, frames, failed=[shard * 64 + 2])
    scheme = load_scheme("4")
    regroup(store, scheme, tasks=plan_regroup(store, scheme)[:2])
    return store.path


def test_an_opened_store_is_read_by_frame(labelled: Path) -> None:
    store = open_store(str(labelled))
    drive = SEQUENCE.removesuffix("/image_02")
    assert [str(found) for found in store] == [
        f"{drive} {index} {camera}" for camera in "lr" for index in FRAMES
    ]
    assert len(store) == 2 * len(FRAMES)
    np.testing.assert_array_equal(store[f"{drive} 0000000063 l"], frame(63))
    np.testing.assert_array_equal(store[Frame(drive, 64, "r")], frame(164))
    assert f"{drive} 5 l" in store and Frame(drive, 66, "l") not in store
    with pytest.raises(UncommittedFrameError, match=r"frame 2 of (.*\n)*.*segment --store"):
        store[f"{drive} 2 l"]
    with pytest.raises(SplitError, match="'50' names no frame"):
        store["50"]


def test_groups_are_those_that_regroup_stores(labelled: Path) -> None:
    stored = LabelReader(labelled, "groups_4")
    store = open_store(labelled, scheme="4")
    assert len(stored) == len(FRAMES) and len(store) == 2 * len(FRAMES)
    for found in stored:
        np.testing.assert_array_equal(store[found], stored[found])
    again = pickle.loads(pickle.dumps(store))
    assert {int(value) for found in again for value in np.unique(again[found])} <= {0, 1, 2, 3, 255}


def test_a_reader_names_what_it_reads(labelled: Path) -> None:
    assert repr(open_store(labelled)) == f"<LabelReader of {labelled}: classes of 10 frames>"
    assert repr(open_store(labelled, scheme="2")) == (
        f"<LabelReader of {labelled}: groups_2 from classes of 10 frames>"
    )
    (labelled / "zarr.json").unlink()
    assert "classes, " in repr(LabelReader(labelled, "classes"))


def test_the_length_follows_the_store(labelled: Path) -> None:
    store = open_store(labelled)
    assert len(store) == 10
    array = new_store(labelled).array(SEQUENCE, "classes")
    array.write_shard(0, {7: frame(7)})
    assert len(store) == 11 and 7 in {found.index for found in store}


class Planted:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["classes", "classes_commit"])
def test_an_array_of_zarr_2_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """numcodecs unpickles where a process has allowed it, as every process had before 0.16.6."""
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True)
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0)})
    # A copy by another program, which zarr-python has to read.
    pixels = np.asarray(zarr.open_array(array.folder, mode="r")[:])
    zarr.create_array(array.folder, data=pixels, overwrite=True)
    hostile, ran = array.folder.with_name(name), tmp_path / "ran"
    (hostile / "zarr.json").unlink()
    document = {
        "zarr_format": 2,
        "shape": [1],
        "chunks": [1],
        "dtype": "|O",
        "compressor": None,
        "fill_value": "",
        "order": "C",
        "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}],
    }
    (hostile / ".zarray").write_text(json.dumps(document))
    (hostile / "0").write_bytes(pickle.dumps(Planted(ran)))
    with suppress(Exception):
        zarr.open_array(hostile, mode="r")[:]
    assert ran.exists()
    ran.unlink()
    with pytest.raises(LabelStoreError):
        LabelReader(tmp_path / "s", "classes").read(SEQUENCE, 0)
    assert not ran.exists()


def test_what_is_no_store_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(LabelStoreError, match="label store does not exist"):
        open_store(str(tmp_path / "absent"), scheme="4")
