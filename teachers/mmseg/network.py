"""A segmentor prepared and run as in mmsegmentation's inference_model."""

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from xdistill.teachers.engines.engine import Run
from xdistill.teachers.engines.network import Network, Prepared, quiet, slide
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg.faults import told
from xdistill.teachers.mmseg.packages import versions
from xdistill.teachers.protocol import (
    CONFIG,
    Record,
    TeacherError,
    TeacherSettings,
    as_json,
    canonical_json,
    parse_size,
)

SIZE_DIVISOR_PX = {"PIDNet": 64}
"""Backbones that fail inside mmsegmentation at inputs that are not multiples of this."""


class SingleScale(nn.Module):
    """Logits of a segmentor at the size of its input."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Features, heads, and the first of the two resizes."""
        size = inputs.shape[2:]
        meta = {"img_shape": size, "pad_shape": size, "ori_shape": size}
        logits: Tensor = self.model.encode_decode(inputs, [meta] * inputs.shape[0])
        return logits


class MmsegNetwork(Network):
    """Prepares frames and predicts logits by the config's pipeline, preprocessor and test mode."""

    def __init__(
        self, config: Any, model: nn.Module, *, engine: Run, settings: TeacherSettings
    ) -> None:
        self._config = config
        self._model: Any = model
        self._engine = engine
        self._input_size = settings.input_size or CONFIG
        self._window = _window(config, settings.window)
        self._scales = settings.scales or (1.0,)
        self._pipelines: dict[float, Any] = {}
        self.align_corners = bool(self._model.align_corners)
        self._check_divisor_of_input()

    def record(self) -> Record:
        """Everything that decides the labels, except the weights."""
        steps = mmseg_config.pipeline(self._config, input_size=self._input_size, scale=1.0)
        content = canonical_json({"model": as_json(self._config.model), "pipeline": as_json(steps)})
        return {
            "kind": "mmseg",
            "architecture": self._architecture(),
            "config_sha256": hashlib.sha256(content.encode("ascii")).hexdigest(),
            "input_size": self._input_size,
            "window": list(self._window) if self._window else "whole",
            "preprocessing": as_json(self._config.model.get("data_preprocessor")),
            "versions": versions(),
        }

    def _architecture(self) -> str:
        model = self._config.model
        heads = model.decode_head if isinstance(model.decode_head, list) else [model.decode_head]
        return " ".join([model.type, model.backbone.type, *(head.type for head in heads)])

    def prepare(self, image: NDArray[np.uint8], scale: float) -> Prepared:
        """Resize, normalise and pad one RGB frame (height, width, 3) by the config's pipeline.

        Raises:
            TeacherError: The backbone fails at the resulting size.
        """
        if scale not in self._pipelines:
            self._pipelines[scale] = _compose(self._config, self._input_size, scale)
        packed = self._pipelines[scale]({"img": np.ascontiguousarray(image[..., ::-1])})
        data = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
        ready = self._model.data_preprocessor(data, False)
        meta = ready["data_samples"][0].metainfo
        padding = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
        inputs: Tensor = ready["inputs"]
        self._check_divisor(inputs.shape[2], inputs.shape[3], scale)
        return Prepared(inputs=inputs, padding=tuple(padding))

    def logits(
        self, inputs: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Logits at the network's size, in one piece or by sliding window."""
        if self._window is None:
            return self._run(inputs)
        height, width, stride_y, stride_x = self._window
        return slide(self._run, inputs, window=(height, width), stride=(stride_y, stride_x))

    def _run(self, inputs: Tensor) -> Tensor:
        with quiet():
            return self._engine(inputs)

    def _check_divisor_of_input(self) -> None:
        """Refuse a size that the setting alone decides before any frame is read."""
        if "x" in self._input_size:
            width, height = parse_size(self._input_size, option="--input-size")
            for scale in self._scales:
                self._check_divisor(round((height or width) * scale), round(width * scale), scale)

    def _check_divisor(self, height: int, width: int, scale: float) -> None:
        """Refuse a network input, ``scale`` times the chosen size, that the backbone fails at."""
        name = self._config.model.backbone.type
        divisor = SIZE_DIVISOR_PX.get(name, 1)
        tall, wide = self._window[:2] if self._window else (height, width)
        taken = min(height, tall), min(width, wide)
        if not any(side % divisor for side in taken):
            return
        if (tall < height and tall % divisor) or (wide < width and wide % divisor):
            where, remedy = "--window", _divisible("--window", (wide, tall), divisor, (1.0,))
        else:
            where = "--input-size" if scale == 1.0 else f"--input-size at --scales {scale:g}"
            sides = round(width / scale), round(height / scale)
            remedy = _divisible("--input-size", sides, divisor, self._scales)
        raise TeacherError(
            f"the network input {taken[1]}x{taken[0]} does not suit {name}",
            expected=f"multiples of {divisor}: mmsegmentation's {name} fails at other sizes",
            where=where,
            remedy=remedy,
        )


def _divisible(option: str, size: tuple[int, int], divisor: int, scales: tuple[float, ...]) -> str:
    """The option with the nearest width and height that divide at every scale."""
    nearest = []
    for side in size:
        # Some scales fit only enormous sizes, which would be no advice.
        multiples = range(divisor, 4 * max(side, divisor) + 1, divisor)
        fitting = [
            multiple
            for multiple in multiples
            if not any(round(multiple * scale) % divisor for scale in scales)
        ]
        if not fitting:
            return "give other --scales, such as 0.5,1,2"
        nearest.append(min(fitting, key=lambda multiple: abs(multiple - side)))
    return f"give {option} {nearest[0]}x{nearest[1]}"


def _compose(config: Any, input_size: str, scale: float) -> Any:
    from mmengine.dataset import Compose

    with told(config.filename):
        return Compose(mmseg_config.pipeline(config, input_size=input_size, scale=scale))


def _window(config: Any, chosen: str | None) -> tuple[int, int, int, int] | None:
    """Height and width of the sliding window and of its stride; None for the whole frame."""
    own = config.model.get("test_cfg") or {}
    mode = chosen or own.get("mode", "whole")
    if mode == "whole":
        return None
    if mode != "slide":
        width, height = parse_size(mode, option="--window")
        height = height or width
        return height, width, max(1, height * 3 // 4), max(1, width * 3 // 4)
    if "crop_size" not in own or "stride" not in own:
        raise TeacherError(
            "the config has no crop_size or no stride",
            expected="test_cfg = dict(mode='slide', crop_size=..., stride=...)",
            where=config.filename,
            remedy="give the window, such as --window 1024x512",
        )
    return (*map(int, own["crop_size"]), *map(int, own["stride"]))  # type: ignore[return-value]
