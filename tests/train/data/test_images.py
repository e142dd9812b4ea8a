"""Training from a cache of images gives what training from the files does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_tree import DRIVE, FRAMES, SEQUENCE

from xdistill.pipeline.kitti.frames import CAMERA_CHOICES, Frame, find_frames
from xdistill.pipeline.labelling import caching
from xdistill.pipeline.labelling.plan import make_plan
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import LabelStoreError
from xdistill.pipeline.store.errors import CorruptLabelsError
from xdistill.pipeline.store.format import IMAGES
from xdistill.train.data.dataset import TripletDataset, batch_keys
from xdistill.train.data.images import MissingImagesError, find_images
from xdistill.train.data.readers import read_batches
from xdistill.train.data.triplets import Selection
from xdistill.train.job import prepare, recorded
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import start_run

SIZE = (64, 96)
RECIPE = Recipe(name="test", width=96, height=64, num_workers=0, batch_size=2, distillation="none")
TARGETS = [Frame(DRIVE, index, "l") for index in range(1, FRAMES - 1)]


def frames_of(root: Path) -> list[Frame]:
    return find_frames(root, drives=None, cameras=CAMERA_CHOICES["l"])


def cache(data: Path, out: Path, frames: list[Frame], *, size: tuple[int, int] = SIZE) -> Path:
    plan = make_plan(data, frames, store=None, arrays=(IMAGES,))
    store = caching.open_cache(out, size)
    caching.cache_images(data, store, tasks=plan.tasks, outcome=Outcome())
    return out


@pytest.mark.parametrize("workers", [0, 2])
def test_cached_batches_equal_decoded_ones(data: Path, tmp_path: Path, workers: int) -> None:
    path = cache(data, tmp_path / "i.zarr", frames_of(data))
    images = find_images(path, TARGETS, size=SIZE, command="")
    recipe = replace(RECIPE, num_workers=workers)
    plain = TripletDataset(data, TARGETS, recipe=RECIPE, labels=None)
    cached = TripletDataset(data, TARGETS, recipe=recipe, labels=None, images=images)
    both = [
        read_batches(
            dataset,
            batch_keys(len(TARGETS), seed=3, batch_size=2, start=0, stop=8),
            device=torch.device("cpu"),
        )
        for dataset in (plain, cached)
    ]
    for expected, found in zip(*both, strict=True):
        assert found.frames == expected.frames
        assert torch.equal(found.originals, expected.originals)
        assert torch.equal(found.inputs, expected.inputs)


def test_real_frames_from_the_cache_equal_decoded_ones(shared: Path, tmp_path: Path) -> None:
    for root in (shared / "kitti", shared / "kitti_train"):
        frames = frames_of(root)[:3]
        path = cache(root, tmp_path / root.name, frames, size=(192, 640))
        images = find_images(path, frames[1:2], size=(192, 640), command="")
        recipe = replace(RECIPE, width=640, height=192)
        key = next(batch_keys(2, seed=0, batch_size=1, start=0, stop=1))[0]
        key = replace(key, index=0)
        samples = [
            TripletDataset(root, frames[1:2], recipe=recipe, labels=None, images=source)[key]
            for source in (None, images)
        ]
        assert torch.equal(samples[0].originals, samples[1].originals)  # type: ignore[union-attr]
        assert torch.equal(samples[0].inputs, samples[1].inputs)  # type: ignore[union-attr]


def test_an_absent_image_names_the_command(data: Path, tmp_path: Path) -> None:
    path = cache(data, tmp_path / "i.zarr", frames_of(data)[1:])
    selection = Selection(split=None, drives=(DRIVE.split("/")[1],))
    with pytest.raises(MissingImagesError) as caught:
        prepare(
            RECIPE,
            run=tmp_path / "run",
            data=data,
            store="",
            selection=selection,
            images=path,
            device="cpu",
        )
    text = str(caught.value)
    assert f"1 of the {FRAMES} images" in text and f"{DRIVE} l: 0" in text
    command = f"xd-pipeline cache-images --data {data} --out {path} --size 96x64"
    assert f"{command} --drive {DRIVE.split('/')[1]}" in text


def test_another_size_labels_or_no_cache_are_refused(data: Path, tmp_path: Path) -> None:
    path = cache(data, tmp_path / "i.zarr", frames_of(data))
    with pytest.raises(LabelStoreError, match="96x64, filter lanczos"):
        find_images(path, TARGETS, size=(128, 416), command="")
    with pytest.raises(MissingImagesError, match="xd-pipeline cache-images there"):
        find_images(tmp_path / "no", TARGETS, size=SIZE, command="xd-pipeline cache-images there")


def test_labels_are_refused_as_images(store: Path) -> None:
    with pytest.raises(LabelStoreError, match="the store holds labels, not images"):
        find_images(store, TARGETS, size=SIZE, command="")


def test_damage_within_the_cache_ends_the_training(data: Path, tmp_path: Path) -> None:
    path = cache(data, tmp_path / "i.zarr", frames_of(data))
    shard = path / SEQUENCE / IMAGES / "c.0.0.0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    images = find_images(path, TARGETS, size=SIZE, command="")
    with pytest.raises(CorruptLabelsError, match="frame 0 of .* is damaged"):
        images.read(Frame(DRIVE, 0, "l"))


def test_a_resumed_run_finds_its_cache_again(data: Path, tmp_path: Path) -> None:
    path = cache(data, tmp_path / "i.zarr", frames_of(data))
    run, selection = tmp_path / "run", Selection(split="all")
    asked = {"run": run, "data": data, "store": "", "selection": selection, "device": "cpu"}
    job = prepare(RECIPE, **asked, images=path)
    start_run(run, job.recipe, job.record)
    again = recorded(run, recipe=None, overrides=())
    assert again["images"] == str(path)
    resumed = prepare(**again, device="cpu")
    assert resumed.dataset.images == job.dataset.images is not None
