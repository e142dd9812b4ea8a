"""Sixty steps on a real KITTI drive with a real teacher's labels, at a reduced resolution."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from material import Material
from training_runs import Started

from xdistill.grouping.scheme import load_scheme, remap
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.store import LabelStore
from xdistill.train.data.dataset import plain_keys
from xdistill.train.data.readers import read_batches
from xdistill.train.data.triplets import Selection
from xdistill.train.depth_network import load_depth_network
from xdistill.train.job import Job, prepare, start
from xdistill.train.loop import train
from xdistill.train.model import Model
from xdistill.train.recipe.file import load_recipe
from xdistill.train.training import new_training

pytestmark = pytest.mark.slow

DRIVE = "2011_09_26/2011_09_26_drive_0013_sync"
STEPS = 60
Lines = list[dict[str, float]]


@pytest.fixture(scope="module")
def labels(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the teacher's labels of the drive."""
    path = tmp_path_factory.mktemp("store") / "labels.zarr"
    store = LabelStore.open_for_writing(path, teacher={"kind": "png"}, fingerprint="0" * 64)
    array = store.ensure_array(
        f"{DRIVE}/image_02", "classes", length=72, size=(375, 1242), values=19, attributes={}
    )
    for shard in range(2):
        frames = range(64 * shard, min(64 * shard + 64, 72))
        array.write_shard(shard, {index: png(material, index) for index in frames})
    return path


def png(material: Material, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    path = material.labels / DRIVE / "image_02" / f"{index:010d}.png"
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)


def job_of(material: Material, labels: Path, run: Path) -> Job:
    recipe = load_recipe(
        "xdistill-rn18",
        overrides=[
            "width=128",
            "height=64",
            "batch_size=2",
            f"schedule_steps={STEPS}",
            "encoder_weights=none",
            "num_workers=0",
        ],
    )
    return prepare(
        recipe,
        run=run,
        data=material.kitti,
        selection=Selection(split=None, drives=("0013",)),
        store=labels,
        device="cpu",
    )


@pytest.fixture(scope="module")
def trained(
    material: Material, labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Started, Lines]:
    run = tmp_path_factory.mktemp("kitti_run") / "run"
    job = job_of(material, labels, run)
    started = Started(start(job), job)
    train(started.training, job)
    return started, [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]


def fixed_batch_losses(started: Started, model: Model) -> list[float]:
    """Photometric loss of the same frames, without augmentation, for any state of the networks."""
    found = []
    # A copy: a pass in training mode moves BatchNorm's running statistics.
    model = copy.deepcopy(model)
    with torch.no_grad():
        keys = list(plain_keys(30, batch_size=10))
        for batch in read_batches(started.job.dataset, iter(keys), device=torch.device("cpu")):
            generator = torch.Generator().manual_seed(1)
            terms = model(batch, d2s_weight=0.0, generator=generator)
            found.append(terms.photometric.item())
    return found


def test_every_figure_is_finite(trained: tuple[Started, Lines]) -> None:
    _, lines = trained
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert all(math.isfinite(value) for line in lines for value in line.values())


def test_photometric_loss_falls(trained: tuple[Started, Lines]) -> None:
    started, lines = trained
    losses = [line["loss_photometric"] for line in lines]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    untrained = new_training(started.training.recipe, device=torch.device("cpu")).model
    before = fixed_batch_losses(started, untrained)
    after = fixed_batch_losses(started, started.training.model)
    assert all(last < first for first, last in zip(before, after, strict=True))


def test_groups_are_learned_from_depth(trained: tuple[Started, Lines]) -> None:
    losses = [line["loss_d2s"] for line in trained[1]]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_weight_follows_its_schedule(trained: tuple[Started, Lines]) -> None:
    weights = [line["weight_d2s"] for line in trained[1]]
    assert weights == pytest.approx([0.005 * step / (STEPS - 1) for step in range(STEPS)])


def test_the_network_reads_the_labels_of_the_png_files(
    material: Material, trained: tuple[Started, Lines]
) -> None:
    source = trained[0].job.dataset.labels
    assert source is not None
    for index in (1, 64, 70):
        expected = remap(png(material, index), load_scheme("4"))
        np.testing.assert_array_equal(source.read(Frame(DRIVE, index, "l"), (375, 1242)), expected)


def test_gradient_of_distillation_on_real_frames(trained: tuple[Started, Lines]) -> None:
    started, _ = trained
    batch = next(
        read_batches(started.job.dataset, plain_keys(2, batch_size=2), device=torch.device("cpu"))
    )
    model = copy.deepcopy(started.training.model)
    baseline = Model(replace(started.training.recipe, distillation="none"))
    shared_weights = {k: v for k, v in model.state_dict().items() if not k.startswith("d2s.")}
    baseline.load_state_dict(shared_weights)

    def gradients(network: Model, weight: float) -> dict[str, torch.Tensor]:
        network.zero_grad()
        terms = network(batch, d2s_weight=weight, generator=torch.Generator().manual_seed(1))
        terms.total.backward()
        parameters = network.depth.named_parameters()
        return {name: p.grad.clone() for name, p in parameters if p.grad is not None}

    plain, absent = gradients(baseline, 0.0), gradients(model, 0.0)
    present = gradients(model, 0.005)
    assert all(torch.equal(absent[name], plain[name]) for name in plain)
    assert not torch.equal(present["encoder.conv1.weight"], plain["encoder.conv1.weight"])


def test_the_depth_network_comes_back_from_the_run(trained: tuple[Started, Lines]) -> None:
    started, _ = trained
    network, recipe = load_depth_network(started.job.run, device=torch.device("cpu"))
    assert recipe == started.training.recipe
    image = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        found = network(image)[0]
        expected = copy.deepcopy(started.training.model.depth).eval()(image)[0]
    assert torch.equal(found, expected)
