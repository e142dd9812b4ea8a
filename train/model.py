"""Everything that is trained, as one module whose forward pass gives the loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.grouping.scheme import load_scheme
from xdistill.train.data.dataset import Batch, unit_images
from xdistill.train.networks.cost_volume import CostVolumePoseNetwork
from xdistill.train.networks.d2s import D2SNetwork, d2s_input
from xdistill.train.networks.depth import depth_network
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.objective.geometry import invert_pose, pose_matrix
from xdistill.train.objective.losses import Reduction, Views, d2s_loss, self_supervised, total_loss
from xdistill.train.recipe.recipe import Precision, Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The loss of one batch and its terms."""

    total: Float[Tensor, ""]
    """What the optimiser minimises (Eq. 4)."""
    photometric: Float[Tensor, ""]
    """Photometric loss, mean over the scales."""
    smoothness: Float[Tensor, ""]
    """Weighted smoothness, mean over the scales."""
    d2s: Float[Tensor, ""]
    """L_D2S without its weight (Eq. 3); 0 without distillation."""
    reprojected: Float[Tensor, ""]
    """Share of pixels that the automask keeps: a warped source frame fits best."""
    motions: Float[Tensor, "batch 2 4 4"]
    """T(target -> source) of the earlier and the later source that the loss used."""


class Model(nn.Module):
    """The depth network with the pose and D2S networks trained beside it."""

    def __init__(self, recipe: Recipe) -> None:
        """Build the networks of the recipe with random weights.

        Raises:
            ManifestError: The recipe's grouping scheme cannot be read.
        """
        super().__init__()
        self.recipe = recipe
        self.depth = depth_network(recipe)
        self.pose = pose_network(recipe)
        self.d2s = d2s_network(recipe)

    def forward(
        self,
        batch: Batch,
        *,
        d2s_weight: float,
        reduction: Reduction = "automask",
        generator: torch.Generator | None = None,
    ) -> Terms:
        """The loss of one batch.

        Args:
            batch: On the model's device.
            d2s_weight: lambda_D2S of this step; at 0 no gradient of L_D2S reaches any network.
            reduction: Over the source frames: the automask's minimum, or their mean.
            generator: Source of the automask's noise.
        """
        # The layout of the weights: convolutions are faster in it.
        last = torch.channels_last
        inputs = [image.contiguous(memory_format=last) for image in unit_images(batch.inputs)]
        with autocast(self.recipe.precision, batch.inputs.device):
            disparities = self.depth(inputs[0])  # (B, 1, H / 2^s, W / 2^s) at scale s
        views = self._views(batch, inputs)
        base = self_supervised(
            disparities,
            views,
            smoothness_weight=self.recipe.smoothness_weight,
            reduction=reduction,
            generator=generator,
        )
        d2s = self.distillation(disparities, batch)
        per_scale, placement = base.photometric + base.smoothness, self.recipe.d2s_placement
        return Terms(
            total=total_loss(per_scale, d2s, weight=d2s_weight, placement=placement),
            photometric=base.photometric.mean(),
            smoothness=base.smoothness.mean(),
            d2s=d2s,
            reprojected=base.reprojected,
            motions=torch.stack(list(views.motions), 1),
        )

    def _views(
        self, batch: Batch, inputs: Sequence[Float[Tensor, "batch 3 height width"]]
    ) -> Views:
        """The images as recorded, which the losses compare, with cameras and motions."""
        target, *sources = unit_images(batch.originals)
        return Views(
            target=target,
            sources=sources,
            intrinsics=batch.intrinsics,
            motions=self.motions(batch, inputs),
            min_depth=self.recipe.min_depth,
            max_depth=self.recipe.max_depth,
        )

    def motions(
        self, batch: Batch, inputs: Sequence[Float[Tensor, "batch 3 height width"]]
    ) -> list[Float[Tensor, "batch 4 4"]]:
        """T(target -> source) of the earlier and the later source.

        The pose network reads two frames in temporal order, so that its motion towards the earlier
        frame is the inverse of what it predicts.
        """
        if self.pose is None:
            if batch.motions is None:
                raise ValueError("a recipe without pose network needs recorded motions")
            return list(batch.motions.unbind(1))
        target, earlier, later = inputs
        with autocast(self.recipe.precision, target.device):
            backward, forward = self.pose(earlier, target)[:, 0], self.pose(target, later)[:, 0]
        return [
            invert_pose(pose_matrix(backward[:, :3], backward[:, 3:])),
            pose_matrix(forward[:, :3], forward[:, 3:]),
        ]

    def distillation(
        self, disparities: Sequence[Float[Tensor, "batch 1 _ _"]], batch: Batch
    ) -> Float[Tensor, ""]:
        """L_D2S of the scales that the recipe names; 0 without distillation."""
        if self.d2s is None or batch.labels is None:
            return disparities[0].new_zeros(())
        scales = disparities if self.recipe.d2s_scales == "all" else disparities[:1]
        return d2s_loss([self.group_logits(scale) for scale in scales], batch.labels)

    def group_logits(
        self, disparity: Float[Tensor, "batch 1 _ _"]
    ) -> Float[Tensor, "batch groups height width"]:
        """Group logits at the network's size of the sigmoid disparity of one scale."""
        if self.d2s is None:
            raise ValueError("a recipe without distillation has no groups")
        full = F.interpolate(disparity, self.recipe.size, mode="bilinear", align_corners=False)
        recipe = self.recipe
        read = d2s_input(
            full, recipe.d2s_input, min_depth=recipe.min_depth, max_depth=recipe.max_depth
        )
        with autocast(recipe.precision, read.device):
            logits: Tensor = self.d2s(read)
        return logits.float()


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which networks run in a format; the losses belong outside, in float32.

    Weights, their gradients and what needs the range of float32 stay in float32.
    """
    lower = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if lower else None, enabled=lower)


def pose_network(recipe: Recipe) -> PoseNetwork | CostVolumePoseNetwork | None:
    """The recipe's pose network with random weights; None with recorded poses."""
    if recipe.pose != "network":
        return None
    if recipe.pose_network == "cost_volume":
        return CostVolumePoseNetwork(size=recipe.size, unit=recipe.min_depth)
    return PoseNetwork(recipe.pose_encoder)


def d2s_network(recipe: Recipe) -> D2SNetwork | None:
    """The recipe's D2S network with random weights; None without distillation.

    Raises:
        ManifestError: The recipe's grouping scheme cannot be read.
    """
    if recipe.distillation != "d2s":
        return None
    groups = len(load_scheme(recipe.scheme).groups)
    return D2SNetwork(layers=recipe.d2s_layers, channels=recipe.d2s_channels, groups=groups)
