"""A transformers model with its image processor, and its classes as train ids."""

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.manifests.weights import listed
from xdistill.teachers.engines.engine import Run
from xdistill.teachers.engines.network import Network, Prepared, quiet
from xdistill.teachers.protocol import (
    CONFIG,
    NATIVE,
    Record,
    TeacherError,
    TeacherSettings,
    as_json,
    canonical_json,
    parse_size,
)

ORIGIN = ("_name_or_path", "transformers_version")
"""Keys of a config that say where it came from and decide no label."""
MAX_CLASSES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMap:
    """A model's classes as Cityscapes train ids."""

    train_ids: tuple[int, ...]
    """Train id of each class of the model; 255 for a class without one."""
    unmapped: tuple[str, ...]
    """Names of the classes without a train id."""


def map_classes(names: Sequence[str], *, where: str) -> ClassMap:
    """Match classes by name: either half of ``car, auto``; ``Traffic_Light`` is traffic light.

    Args:
        names: The model's classes, in the order of its scores.
        where: The model, named in the message.

    Raises:
        TeacherError: No class matches, or the model has more than 256.
    """
    known = {name: train_id for train_id, name in enumerate(cityscapes().names)}
    train_ids = tuple(_match(name, known) for name in names)
    if set(train_ids) <= {IGNORE_INDEX} or len(names) > MAX_CLASSES:
        raise TeacherError(
            f"the model has {len(names)} classes: " + listed(names, most=8),
            expected=f"at most {MAX_CLASSES}, some named as in Cityscapes: " + ", ".join(known),
            where=where,
            remedy="add an id2label with the classes' names to the model's config",
        )
    lost = (name for name, i in zip(names, train_ids, strict=True) if i == IGNORE_INDEX)
    return ClassMap(train_ids=train_ids, unmapped=tuple(lost))


def _match(name: str, known: dict[str, int]) -> int:
    synonyms = (re.sub(r"[\s_-]+", " ", part).strip() for part in name.lower().split(","))
    return next((known[part] for part in synonyms if part in known), IGNORE_INDEX)


class Scores(nn.Module):
    """A model's class scores at its own resolution, by its processor's rule."""

    task: Tensor | None

    def __init__(self, model: Any, processor: Any, *, task: Tensor | None, masks: bool) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.masks = masks
        rule = inspect.signature(processor.post_process_semantic_segmentation).parameters
        # EoMT's processor has no scores without them.
        self.wants_sizes = rule["target_sizes"].default is inspect.Parameter.empty
        self.register_buffer("task", task, persistent=False)

    def forward(
        self, inputs: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Logits; for models that predict masks, the sum of class probability times mask."""
        extra = {}
        if self.task is not None:
            extra["task_inputs"] = self.task.expand(inputs.shape[0], -1)
        outputs = self.model(pixel_values=inputs, **extra)
        sizes = {}
        if self.wants_sizes:
            sizes["target_sizes"] = [tuple(inputs.shape[2:])] * inputs.shape[0]
        maps = self.processor.post_process_semantic_segmentation(
            outputs, return_segmentation_scores=True, **sizes
        )
        return torch.stack([one.segmentation_scores for one in maps])


class HfNetwork(Network):
    """Prepares frames and predicts class scores with a transformers model."""

    align_corners = False

    def __init__(
        self, scores: Scores, classes: ClassMap, *, engine: Run, settings: TeacherSettings
    ) -> None:
        self._scores = scores
        self._classes = classes
        self._engine = engine
        self._input_size = settings.input_size or CONFIG
        self._fixed = bool(getattr(scores.processor, "do_split_image", False))
        if self._fixed and (self._input_size != CONFIG or settings.scales not in (None, (1.0,))):
            raise TeacherError(
                f"{type(scores.model).__name__} takes patches of one size",
                expected="its image processor's own size, at one scale",
                where="--input-size and --scales",
                remedy="leave them out",
            )
        self.train_ids = classes.train_ids

    def record(self) -> Record:
        """Everything that decides the labels, except the weights."""
        model, processor = self._scores.model, self._scores.processor
        config = {k: v for k, v in model.config.to_dict().items() if k not in ORIGIN}
        content = canonical_json(as_json(config))
        return {
            "kind": "hf",
            "architecture": type(model).__name__,
            "config_sha256": hashlib.sha256(content.encode("ascii")).hexdigest(),
            "input_size": self._input_size,
            "preprocessing": as_json(processor.to_dict()),
            "train_ids": list(self._classes.train_ids),
            "unmapped": list(self._classes.unmapped),
            "versions": {
                "torch": torch.__version__.partition("+")[0],
                "transformers": version("transformers"),
                "pillow": version("pillow"),
            },
        }

    def prepare(self, image: NDArray[np.uint8], scale: float) -> Prepared:
        """Resize and normalise one RGB frame (height, width, 3) by the image processor."""
        size = self._size(image)
        if scale != 1.0:
            height, width = size or tuple(self._process(image, None)["pixel_values"].shape[2:])
            size = max(1, round(height * scale)), max(1, round(width * scale))
        answer = self._process(image, size)
        places = answer.get("patch_offsets") or ()
        patches = tuple((int(frame), int(start), int(end)) for frame, start, end in places)
        inputs = answer["pixel_values"].to(next(self._scores.model.parameters()).device)
        return Prepared(inputs=inputs, padding=(0, 0, 0, 0), patches=patches)

    def joined(
        self,
        logits: Float[Tensor, "batch classes rows columns"],
        patches: Sequence[tuple[int, int, int]],
        *,
        size: tuple[int, int],
    ) -> Float[Tensor, "frames classes {size[0]} {size[1]}"]:
        """Scores of whole frames: where patches overlap, their mean."""
        processor, frames = self._scores.processor, 1 + patches[-1][0]
        return torch.stack(
            processor.merge_image_patches(logits, patches, [size] * frames, processor.size)
        )

    def _size(self, image: NDArray[np.uint8]) -> tuple[int, int] | None:
        """Height and width to resize to; None leaves it to the image processor."""
        height, width = image.shape[:2]
        if self._input_size in (CONFIG, NATIVE):
            return None if self._input_size == CONFIG else (height, width)
        wanted, tall = parse_size(self._input_size, option="--input-size")
        if tall is not None:
            return tall, wanted
        factor = wanted / max(height, width)
        return max(1, round(height * factor)), max(1, round(width * factor))

    def _process(self, image: NDArray[np.uint8], size: tuple[int, int] | None) -> Mapping[str, Any]:
        chosen = {} if size is None else {"size": {"height": size[0], "width": size[1]}}
        answer: Mapping[str, Any] = self._scores.processor(
            images=image, return_tensors="pt", input_data_format="channels_last", **chosen
        )
        return answer

    def logits(
        self, inputs: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Scores of the model's own classes."""
        with quiet():
            return self._engine(inputs)

    def probabilities(
        self, logits: Float[Tensor, "batch classes height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Softmax of logits; scores from masks are only divided by their sum."""
        if not self._scores.masks:
            return super().probabilities(logits)
        return logits / logits.sum(dim=1, keepdim=True).clamp(min=torch.finfo(logits.dtype).tiny)
