"""The recipe: every choice that decides a training run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xdistill.manifests.errors import ManifestError, shown

STRIDE = 32
"""The coarsest encoder feature is 1/32 of the image's size."""
SMALLEST = 2 * STRIDE
"""Smallest side in pixels: the coarsest feature needs two pixels to reflect its border."""

ResNet = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
Precision = Literal["float32", "bfloat16", "float16"]

LONGEST_NAME = 100

ROAD_HEIGHTS = (3.84, 15.0)
"""Nearest and farthest depth of the row prior in camera heights; 1.92 / 0.5 at the lowest row."""


class RecipeError(ManifestError):
    """A recipe with an unknown key or an invalid value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One training run. A missing key takes the default below: Monodepth2's or the paper's value.

    Raises:
        RecipeError: A value is out of range, or two keys contradict each other.
    """

    name: str
    """Name of the run folder and of the row in reports."""
    remark: str | None = None
    """What every report says of a run of this recipe."""

    encoder: str = "resnet18"
    """Encoder of the depth network: resnet18, resnet34, resnet50 (section 4.1, Cai et al. 2021),
    resnet101, timm:NAME (any encoder of timm), or narrow, a sixteenth of resnet18 in parameters."""
    decoder: str = "monodepth2"
    """Decoder of the depth network: monodepth2, or hr-depth (Lyu et al., AAAI 2021; Table 8)."""
    pose: Literal["network", "oxts"] = "network"
    """Source of the camera motions: a pose network (Monodepth2), or recorded poses in metres."""
    pose_network: Literal["resnet", "cost_volume"] = "resnet"
    """Pose network: Monodepth2's, or one on matching costs that learns from random weights."""
    pose_encoder: ResNet = "resnet18"
    """Encoder of the resnet pose network (Monodepth2: resnet18)."""
    encoder_weights: str = "imagenet"
    """Initial weights of the depth network's encoder: imagenet (Monodepth2), none (random), or the
    path of a state dict of torchvision or, for timm:NAME, of timm."""
    pose_encoder_weights: str = "same"
    """Initial weights of the pose network's encoder: same (as encoder_weights), imagenet, none, or
    the path of a torchvision state dict."""
    init: str | None = None
    """Folder of the initial networks: a run, or Monodepth2's encoder.pth, depth.pth, ...; or
    run:NAME, the newest run of that recipe beside this one."""

    width: int = 640
    """Image width in pixels, a multiple of 32 (Monodepth2)."""
    height: int = 192
    """Image height in pixels, a multiple of 32 (Monodepth2)."""
    intrinsics: Literal["monodepth2", "calibration"] = "monodepth2"
    """Camera matrix: fx, fy, cx, cy = 0.58, 1.92, 0.5, 0.5 of the image size for every drive
    (Monodepth2), or each date's calibration."""
    flip_probability: float = 0.5
    """Probability of mirroring a triplet, 0-1 (Monodepth2)."""
    jitter_probability: float = 0.5
    """Probability of jittering the colours of a triplet, 0-1 (Monodepth2)."""

    batch_size: int = 12
    """Triplets that go through the networks at once (Monodepth2)."""
    accumulate: int = 1
    """Batches in one optimiser step, which takes the mean of their gradients (Monodepth2: 1)."""
    epochs: int = 20
    """Passes over the frames (Monodepth2)."""
    precision: Precision = "float32"
    """Number format in which the networks calculate: float32, or bfloat16 or float16 where the
    device has it. Weights and losses are float32 always."""
    schedule_steps: int | None = None
    """Length of the training and of its schedules in optimiser steps, instead of epochs."""
    lr: float = 1e-4
    """Adam's learning rate (Monodepth2)."""
    lr_drop_epoch: int | None = 15
    """Epoch after which the learning rate drops, or none (Monodepth2: 15); with schedule_steps, the
    drop comes at the same share of the steps."""
    lr_drop_factor: float = 0.1
    """Factor on the learning rate at the drop (Monodepth2)."""
    smoothness_weight: float = 1e-3
    """lambda_SM of Eq. 4 at scale 0; halved at each coarser scale (Monodepth2)."""
    min_depth: float = 0.1
    """Depth at sigmoid 1, in the unit of the predicted translation, or in metres with oxts poses
    (Monodepth2)."""
    max_depth: float = 100.0
    """Depth at sigmoid 0, same unit (Monodepth2)."""
    row_prior: float | None = None
    """Camera height, same unit, above a flat road that disparity starts from; none starts from the
    middle of the range (Monodepth2)."""
    automask_start: float = 0.0
    """Share of the schedule, 0-1, that averages over the source frames before the automask starts
    (Monodepth2: 0)."""

    distillation: Literal["none", "d2s"] = "none"
    """d2s adds the depth-to-segmentation loss (Eq. 3) and needs a label store."""
    scheme: str = "4"
    """Grouping of the teacher's classes: 4, 2, 19 (Tables 1 and 5), or the path of a TOML file."""
    min_confidence: float | None = None
    """Least top probability of labels that count, 0-1 in steps of 1/16; none counts all (paper)."""
    d2s_layers: Literal[0, 2, 4] = 2
    """Number of 3x3 convolutions of the D2S network before its 1x1 convolution (Table 6)."""
    d2s_channels: int = 64
    """Output channels of these convolutions; left open by the paper."""
    d2s_input: Literal["disparity", "depth", "log_depth"] = "disparity"
    """Input of the D2S network; left open by the paper. disparity is the sigmoid output."""
    d2s_scales: Literal["finest", "all"] = "finest"
    """Disparity scales that the D2S network reads; left open by the paper."""
    d2s_weight: float = 0.005
    """lambda_D2S of Eq. 4 at the end of its schedule (section 4.1 and Table 7)."""
    d2s_schedule: Literal["linear", "constant"] = "linear"
    """Schedule of lambda_D2S: linear from 0 over the whole training, or constant (Table 7)."""
    d2s_placement: Literal["outside", "inside"] = "outside"
    """Place of lambda_D2S L_D2S, outside or inside the mean over scales; left open by the paper."""

    seed: int = 0
    """Seed of initial weights, data order, augmentation and the automask's noise."""
    deterministic: bool = True
    """Use deterministic kernels; CUDA lacks some, and a note says so."""
    num_workers: int = 16
    """Processes that read images, at most one per core; 0 reads in the training process."""
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
        for key, maximum in _MAXIMA.items():
            if (getattr(self, key) or 0) > maximum:
                raise _bad(self, key, f"at most {maximum}")
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
        named = self.name not in ("", "..") and Path(self.name).name == self.name
        if not named or min(self.name) < " " or len(self.name) > LONGEST_NAME:
            raise _bad(self, "name", f"a name for a folder, of at most {LONGEST_NAME} characters")
        if self.row_prior is not None:
            self._check_row_prior(self.row_prior)
        self._check_weights()

    def _check_row_prior(self, height: float) -> None:
        """The range of depths must hold all depths of the prior."""
        nearest, farthest = ROAD_HEIGHTS
        if not self.min_depth < nearest * height < farthest * height < self.max_depth:
            low, high = self.min_depth / nearest, self.max_depth / farthest
            raise _bad(self, "row_prior", f"a height between {low:.3g} and {high:.3g}")

    def _check_weights(self) -> None:
        """One file of weights must fit every encoder that starts from it."""
        own = self.encoder_weights not in ("imagenet", "none")
        resnet = self.pose == "network" and self.pose_network == "resnet"
        shared = resnet and self.pose_encoder_weights == "same"
        if own and shared and self.pose_encoder != self.encoder:
            found = f"one file for encoder {self.encoder} and pose_encoder {self.pose_encoder}"
            raise _bad(self, "encoder_weights", "a file of one architecture for both", found=found)

    @property
    def pose_weights(self) -> str:
        """Initial weights of the pose network's encoder."""
        own = self.pose_encoder_weights
        return self.encoder_weights if own == "same" else own

    @property
    def step_size(self) -> int:
        """Triplets in one optimiser step."""
        return self.batch_size * self.accumulate

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's images in pixels."""
        return self.height, self.width

    @property
    def pose_source(self) -> str:
        """Source of the motions, as every report says it."""
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
    "accumulate": 1,
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

_MAXIMA = {
    "width": 16384,
    "height": 16384,
    "batch_size": 4096,
    "accumulate": 4096,
    "epochs": 10**6,
    "schedule_steps": 10**9,
    "lr_drop_epoch": 10**6,
    "d2s_channels": 4096,
    "seed": 2**32 - 1,
    "num_workers": 1024,
    "log_interval": 10**9,
    "checkpoint_interval": 10**9,
    "picture_interval": 10**9,
}
"""Far above any use, and below what overflows somewhere in PyTorch or NumPy."""


def _bad(recipe: Recipe, key: str, expected: str, *, found: str | None = None) -> RecipeError:
    return RecipeError(
        f"{key} is {found or shown(getattr(recipe, key))}, not {expected}",
        expected=expected,
        where=f"recipe {shown(recipe.name)}",
        remedy=f"correct {key} in the recipe, or with --set {key}=...",
    )
