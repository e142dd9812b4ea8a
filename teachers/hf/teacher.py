"""Semantic-segmentation models of Hugging Face transformers as teachers."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, float32

from xdistill.manifests.disk import as_path
from xdistill.manifests.download import cache_folder, locked, sha256_of
from xdistill.manifests.errors import FetchError
from xdistill.manifests.memory import memory_reported
from xdistill.manifests.weights import differences
from xdistill.teachers.engines.engine import make_engine, torch_device
from xdistill.teachers.engines.network import NetworkTeacher, quiet
from xdistill.teachers.hf.network import HfNetwork, Scores, map_classes
from xdistill.teachers.protocol import TeacherError, TeacherSettings

PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""Files of which one describes the image processor."""
FILES = ("*.json", "*.txt", "*.safetensors")
"""What is downloaded and read: data alone, no pickle."""


def load_hf(name: str, *, device: str, settings: TeacherSettings) -> NetworkTeacher:
    """Load a model of a folder or of the hub, with its own image processor.

    Args:
        name: A folder written by save_pretrained, or ``organisation/name`` of the hub.
        device: Where the network runs.
        settings: How it is run; ``input_size`` None is the image processor's own.

    Raises:
        TeacherError: A package is missing, or there is no such model of semantic segmentation.
        FetchError: A model of the hub could not be downloaded.
    """
    _require_transformers()
    if settings.window not in (None, "whole"):
        raise TeacherError(
            f"the window {settings.window} does not apply to a transformers model",
            expected="whole: models of transformers take the frame in one piece",
            where="--window",
            remedy="leave out --window",
        )
    folder = _folder(name)
    scores = _load(folder)
    labels = scores.model.config.id2label
    classes = map_classes([labels[i] for i in sorted(labels)], where=str(folder))
    if classes.unmapped:
        print(
            f"{name}: ignored, without a train id: {', '.join(classes.unmapped)}", file=sys.stderr
        )
    place = torch_device(device)
    with memory_reported("the network"):
        scores.to(place)
    engine = make_engine(settings.engine, scores, place)
    network = HfNetwork(scores, classes, engine=engine, settings=settings)
    record = {
        **network.record(),
        "weights_sha256": {path.name: sha256_of(path) for path in _weights(folder)},
    }
    return NetworkTeacher(network, settings=settings, record=record, device=place)


def _require_transformers() -> None:
    if importlib.util.find_spec("transformers") is None:
        raise TeacherError(
            "transformers is not installed",
            expected="the packages of the extra `hf`",
            where="--teacher hf:",
            remedy="pip install 'xdistill[hf]'",
        )


def _folder(name: str) -> Path:
    """Find the model's folder; a model of the hub is kept in the cache folder."""
    own = as_path(name)
    if own.is_dir():
        if not os.access(own, os.R_OK | os.X_OK):
            raise TeacherError(
                "the folder may not be read",
                expected="a model's folder that you may read",
                where=own.absolute(),
                remedy="ask its owner for the permission to read it",
            )
        return own
    kept = cache_folder() / "weights" / name.replace("/", "--")
    if _weights(kept):
        return kept
    if own.is_absolute() or name.count("/") != 1 or name.startswith("."):
        raise TeacherError(
            f"the folder {name} does not exist",
            expected="a folder written by save_pretrained, or organisation/name of the hub",
            where=own.absolute(),
            remedy="correct the path after hf:",
        )
    with locked(kept):
        # Another process may have downloaded it while this one waited for the lock.
        return kept if _weights(kept) else _from_hub(name, kept)


def _from_hub(name: str, kept: Path) -> Path:
    """Download a model of the hub; the folder takes its name only when it is complete."""
    if kept.exists():
        raise FetchError(
            f"the folder for {name} holds no .safetensors",
            expected="no such folder, or one with the model's weights",
            where=kept,
            remedy="put model.safetensors there, or move the folder away and run again",
        )
    from huggingface_hub import snapshot_download

    part = kept.with_name(f"{kept.name}.part")
    try:
        snapshot_download(name, local_dir=part, allow_patterns=list(FILES))
    except (OSError, ValueError) as error:
        raise FetchError(
            f"{name} is not on this machine and could not be downloaded "
            f"({type(error).__name__}: {str(error).splitlines()[0]})",
            expected="a model of the Hugging Face hub",
            where=kept,
            remedy="download config.json, preprocessor_config.json and model.safetensors on a "
            f"machine with a network, and put them into {shlex.quote(str(kept))}",
        ) from error
    if not _weights(part):
        raise FetchError(
            f"{name} has no .safetensors on the hub",
            expected="weights as safetensors; a pickle (.bin) is not read",
            where="--teacher hf:",
            remedy="give another model, or convert it where you trust its pickle (save_pretrained) "
            "and give that folder",
        )
    return part.rename(kept)


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def _require_files(folder: Path) -> None:
    processor = any((folder / name).is_file() for name in PROCESSORS)
    lacking = [
        name
        for name, found in (
            ("config.json", (folder / "config.json").is_file()),
            (PROCESSORS[0], processor),
            (".safetensors", bool(_weights(folder))),
        )
        if not found
    ]
    if lacking:
        raise TeacherError(
            f"the folder lacks {' and '.join(lacking)}",
            expected="a model with its image processor as save_pretrained writes them; a pickle "
            "(.bin) is not read",
            where=folder,
            remedy="give the model's own folder, or save model and image processor there with "
            "save_pretrained",
        )


def _load(folder: Path) -> Scores:
    """Model in eval mode with its image processor; every key accounted for."""
    _require_files(folder)
    import transformers
    from safetensors import SafetensorError

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(folder)
            masks = type(config) in transformers.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
            family = f"AutoModelFor{'Universal' if masks else 'Semantic'}Segmentation"
            model, report = getattr(transformers, family).from_pretrained(
                folder,
                use_safetensors=True,
                dtype=float32,  # However it is stored: frames come in float32.
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # Reported with the other keys, and refused below.
            )
            processor, task = _processor(transformers, folder, config)
    except (
        SafetensorError,
        OSError,
        ValueError,
        LookupError,
        RuntimeError,
        ImportError,
        TypeError,
    ) as error:
        raise TeacherError(
            "the model cannot be loaded: "
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            expected="a semantic-segmentation model of transformers with its image processor",
            where=folder,
            remedy="give a folder as save_pretrained writes it, or another model",
        ) from error
    _require_every_key(report, where=folder)
    return Scores(model.eval(), processor, task=task, masks=masks)


def _processor(transformers: Any, folder: Path, config: Any) -> tuple[Any, Tensor | None]:
    """The image processor, and OneFormer's tokens of the task."""
    # The torchvision backend resizes differently: labels must not depend on what is installed.
    if config.model_type != "oneformer":
        return transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"), None
    whole = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    blank = np.zeros((8, 8, 3), np.uint8)
    tokens = whole(images=blank, task_inputs=["semantic"], return_tensors="pt")["task_inputs"]
    return whole.image_processor, tokens


def _require_every_key(report: Mapping[str, Any], *, where: Path) -> None:
    found = {
        "missing": report.get("missing_keys") or (),
        "unexpected": report.get("unexpected_keys") or (),
        "of another shape": [key for key, *_ in report.get("mismatched_keys") or ()],
    }
    if any(found.values()):
        raise TeacherError(
            "the weights do not fit the config: keys "
            + differences({kind: sorted(keys) for kind, keys in found.items()}),
            expected="the weights of the config's own network",
            where=where,
        )
