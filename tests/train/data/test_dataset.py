from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_tree import DRIVE, FRAMES, HEIGHT, SEQUENCE, WIDTH, labels_of

from xdistill.grouping.scheme import load_scheme, remap
from xdistill.pipeline.kitti.errors import CalibrationError, ImageError, PoseError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.images import read_at_size
from xdistill.train.data.augment import NOTHING, Augmentation, apply_jitter, draw_jitter
from xdistill.train.data.dataset import (
    Batch,
    SampleKey,
    TripletDataset,
    batch_keys,
    plain_keys,
    unit_images,
)
from xdistill.train.data.labels import find_labels
from xdistill.train.data.readers import read_batches
from xdistill.train.recipe.recipe import Recipe

CPU = torch.device("cpu")
MIRRORED = Augmentation(mirrored=True, jitter=None)
TARGETS = [Frame(DRIVE, index, "l") for index in range(1, FRAMES - 1)]
RECIPE = Recipe(name="test", width=96, height=64, num_workers=0, batch_size=3)


@pytest.fixture
def dataset(data: Path, store: Path) -> TripletDataset:
    labels = find_labels(store, TARGETS, scheme=load_scheme("4"), segment="")
    return TripletDataset(data, TARGETS, recipe=RECIPE, labels=labels)


def changed(dataset: TripletDataset, **values: object) -> TripletDataset:
    recipe = replace(dataset.recipe, **values)  # type: ignore[arg-type]
    return TripletDataset(dataset.root, dataset.frames, recipe=recipe, labels=dataset.labels)


def file(root: Path, index: int) -> Path:
    return root / SEQUENCE / "data" / f"{index:010d}.png"


def test_triplet_is_target_earlier_later(dataset: TripletDataset, data: Path) -> None:
    sample = dataset.sample(3, NOTHING)
    assert sample.frames == (f"{DRIVE} 4 l",)
    for position, index in enumerate((4, 3, 5)):
        expected = read_at_size(file(data, index), (64, 96))
        found = sample.originals[0, position].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(found, expected)
    assert torch.equal(sample.inputs, sample.originals)


def test_labels_are_those_of_the_target(dataset: TripletDataset) -> None:
    native = changed(dataset, width=WIDTH, height=64)
    labels = native.sample(3, NOTHING).labels
    assert labels is not None
    expected = remap(labels_of(4), load_scheme("4"))
    rows = ((np.arange(64) + 0.5) * HEIGHT / 64).astype(int)
    np.testing.assert_array_equal(labels[0].numpy(), expected[rows])


def test_mirroring_takes_images_and_labels_together(dataset: TripletDataset) -> None:
    plain, mirrored = dataset.sample(2, NOTHING), dataset.sample(2, MIRRORED)
    assert torch.equal(mirrored.originals, plain.originals.flip(4))
    assert torch.equal(mirrored.inputs, plain.inputs.flip(4))
    assert plain.labels is not None and mirrored.labels is not None
    assert torch.equal(mirrored.labels, plain.labels.flip(2))
    assert not torch.equal(mirrored.labels, plain.labels)


def test_jitter_is_seen_by_the_networks_alone_and_alike_over_the_triplet(
    dataset: TripletDataset,
) -> None:
    jitter = draw_jitter(np.random.default_rng(1))
    sample = dataset.sample(2, Augmentation(mirrored=False, jitter=jitter))
    plain = dataset.sample(2, NOTHING)
    assert torch.equal(sample.originals, plain.originals)
    assert plain.labels is not None and sample.labels is not None
    assert torch.equal(sample.labels, plain.labels)
    for position in range(3):
        original = plain.originals[0, position].permute(1, 2, 0).numpy()
        found = sample.inputs[0, position].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(found, apply_jitter(original, jitter))


def test_intrinsics_of_monodepth2_do_not_depend_on_the_drive_or_mirroring(
    dataset: TripletDataset,
) -> None:
    expected = torch.tensor([[0.58 * 96, 0, 48], [0, 1.92 * 64, 32], [0, 0, 1]])
    for augmentation in (NOTHING, MIRRORED):
        torch.testing.assert_close(dataset.sample(0, augmentation).intrinsics[0], expected)


def test_calibrated_intrinsics_are_scaled_and_mirrored(dataset: TripletDataset) -> None:
    calibrated = changed(dataset, intrinsics="calibration")
    plain = calibrated.sample(0, NOTHING).intrinsics[0]
    expected = torch.tensor([[90 * 0.75, 0, 60 * 0.75], [0, 90 * 0.8, 40 * 0.8], [0, 0, 1]])
    torch.testing.assert_close(plain, expected)
    mirrored = calibrated.sample(0, MIRRORED).intrinsics[0]
    assert mirrored[0, 2].item() == pytest.approx(95 - 45)


def test_recorded_motions_of_a_car_that_drives_one_metre_a_frame(dataset: TripletDataset) -> None:
    assert dataset.sample(0, NOTHING).motions is None
    motions = changed(dataset, pose="oxts").sample(3, NOTHING).motions
    assert motions is not None and motions.shape == (1, 2, 4, 4)
    # A point 5 m ahead is 6 m ahead of the earlier camera and 4 m of the later one.
    point = torch.tensor([0.0, 0.0, 5.0, 1.0])
    ahead = (motions[0] @ point)[:, :3]
    torch.testing.assert_close(ahead, torch.tensor([[0.0, 0, 6], [0, 0, 4]]), atol=1e-4, rtol=0)


