"""A cache of images: the pixels of decoding on the fly, under the protocol of labels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from training_tree import DRIVE, FRAMES, SEQUENCE, write_drive

from xdistill.manifests.stopping import Stopped
from xdistill.pipeline.cli.main import main
from xdistill.pipeline.kitti.frames import CAMERA_CHOICES, Frame, find_frames, image_path
from xdistill.pipeline.kitti.images import read_at_size, read_image
from xdistill.pipeline.labelling import caching
from xdistill.pipeline.labelling.plan import make_plan
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import LabelStore, UncommittedFrameError
from xdistill.pipeline.store.format import IMAGES
from xdistill.pipeline.store.images import CachedImages

SIZE = (48, 96)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_drive(tmp_path / "kitti")
    return tmp_path / "kitti"


def frames_of(root: Path) -> list[Frame]:
    return find_frames(root, drives=None, cameras=CAMERA_CHOICES["l"])


def cache(data: Path, out: Path, frames: list[Frame], *, size: tuple[int, int] = SIZE) -> Outcome:
    store, *_ = caching.existing_cache(out, size)
    plan = make_plan(data, frames, store=store, arrays=(IMAGES,))
    outcome = Outcome()
    opened = caching.open_cache(out, size)
    caching.cache_images(data, opened, tasks=plan.tasks, outcome=outcome)
    return outcome


def run(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_real_frames_are_the_pixels_of_the_trainer(shared: Path, tmp_path: Path) -> None:
    """Of PNG and JPEG, read by the direct reader and by zarr-python."""
    for root in (shared / "kitti", shared / "kitti_train"):
        frames = frames_of(root)[:3]
        cache(root, tmp_path / root.name, frames, size=(192, 640))
        images = CachedImages(tmp_path / root.name, (192, 640))
        for frame in frames:
            expected = read_at_size(image_path(root, frame), (192, 640))
            assert np.array_equal(images.read(frame), expected)
            array = zarr.open_array(tmp_path / root.name / frame.sequence / IMAGES, mode="r")
            assert np.array_equal(np.asarray(array[frame.index]).reshape(192, 640, 3), expected)


def test_every_value_of_a_pixel_is_kept(data: Path, tmp_path: Path) -> None:
    every = np.arange(48 * 96 * 3, dtype=np.uint32).reshape(48, 96, 3).astype(np.uint8)
    frame = Frame(DRIVE, 0, "l")
    cv2.imwrite(str(image_path(data, frame)), every)
    cache(data, tmp_path / "i.zarr", [frame])
    found = CachedImages(tmp_path / "i.zarr", SIZE).read(frame)
    assert np.array_equal(found, read_image(image_path(data, frame)))
    assert set(np.unique(found)) == set(range(256))


def test_a_bad_image_fails_alone_and_is_tried_again(data: Path, tmp_path: Path) -> None:
    frames = frames_of(data)
    whole = image_path(data, frames[4]).read_bytes()
    image_path(data, frames[4]).write_bytes(whole[:-30])
    first = cache(data, tmp_path / "i.zarr", frames)
    assert (first.labelled, list(first.failures)) == (FRAMES - 1, [frames[4]])
    with pytest.raises(UncommittedFrameError, match="cache-images --out"):
        CachedImages(tmp_path / "i.zarr", SIZE).read(frames[4])
    image_path(data, frames[4]).write_bytes(whole)
    assert cache(data, tmp_path / "i.zarr", frames).labelled == 1


def test_a_stopped_run_keeps_what_it_resized(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_of(data)
    done = 0

    def stop(number: int) -> None:
        nonlocal done
        done += number
        if done == 4:
            raise Stopped(2)

    plan = make_plan(data, frames, store=None, arrays=(IMAGES,))
    opened, outcome = caching.open_cache(tmp_path / "i.zarr", SIZE), Outcome()
    with pytest.raises(Stopped):
        caching.cache_images(data, opened, tasks=plan.tasks, outcome=outcome, advance=stop)
    committed = LabelStore.open(tmp_path / "i.zarr").array(SEQUENCE, IMAGES).committed()
    assert committed == [0, 1, 2, 3] and outcome.labelled == 4
    assert cache(data, tmp_path / "i.zarr", frames).labelled == FRAMES - 4


def test_a_split_is_cached_with_its_source_frames(data: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.txt"
    split.write_text(f"{DRIVE} 3 l\n{DRIVE} 4 l\n{DRIVE} {FRAMES - 1} l\n")
    out = tmp_path / "i.zarr"
    options = ("--data", data, "--out", out, "--split", split, "--size", "96x48")
    assert "resized 6 images, 0 failed" in run("cache-images", *options)
    committed = LabelStore.open(out).array(SEQUENCE, IMAGES).committed()
    assert committed == [2, 3, 4, 5, FRAMES - 2, FRAMES - 1]
    assert "nothing to do" in run("cache-images", *options[:-2])
    assert "6 images resized" in run("info", "--store", out)


@pytest.mark.parametrize(
    ("size", "status", "found"),
    [
        ("64x32", 1, "the cached images are 96x48"),
        ("64", 2, "give width and height"),
        ("big", 1, "'big' is not a usable size"),
    ],
)
def test_another_size_is_refused_by_name(
    data: Path, tmp_path: Path, size: str, status: int, found: str
) -> None:
    cache(data, tmp_path / "i.zarr", frames_of(data)[:1])
    options = ("--data", data, "--out", tmp_path / "i.zarr", "--size", size)
    assert found in run("cache-images", *options, status=status)


def test_labels_are_not_taken_for_a_cache(data: Path, tmp_path: Path) -> None:
    LabelStore.open_for_writing(tmp_path / "l.zarr", teacher={"kind": "t"}, fingerprint="0" * 64)
    text = run("cache-images", "--data", data, "--out", tmp_path / "l.zarr", status=1)
    assert "the store holds labels, not images" in text


def test_damage_is_found_and_only_that_is_resized_again(data: Path, tmp_path: Path) -> None:
    frames, out = frames_of(data), tmp_path / "i.zarr"
    cache(data, out, frames)
    shard = out / SEQUENCE / IMAGES / "c.0.0.0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    assert "--repair" in run("verify", "--store", out, status=1)
    repaired = run("verify", "--store", out, "--repair", "--data", data)
    assert f"next: xd-pipeline cache-images --data {data} --out {out}" in repaired
    assert cache(data, out, frames).labelled == 1
    image = CachedImages(out, SIZE).read(frames[0])
    assert np.array_equal(image, read_at_size(image_path(data, frames[0]), SIZE))
