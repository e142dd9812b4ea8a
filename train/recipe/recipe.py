"""The recipe: every choice that decides a training run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xdistill.manifests.errors import ManifestError

STRIDE = 32
"""The coarsest encoder feature is 1/32 of the image's size."""
SMALLEST = 2 * STRIDE
"""Pixels; the decoder reflects the border of the coarsest feature, which takes two of them."""

ResNet = Literal["resnet18", "resnet34", "resnet50"]

ROAD_HEIGHTS = (3.84, 15.0)
"""Nearest and farthest depth of the row prior in camera heights: 1.92 / 0.5 at the lowest row."""


class RecipeError(ManifestError):
    """A recipe with an unknown key or a value that cannot be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One training run. A key that is absent takes the value below, Monodepth2's or the paper's.

    Raises:
        RecipeError: A value is out of its range, or two keys contradict each other.
    """

    name: str
    """Names the run folder and the report's row."""

    encoder: str = "resnet18"
    """Encoder of the depth network (section 4.1, Cai et al. 2021: resnet50); narrow is small."""
    pose: Literal["network", "oxts"] = "network"
    """Where motions come from: a pose network (Monodepth2), or the recorded poses in metres."""
    pose_network: Literal["resnet", "cost_volume"] = "resnet"
    """Monodepth2's, or one on matching costs that learns from random weights."""
    pose_encoder: ResNet = "resnet18"
    """Encoder of the resnet pose network (Monodepth2: resnet18)."""
    encoder_weights: str = "imagenet"
    """Initial encoders: imagenet, none (random), or the path of a torchvision state dict."""
    init: str | None = None
    """A run folder, or one with the peer's encoder.pth, depth.pth, ...: initial networks."""

    width: int = 640
    """Image width in pixels, a multiple of 32 (Monodepth2)."""
    height: int = 192
    """Image height in pixels, a multiple of 32 (Monodepth2)."""
    intrinsics: Literal["monodepth2", "calibration"] = "monodepth2"
    """Camera matrix: 0.58, 1.92, 0.5, 0.5 of the size (Monodepth2), or each date's calibration."""
    flip_probability: float = 0.5
    """Probability of mirroring a triplet (Monodepth2)."""
    jitter_probability: float = 0.5
    """Probability of jittering the colours of a triplet (Monodepth2)."""

    batch_size: int = 12
    """Triplets in one optimiser step (Monodepth2)."""
    epochs: int = 20
    """Passes over the frames (Monodepth2)."""
    schedule_steps: int | None = None
    """Length of the training and of its schedules in optimiser steps, in place of the epochs."""
    lr: float = 1e-4
    """Adam's learning rate (Monodepth2)."""
    lr_drop_epoch: int | None = 15
    """Epochs after which the rate drops; with schedule_steps, that share of them (Monodepth2)."""
    lr_drop_factor: float = 0.1
    """The rate is multiplied by this at the drop (Monodepth2)."""
    smoothness_weight: float = 1e-3
    """lambda_SM of Eq. 4 at scale 0; halved at each coarser scale (Monodepth2)."""
    min_depth: float = 0.1
    """Depth where the sigmoid is 1: the translation's unit, or m with oxts poses (Monodepth2)."""
    max_depth: float = 100.0
    """Depth where the sigmoid is 0, same unit (Monodepth2)."""
    row_prior: float | None = None
    """Camera height, same unit, over a flat road that disparity starts from (Monodepth2: none)."""
    automask_start: float = 0.0
    """Share of the schedule with the sources' mean in place of the auto-mask (Monodepth2: 0)."""

    distillation: Literal["none", "d2s"] = "none"
    """d2s adds the depth-to-segmentation loss (Eq. 3) and needs a label store."""
    scheme: str = "4"
    """Grouping of the teacher's classes: 4, 2, 19 or a TOML file (Tables 1 and 5)."""
    min_confidence: float | None = None
    """Pixels whose stored top probability is lower are ignored, in steps of 1/16 (paper: none)."""
    d2s_layers: Literal[0, 2, 4] = 2
    """3x3 convolutions of the D2S network before its 1x1 (Table 6)."""
    d2s_channels: int = 64
    """Width of these convolutions; the paper gives none."""
    d2s_input: Literal["disparity", "depth", "log_depth"] = "disparity"
    """What the D2S network reads; left open by the paper. disparity is the sigmoid output."""
    d2s_scales: Literal["finest", "all"] = "finest"
    """Scales the D2S network reads; left open by the paper."""
    d2s_weight: float = 0.005
    """lambda_D2S of Eq. 4 at the end of its schedule (section 4.1 and Table 7)."""
    d2s_schedule: Literal["linear", "constant"] = "linear"
    """linear grows from 0 over the whole training (Table 7)."""
    d2s_placement: Literal["outside", "inside"] = "outside"
    """Whether lambda_D2S L_D2S stands outside or inside the mean over scales; left open."""

    seed: int = 0
    """Seeds initial weights, data order, augmentation and tie-breaking noise."""
    deterministic: bool = True
    """Ask for deterministic kernels; on CUDA some have none and a note says so."""
    num_workers: int = 2
    """Processes that read images, at most one a core; 0 reads in the training process."""
    log_interval: int = 100
    """Optimiser steps between log lines."""
    checkpoint_interval: int = 1000
    """Optimiser steps between checkpoints."""
    picture_interval: int = 1000
    """Optimiser steps between pictures."""

    def __post_init__(self) -> None:
        for key, minimum in _MINIMA.items():
            value = getattr(self, key)
            if value is not None and value < minimum:
                raise _bad(self, key, f"at least {minimum}")
        for key in ("width", "height"):
            if getattr(self, key) % STRIDE:
                raise _bad(self, key, f"a multiple of {STRIDE}")
        for key in ("flip_probability", "jitter_probability", "automask_start", "min_confidence"):
            if not (getattr(self, key) or 0) <= 1:
                raise _bad(self, key, "a share in 0-1")
        if self.lr <= 0:
            raise _bad(self, "lr", "a positive learning rate")
        if not 0 < self.min_depth < self.max_depth:
            raise _bad(self, "min_depth", f"more than 0 and less than max_depth {self.max_depth}")
        if not self.name or Path(self.name).name != self.name:
            raise _bad(self, "name", "a name that can be a folder's")
        if self.row_prior is not None:
            self._check_row_prior(self.row_prior)
        self._check_weights()

    def _check_row_prior(self, height: float) -> None:
        """All depths of the prior must lie inside the range of depths."""
        nearest, farthest = ROAD_HEIGHTS
        if not self.min_depth < nearest * height < farthest * height < self.max_depth:
            low, high = self.min_depth / nearest, self.max_depth / farthest
            raise _bad(self, "row_prior", f"a height between {low:.3g} and {high:.3g}")

    def _check_weights(self) -> None:
        """What encoder_weights names must fit every encoder that starts from it."""
        own = self.encoder_weights not in ("imagenet", "none")
        resnet = self.pose == "network" and self.pose_network == "resnet"
        if own and resnet and self.pose_encoder != self.encoder:
            found = f"{self.encoder} and {self.pose_encoder} from one file"
            raise _bad(self, "encoder_weights", "encoder and pose_encoder alike", found=found)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's images in pixels."""
        return self.height, self.width

    @property
    def pose_source(self) -> str:
        """Where the motions come from, as every report says it."""
        if self.pose == "oxts":
            return "recorded poses (oxts), depth in metres; not self-supervised from images alone"
        kind = self.pose_encoder if self.pose_network == "resnet" else "cost volume"
        return f"pose network ({kind}), depth up to scale"


RESUMABLE_KEYS = ("num_workers", "log_interval", "checkpoint_interval", "picture_interval")
"""Keys that change no result, so that a resumed run may change them."""

_MINIMA = {
    "flip_probability": 0,
    "jitter_probability": 0,
    "width": SMALLEST,
    "height": SMALLEST,
    "batch_size": 1,
    "epochs": 1,
    "schedule_steps": 1,
    "lr_drop_epoch": 1,
    "lr_drop_factor": 0,
    "smoothness_weight": 0,
    "row_prior": 0,
    "automask_start": 0,
    "min_confidence": 0,
    "d2s_channels": 1,
    "d2s_weight": 0,
    "seed": 0,
    "num_workers": 0,
    "log_interval": 1,
    "checkpoint_interval": 1,
    "picture_interval": 1,
}


def _bad(recipe: Recipe, key: str, expected: str, *, found: str | None = None) -> RecipeError:
    return RecipeError(
        f"{key} = {found or getattr(recipe, key)!r}",
        expected=expected,
        where=f"recipe {recipe.name!r}",
        remedy=f"correct {key} in the recipe, or with --set {key}=...",
    )