def test_recorded_motions_are_mirrored_with_the_images(
    dataset: TripletDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    motion = np.eye(4)
    motion[:3, 3] = [0.5, 0.25, 1.0]
    monkeypatch.setattr("xdistill.train.data.dataset.camera_motion", lambda *frames: motion)
    motions = changed(dataset, pose="oxts").sample(3, MIRRORED).motions
    assert motions is not None
    assert motions[0, :, :3, 3].tolist() == [[-0.5, 0.25, 1.0]] * 2


def test_unit_images() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    unit = unit_images(images.expand(1, 3, 3, 2, 2))
    assert [image.unique().item() for image in unit] == pytest.approx([0.0, 0.2, 1.0])


def batches(dataset: TripletDataset, *, start: int = 0, stop: int = 6) -> list[Batch]:
    keys = batch_keys(
        len(dataset.frames),
        seed=dataset.recipe.seed,
        batch_size=dataset.recipe.batch_size,
        start=start,
        stop=stop,
    )
    return list(read_batches(dataset, keys, device=CPU))


def same(first: Batch, second: Batch) -> bool:
    assert first.labels is not None and second.labels is not None
    return (
        first.frames == second.frames
        and torch.equal(first.originals, second.originals)
        and torch.equal(first.inputs, second.inputs)
        and torch.equal(first.labels, second.labels)
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_the_stream_does_not_depend_on_the_number_of_workers(
    dataset: TripletDataset, workers: int
) -> None:
    alone = batches(dataset)
    several = batches(changed(dataset, num_workers=workers))
    assert len(alone) == len(several) == 6
    assert all(same(a, b) for a, b in zip(alone, several, strict=True))


@pytest.mark.parametrize("start", [1, 2, 3, 5])
def test_the_stream_goes_on_where_it_was_left(dataset: TripletDataset, start: int) -> None:
    rest = batches(dataset, start=start)
    assert all(same(a, b) for a, b in zip(batches(dataset)[start:], rest, strict=True))


def test_another_seed_gives_another_stream(dataset: TripletDataset) -> None:
    first, second = batches(dataset), batches(changed(dataset, seed=1))
    assert [b.frames for b in first] != [b.frames for b in second]


def test_reading_draws_from_nobody_elses_random_numbers(dataset: TripletDataset) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    batches(dataset, stop=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_visits_frames_once_in_an_order_of_its_own() -> None:
    keys = list(batch_keys(8, seed=0, batch_size=3, start=0, stop=6))
    epochs = [[key for batch in keys[i : i + 2] for key in batch] for i in (0, 2, 4)]
    for number, epoch in enumerate(epochs):
        assert {key.epoch for key in epoch} == {number}
        assert len({key.index for key in epoch}) == 6
    orders = [[key.index for key in epoch] for epoch in epochs]
    assert orders[0] != orders[1] != orders[2]


def test_augmentation_changes_from_epoch_to_epoch(dataset: TripletDataset) -> None:
    found = [dataset[SampleKey(epoch, 0)] for epoch in range(8)]
    inputs = {sample.inputs.numpy().tobytes() for sample in found if isinstance(sample, Batch)}
    assert len(inputs) > 4


def test_plain_keys_visit_every_frame_in_order_without_augmentation(
    dataset: TripletDataset,
) -> None:
    keys = list(plain_keys(8, batch_size=3))
    assert [len(batch) for batch in keys] == [3, 3, 2]
    read = list(read_batches(dataset, iter(keys), device=CPU))
    assert [frame for batch in read for frame in batch.frames] == [str(f) for f in TARGETS]
    assert all(torch.equal(batch.inputs, batch.originals) for batch in read)


@pytest.fixture
def broken(tmp_path: Path, data: Path) -> Callable[[str], Path]:
    """A copy of the drive in which one file is damaged."""

    def copy(name: str) -> Path:
        for source in data.rglob("*"):
            target = tmp_path / "kitti" / source.relative_to(data)
            if source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.write_bytes(source.read_bytes())
        damaged = tmp_path / "kitti" / name
        damaged.write_bytes(damaged.read_bytes()[:40])
        return tmp_path / "kitti"

    return copy


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("name", "error"),
    [
        (f"{SEQUENCE}/data/0000000004.png", ImageError),
        ("2011_09_26/calib_cam_to_cam.txt", CalibrationError),
        (f"{DRIVE}/oxts/data/0000000004.txt", PoseError),
    ],
)
def test_damaged_files_are_reported_without_a_worker_s_traceback(
    broken: Callable[[str], Path], name: str, error: type[Exception], workers: int
) -> None:
    recipe = replace(RECIPE, pose="oxts", intrinsics="calibration", num_workers=workers)
    damaged = TripletDataset(broken(name), TARGETS, recipe=recipe, labels=None)
    with pytest.raises(error) as caught:
        list(read_batches(damaged, plain_keys(8, batch_size=4), device=CPU))
    assert Path(name).name in str(caught.value)
    assert "Traceback" not in str(caught.value)
