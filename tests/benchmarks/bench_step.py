"""A training step on a CPU: ours in each precision and with D2S, beside Monodepth2's way of it.

Run alone: pytest tests/benchmarks/bench_step.py -o python_files="bench_*.py" -s
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from xdistill.train.data.dataset import Batch, unit_images
from xdistill.train.model import Model, Terms, autocast
from xdistill.train.networks.d2s import D2SNetwork
from xdistill.train.objective.geometry import invert_pose, pose_matrix
from xdistill.train.objective.losses import cross_entropy
from xdistill.train.recipe.recipe import Precision, Recipe
from xdistill.train.training import new_training

SIZE = HEIGHT, WIDTH = 192, 640
BATCH, ROUNDS = 2, 5
RECIPE = Recipe(name="bench", encoder_weights="none")
D2S = replace(RECIPE, distillation="d2s")
CPU = torch.device("cpu")
FLOAT32_RATIO, BFLOAT16_RATIO, D2S_RATIO = 1.6, 2.8, 1.5
"""The peer's CPU time over ours that is asked for: RN18, in bfloat16, and with D2S."""

Step = Callable[[], float]


@pytest.fixture(scope="module")
def batch() -> Batch:
    noise = torch.rand(3 * BATCH, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    images = (F.avg_pool2d(noise, 9, 1, 4) * 255).byte().view(BATCH, 3, 3, *SIZE)
    camera = [[0.58 * WIDTH, 0, 0.5 * WIDTH], [0, 1.92 * HEIGHT, 0.5 * HEIGHT], [0, 0, 1]]
    return Batch(
        frames=("frame",) * BATCH,
        originals=images,
        inputs=images,
        intrinsics=torch.tensor(camera).expand(BATCH, 3, 3),
        labels=(noise[:BATCH, 0] * 4).byte(),
        motions=None,
    )


def ours(recipe: Recipe, batch: Batch) -> Step:
    """One step as the trainer takes it; returns its loss."""
    training = new_training(recipe, device=CPU)
    training.optimiser.param_groups[0]["lr"] = recipe.lr

    def step() -> float:
        terms: Terms = training.model(batch, d2s_weight=0.005, generator=training.generator)
        training.optimiser.zero_grad(set_to_none=True)
        terms.total.backward()  # type: ignore[no-untyped-call]
        training.optimiser.step()
        return terms.total.item()

    return step


def peers(batch: Batch) -> Step:
    """Monodepth2's step: the same networks in NCHW, losses of PyTorch's own operations, Adam."""
    model = new_training(RECIPE, device=CPU).model
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(model.parameters(), RECIPE.lr)
    generator = torch.Generator().manual_seed(RECIPE.seed)
    pyramid = [
        F.interpolate(unit_images(batch.originals)[0], (HEIGHT >> s, WIDTH >> s), mode="area")
        for s in range(4)
    ]
    plain = PlainLosses(batch, pyramid, generator)

    def step() -> float:
        target, *sources = unit_images(batch.inputs)
        disparities = model.depth(target)
        loss = plain.total(disparities, plain_motions(model, target, sources))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.item()

    return step


def plain_motions(model: Model, target: Tensor, sources: list[Tensor]) -> list[Tensor]:
    assert model.pose is not None
    backward = model.pose(sources[0], target)[:, 0]
    forward = model.pose(target, sources[1])[:, 0]
    return [
        invert_pose(pose_matrix(backward[:, :3], backward[:, 3:])),
        pose_matrix(forward[:, :3], forward[:, 3:]),
    ]


@dataclass
class PlainLosses:
    """Photometric loss with automask and smoothness at four scales, each written out at each."""

    batch: Batch
    pyramid: list[Tensor]
    generator: torch.Generator

    def total(self, disparities: list[Tensor], motions: list[Tensor]) -> Tensor:
        target, *sources = unit_images(self.batch.originals)
        losses = []
        for scale, disparity in enumerate(disparities):
            full = F.interpolate(disparity, SIZE, mode="bilinear", align_corners=False)
            depth = 1 / (1 / 100 + (1 / 0.1 - 1 / 100) * full)
            warped = [
                self.warp(source, depth, motion)
                for source, motion in zip(sources, motions, strict=True)
            ]
            reprojection = torch.cat([plain_photometric(image, target) for image in warped], 1)
            identity = torch.cat([plain_photometric(image, target) for image in sources], 1)
            identity = identity + 1e-5 * torch.randn(identity.shape, generator=self.generator)
            least = torch.cat([identity, reprojection], 1).min(1).values
            smooth = plain_smoothness(disparity, self.pyramid[scale])
            losses.append(least.mean() + 1e-3 / 2**scale * smooth)
        return torch.stack(losses).mean()

    def warp(self, source: Tensor, depth: Tensor, motion: Tensor) -> Tensor:
        v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
        pixels = torch.stack([u, v, torch.ones_like(u)]).view(1, 3, -1).float()
        rays = torch.linalg.inv(self.batch.intrinsics) @ pixels
        points = torch.cat([depth.view(BATCH, 1, -1) * rays, torch.ones_like(rays[:, :1])], 1)
        seen = (self.batch.intrinsics @ motion[:, :3]) @ points
        grid = (seen[:, :2] / (seen[:, 2:] + 1e-7)).view(BATCH, 2, *SIZE).permute(0, 2, 3, 1)
        grid = (grid / torch.tensor([WIDTH - 1, HEIGHT - 1]) - 0.5) * 2
        return F.grid_sample(source, grid, padding_mode="border", align_corners=True)


def plain_photometric(predicted: Tensor, target: Tensor) -> Tensor:
    x, y = F.pad(predicted, (1, 1, 1, 1), "reflect"), F.pad(target, (1, 1, 1, 1), "reflect")
    mean_x, mean_y = F.avg_pool2d(x, 3, 1), F.avg_pool2d(y, 3, 1)
    variance_x = F.avg_pool2d(x**2, 3, 1) - mean_x**2
    variance_y = F.avg_pool2d(y**2, 3, 1) - mean_y**2
    covariance = F.avg_pool2d(x * y, 3, 1) - mean_x * mean_y
    above = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    below = (mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2)
    dissimilarity = torch.clamp((1 - above / below) / 2, 0, 1).mean(1, True)
    return 0.85 * dissimilarity + 0.15 * (target - predicted).abs().mean(1, True)


def plain_smoothness(disparity: Tensor, image: Tensor) -> Tensor:
    normal = disparity / (disparity.mean(2, True).mean(3, True) + 1e-7)
    along_x = (normal[..., :-1] - normal[..., 1:]).abs()
    along_y = (normal[..., :-1, :] - normal[..., 1:, :]).abs()
    edge_x = (image[..., :-1] - image[..., 1:]).abs().mean(1, True)
    edge_y = (image[..., :-1, :] - image[..., 1:, :]).abs().mean(1, True)
    return (along_x * torch.exp(-edge_x)).mean() + (along_y * torch.exp(-edge_y)).mean()


def at(recipe: Recipe, precision: Precision) -> Recipe:
    return replace(recipe, precision=precision)


def test_a_step(batch: Batch) -> None:
    steps = {
        "peer": peers(batch),
        "float32": ours(RECIPE, batch),
        "bfloat16": ours(at(RECIPE, "bfloat16"), batch),
        "float32, D2S 64": ours(D2S, batch),
        "float32, D2S 16": ours(replace(D2S, d2s_channels=16), batch),
        "bfloat16, D2S 64": ours(at(D2S, "bfloat16"), batch),
        "bfloat16, D2S 16": ours(at(replace(D2S, d2s_channels=16), "bfloat16"), batch),
    }
    first = {name: step() for name, step in steps.items()}
    assert first["float32"] == pytest.approx(first["peer"], rel=1e-5)
    assert first["bfloat16"] == pytest.approx(first["float32"], rel=1e-3)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    print(
        f"\nRN18, {WIDTH}x{HEIGHT}, batch {BATCH}, {torch.get_num_threads()} threads; CPU seconds"
    )
    for name, values in seconds.items():
        ratios = sorted(p / v for p, v in zip(seconds["peer"], values, strict=True))
        print(
            f"{name:18} {statistics.median(values):6.2f} ({min(values):.2f}-{max(values):.2f})"
            f"  peer / ours {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )
    for name, wanted in (
        ("float32", FLOAT32_RATIO),
        ("bfloat16", BFLOAT16_RATIO),
        ("float32, D2S 64", D2S_RATIO),
        ("float32, D2S 16", D2S_RATIO),
    ):
        found = statistics.median(seconds["peer"]) / statistics.median(seconds[name])
        print(f"{name}: {found:.2f}, asked for {wanted}: {'met' if found >= wanted else 'MISSED'}")


def test_d2s_alone(batch: Batch) -> None:
    """What width and resolution of the D2S network cost, in each precision."""
    assert batch.labels is not None
    print(f"\nD2S alone, {WIDTH}x{HEIGHT} / n, batch {BATCH}; CPU seconds, forward and backward")
    kinds: tuple[Precision, ...] = ("float32", "bfloat16")
    for channels in (64, 32, 16):
        for divisor in (1, 2, 4):
            medians = [d2s_seconds(batch, kind, channels, divisor) for kind in kinds]
            shown = "  ".join(f"{kind} {s:.3f}" for kind, s in zip(kinds, medians, strict=True))
            print(f"{channels:3} channels, n = {divisor}: {shown}")


def d2s_seconds(batch: Batch, precision: Precision, channels: int, divisor: int) -> float:
    assert batch.labels is not None
    network = D2SNetwork(layers=2, channels=channels, groups=4)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = (HEIGHT // divisor, WIDTH // divisor)
    disparity = torch.rand(BATCH, 1, *size, requires_grad=True)
    labels = batch.labels[:, ::divisor, ::divisor]
    found = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        with autocast(precision, CPU):
            logits = network(disparity)
        cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        found.append(time.process_time() - start)
    return statistics.median(found[1:])
