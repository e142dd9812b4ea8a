"""mmsegmentation configs: found by path or shipped name, reduced to what decides labels."""

import copy
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdistill.manifests.disk import as_path
from xdistill.teachers.mmseg.faults import sign_of_version_0, told, unusable
from xdistill.teachers.mmseg.packages import require_mmseg
from xdistill.teachers.protocol import CONFIG, NATIVE, TeacherError, parse_size

PACKAGED = Path(__file__).parents[1] / "weights"
"""Configs and weights that come with this package."""


def find_config(name: str) -> Path:
    """Find a config by path, or a shipped one by its file name (with or without ``.py``).

    Raises:
        TeacherError: There is neither; similar shipped names are listed.
    """
    own = as_path(name)
    for path in (own, PACKAGED / name):
        if path.is_file():
            return path
    shipped = _shipped()
    stem = own.name.removesuffix(".py")
    if stem in shipped and own.name == name:
        return shipped[stem]
    similar = difflib.get_close_matches(stem, shipped, n=3)
    raise TeacherError(
        f"the config {name!r} does not exist",
        expected="the path of a config, or the file name of one that mmsegmentation ships",
        where=_shipped_folder(),
        remedy=f"did you mean {' or '.join(similar)}?" if similar else "check the spelling",
    )


def _shipped_folder() -> Path:
    return require_mmseg() / ".mim" / "configs"


def _shipped() -> dict[str, Path]:
    """The configs that mmsegmentation ships, by name without ``.py``."""
    return {path.stem: path for path in _shipped_folder().rglob("*.py")}


def load_config(name: str) -> Any:
    """Read a config as mmengine's Config, without what only training needs.

    Raises:
        TeacherError: The config does not exist, cannot be read, or is not a segmentor's.
    """
    path = find_config(name)
    require_mmseg()
    from mmengine import Config, ConfigDict

    with told(path):
        config = Config.fromfile(path)
        sign = sign_of_version_0(config)
    if sign is not None:
        raise _of_version_0(sign, path)
    if not isinstance(config.get("model"), ConfigDict) or "test_pipeline" not in config:
        raise unusable("the config has no model or no test_pipeline", path)
    _drop_training(config.model)
    return config


def _of_version_0(sign: str, path: Path) -> TeacherError:
    similar = difflib.get_close_matches(path.stem, _shipped(), n=1)
    named = f", perhaps {similar[0]}.py" if similar else ""
    return unusable(
        f"this is a config of mmsegmentation 0.x ({sign})",
        path,
        remedy=f"give the 1.x config of the same name{named}: checkpoints of 0.x fit it",
    )


def _drop_training(model: Any) -> None:
    """Remove where training started from: only the given checkpoint is loaded."""
    model["pretrained"] = None
    model["train_cfg"] = None
    for part in model.values():
        if isinstance(part, dict) and "init_cfg" in part:
            part["init_cfg"] = None


def pipeline(config: Any, *, input_size: str, scale: float) -> list[dict[str, Any]]:
    """The config's test pipeline for arrays, at another network input.

    Args:
        config: From ``load_config``; not changed.
        input_size: As in TeacherSettings, never None.
        scale: Multiplies that size.
    """
    steps = [
        step
        for step in copy.deepcopy([dict(step) for step in config.test_pipeline])
        if step["type"] != "LoadAnnotations"
    ]
    steps[0]["type"] = "LoadImageFromNDArray"
    own = next((step for step in steps if step["type"] == "Resize"), None)
    resize = _resize(own, input_size=input_size, scale=scale)
    position = steps.index(own) if own else 1
    rest = [step for step in steps if step["type"] != "Resize"]
    return [*rest[:position], *([resize] if resize else []), *rest[position:]]


def _resize(own: dict[str, Any] | None, *, input_size: str, scale: float) -> dict[str, Any] | None:
    """The step that resizes a frame to the network's size; None leaves it unchanged."""
    if input_size == CONFIG and own is not None:
        if own.get("scale") is None:
            return {**own, "scale_factor": _times(own["scale_factor"], scale, whole=False)}
        return {**own, "scale": _times(own["scale"], scale, whole=True)}
    if input_size in (NATIVE, CONFIG):
        factor = {"type": "Resize", "scale_factor": scale, "keep_ratio": True}
        return factor if scale != 1.0 else None
    width, height = parse_size(input_size, option="--input-size")
    # With the same number twice, the longer side decides for any aspect ratio.
    sides = _times((width, height or width), scale, whole=True)
    return {"type": "Resize", "scale": sides, "keep_ratio": height is None}


def _times(value: float | Sequence[float], scale: float, *, whole: bool) -> Any:
    """``value`` times ``scale``, for one number or a pair."""
    many = tuple(value) if isinstance(value, Sequence) else (value, value)
    scaled = tuple(side * scale for side in many)
    return tuple(max(1, round(side)) for side in scaled) if whole else scaled
