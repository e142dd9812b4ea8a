"""Models of transformers against transformers' own processing, tiny and random, from a folder."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdistill.manifests.errors import FetchError
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.hf.network import map_classes
from xdistill.teachers.protocol import TeacherError, TeacherSettings

transformers = pytest.importorskip("transformers")

NAMES = ("unlabeled", "Road", "sky", "traffic_light", "chair", "vegetation, plants")
TRAIN_IDS = (255, 0, 10, 6, 255, 8)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No network, no progress bars of transformers' own, and the same weights every time."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    yield


def balanced(module: torch.nn.Module) -> torch.nn.Module:
    """Seeded weights large enough for the scores to differ from pixel to pixel."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=2.0 / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module


def segformer(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    from transformers.models.segformer.image_processing_pil_segformer import (
        SegformerImageProcessorPil,
    )

    config = transformers.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        id2label=dict(enumerate(names)),
    )
    balanced(transformers.SegformerForSemanticSegmentation(config)).save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 64, "width": 192}).save_pretrained(folder)
    return folder


def swin() -> Any:
    return transformers.SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def mask2former(folder: Path) -> Path:
    from transformers.models.mask2former.image_processing_pil_mask2former import (
        Mask2FormerImageProcessorPil,
    )

    config = transformers.Mask2FormerConfig(
        backbone_config=swin(),
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        num_queries=12,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        id2label=dict(enumerate(NAMES)),
    )
    balanced(transformers.Mask2FormerForUniversalSegmentation(config)).save_pretrained(folder)
    processor = Mask2FormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 256})
    processor.save_pretrained(folder)
    return folder


def oneformer(folder: Path) -> Path:
    from transformers.models.oneformer.image_processing_pil_oneformer import (
        OneFormerImageProcessorPil,
    )

    folder.mkdir()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    info = {str(i): {"name": name, "isthing": 0} for i, name in enumerate(NAMES)}
    (folder / "class_info.json").write_text(json.dumps(info))
    tokenizer = transformers.CLIPTokenizer({token: i for i, token in enumerate(tokens)}, [])
    images = OneFormerImageProcessorPil(
        size={"height": 64, "width": 128}, repo_path=str(folder), class_info_file="class_info.json"
    )
    transformers.OneFormerProcessor(
        image_processor=images, tokenizer=tokenizer, max_seq_length=13, task_seq_length=13
    ).save_pretrained(folder)
    config = transformers.OneFormerConfig(
        backbone_config=swin(),
        hidden_dim=32,
        conv_dim=32,
        mask_dim=32,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        num_queries=12,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        task_seq_len=13,
        text_encoder_width=32,
        text_encoder_context_length=13,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=len(tokens),
        id2label=dict(enumerate(NAMES)),
        is_training=False,
    )
    balanced(transformers.OneFormerForUniversalSegmentation(config)).save_pretrained(folder)
    return folder


def eomt(folder: Path, *, size: int = 64) -> Path:
    """Encoder-only mask transformer; its processor cuts a resized frame into squares."""
    from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil

    config = transformers.EomtConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_blocks=1,
        image_size=size,
        patch_size=16,
        num_queries=12,
        num_register_tokens=1,
        id2label=dict(enumerate(NAMES)),
    )
    balanced(transformers.EomtForUniversalSegmentation(config)).save_pretrained(folder)
    processor = EomtImageProcessorPil(
        size={"shortest_edge": size, "longest_edge": None}, do_split_image=True
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def frame(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A patchwork of colours, 124x37."""
    colours = rng.integers(0, 256, (5, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(colours, (124, 37), interpolation=cv2.INTER_NEAREST), np.uint8)


def theirs(folder: Path, frame: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Tensor]:
    """Labels and scores at the frame's size by transformers' own documented calls."""
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = "Semantic" if config.model_type == "segformer" else "Universal"
    model = getattr(transformers, f"AutoModelFor{kind}Segmentation").from_pretrained(folder)
    if config.model_type == "oneformer":
        processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
        inputs = processor(images=frame, task_inputs=["semantic"], return_tensors="pt")
    else:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        inputs = processor(images=frame, return_tensors="pt")
    with torch.no_grad():
        names = ("pixel_values", "task_inputs", "patch_offsets")
        given = {key: inputs[key] for key in names if key in inputs}
        outputs = model.eval()(**given)
    (answer,) = processor.post_process_semantic_segmentation(
        outputs, target_sizes=[frame.shape[:2]], return_segmentation_scores=True
    )
    return np.asarray(answer.segmentation), answer.segmentation_scores


@pytest.mark.slow
@pytest.mark.parametrize("make", [segformer, mask2former, oneformer, eomt])
def test_labels_equal_transformers_own(
    make: Any, tmp_path: Path, frame: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "model")
    teacher: Any = load_teacher(f"hf:{folder}", settings=TeacherSettings(confidence=True))
    assert "ignored, without a train id: unlabeled, chair" in capsys.readouterr().err
    raw, scores = theirs(folder, frame)
    with torch.inference_mode():
        view = teacher._network.prepare(frame, 1.0)
        assert len(view.inputs) == (4 if make is eomt else 1)
        found = teacher._network.logits(view.inputs)
        assert torch.equal(teacher._resized(found, view, size=frame.shape[:2])[0], scores)
    assert scores.std(dim=(1, 2)).min() > 0 and (make is not segformer or len(np.unique(raw)) >= 3)
    labels = teacher.label([frame, frame], ["a", "b"])
    assert np.array_equal(labels.classes[1], np.array(TRAIN_IDS, np.uint8)[raw])
    shares = scores.softmax(0) if make is segformer else scores / scores.sum(0)
    expected = (16 * shares.amax(0)).floor().clamp(max=15)
    assert np.array_equal(labels.confidence[1], expected)


@pytest.mark.parametrize("shape", [(64, 64, 3), (124, 37, 3), (37, 124, 3), (65, 128, 3)])
def test_patches_cover_frames_of_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    teacher: Any = load_teacher(f"hf:{eomt(tmp_path / 'model')}")
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    raw, _ = theirs(tmp_path / "model", image)
    expected = np.array(TRAIN_IDS, np.uint8)[raw]
    alone = teacher.label([image], ["a"]).classes
    assert np.array_equal(alone[0], expected)
    with torch.inference_mode():
        view = teacher._prepared([image, image[::-1].copy(), image], 1.0)
        best = teacher._pass([view], size=image.shape[:2])[0]
    assert (teacher._table[best[[0, 2]]] == expected).mean() > 0.999


def test_a_mirrored_frame_of_patches_is_mirrored_patch_by_patch(
    tmp_path: Path, frame: NDArray[np.uint8]
) -> None:
    folder = eomt(tmp_path / "model")
    plain: Any = load_teacher(f"hf:{folder}")
    both: Any = load_teacher(f"hf:{folder}", settings=TeacherSettings(flip=True))
    # An even overlap, so that the patches of the mirrored frame are the mirrored patches.
    wide = np.ascontiguousarray(frame[:32, :80])
    scores = []
    with torch.inference_mode():
        for image in (wide, wide[:, ::-1].copy()):
            view = plain._network.prepare(image, 1.0)
            logits = plain._network.logits(view.inputs)
            scores.append(plain._resized(logits, view, size=image.shape[:2]))
        shares = [plain._network.probabilities(one) for one in scores]
        expected = (shares[0] + shares[1].flip(3)) / 2
        found = both._scores([both._network.prepare(wide, 1.0)], size=wide.shape[:2])
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("settings", [{"input_size": "64"}, {"scales": (1.0, 2.0)}])
def test_the_size_of_patches_is_the_models(tmp_path: Path, settings: Any) -> None:
    with pytest.raises(TeacherError, match="takes patches of one size"):
        load_teacher(f"hf:{eomt(tmp_path / 'model')}", settings=TeacherSettings(**settings))


@pytest.mark.slow
def test_record_and_fingerprint(tmp_path: Path) -> None:
    folder = segformer(tmp_path / "model")
    teacher = load_teacher(f"hf:{folder}")
    record = teacher.record
    assert record["kind"] == "hf" and record["unmapped"] == ["unlabeled", "chair"]
    assert record["train_ids"] == list(TRAIN_IDS)
    assert record["preprocessing"]["size"] == {"height": 64, "width": 192}
    moved = folder.rename(tmp_path / "moved")
    assert load_teacher(f"hf:{moved}").fingerprint == teacher.fingerprint
    smaller = TeacherSettings(input_size="96x32")
    assert load_teacher(f"hf:{moved}", settings=smaller).fingerprint != teacher.fingerprint


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ("native", 1.0, (37, 124)),
        ("62", 1.0, (18, 62)),
        ("96x40", 1.0, (40, 96)),
        ("config", 0.5, (32, 96)),
        ("96x40", 2.0, (80, 192)),
    ],
)
def test_network_input(
    tmp_path: Path, frame: NDArray[np.uint8], size: str, scale: float, expected: tuple[int, int]
) -> None:
    teacher: Any = load_teacher(
        f"hf:{segformer(tmp_path / 'model')}", settings=TeacherSettings(input_size=size)
    )
    assert tuple(teacher._network.prepare(frame, scale).inputs.shape[2:]) == expected


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_model_stored_in_half_precision(
    precision: torch.dtype, tmp_path: Path, frame: NDArray[np.uint8]
) -> None:
    folder = segformer(tmp_path / "model")
    model = transformers.AutoModelForSemanticSegmentation.from_pretrained(folder)
    model.to(precision).save_pretrained(folder)
    teacher: Any = load_teacher(f"hf:{folder}")
    assert {parameter.dtype for parameter in model.parameters()} == {precision}
    model.float().save_pretrained(tmp_path / "whole")
    (tmp_path / "whole" / "preprocessor_config.json").write_bytes(
        (folder / "preprocessor_config.json").read_bytes()
    )
    whole = load_teacher(f"hf:{tmp_path / 'whole'}")
    found, expected = (one.label([frame], ["a"]).classes for one in (teacher, whole))
    assert np.array_equal(found, expected) and len(np.unique(found)) >= 3


def test_near_exact_engine(tmp_path: Path, frame: NDArray[np.uint8]) -> None:
    folder = segformer(tmp_path / "model")
    exact, fused = (
        load_teacher(f"hf:{folder}", settings=TeacherSettings(engine=engine))
        .label([frame], ["a"])
        .classes
        for engine in ("exact", "fused")
    )
    assert (exact == fused).mean() > 0.999


def test_model_of_the_hub_without_a_network() -> None:
    with pytest.raises(
        FetchError,
        match=r"model\.safetensors on a machine with a network, and put them into .*nvidia--b1",
    ):
        load_teacher("hf:nvidia/b1")


def published(monkeypatch: pytest.MonkeyPatch, *files: str) -> list[str]:
    """A hub whose every model has these files; the names asked for are listed."""
    asked: list[str] = []

    def download(name: str, *, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.append(name)
        local_dir.mkdir(exist_ok=True)
        for file in files:
            (local_dir / file).write_text("{}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


def test_model_of_the_hub_without_safetensors_is_told_alike_every_time(
    monkeypatch: pytest.MonkeyPatch, private_cache: Path
) -> None:
    asked = published(monkeypatch, "config.json", "preprocessor_config.json")
    for _ in range(2):
        with pytest.raises(FetchError, match=r"^nvidia/b1 has no \.safetensors on the hub\n"):
            load_teacher("hf:nvidia/b1")
    assert asked == ["nvidia/b1"] * 2
    assert not (private_cache / "weights" / "nvidia--b1").exists()


def test_model_of_the_hub_is_fetched_once(
    monkeypatch: pytest.MonkeyPatch, private_cache: Path
) -> None:
    asked = published(monkeypatch, "config.json", "model.safetensors")
    for _ in range(2):
        with pytest.raises(TeacherError, match="with its image processor"):
            load_teacher("hf:nvidia/b1")
    assert asked == ["nvidia/b1"]
    assert (private_cache / "weights" / "nvidia--b1" / "model.safetensors").is_file()


def test_folder_without_weights_where_a_model_belongs(
    monkeypatch: pytest.MonkeyPatch, private_cache: Path
) -> None:
    asked = published(monkeypatch, "config.json", "model.safetensors")
    (private_cache / "weights" / "nvidia--b1").mkdir(parents=True)
    with pytest.raises(FetchError, match="move the folder away and run again"):
        load_teacher("hf:nvidia/b1")
    assert not asked


def test_model_put_into_the_cache_folder_by_hand(private_cache: Path) -> None:
    segformer(private_cache / "weights" / "nvidia--b1")
    assert load_teacher("hf:nvidia/b1").record["kind"] == "hf"


def test_broken_folders(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="^the folder .*gone does not exist\n"):
        load_teacher(f"hf:{tmp_path / 'gone'}")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(TeacherError, match="a pickle .* is not read"):
        load_teacher(f"hf:{tmp_path / 'pickled'}")
    folder = segformer(tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TeacherError, match="semantic-segmentation model of transformers"):
        load_teacher(f"hf:{folder}")
    (segformer(tmp_path / "bare") / "preprocessor_config.json").unlink()
    with pytest.raises(TeacherError, match="^the folder lacks preprocessor_config.json\n"):
        load_teacher(f"hf:{tmp_path / 'bare'}")


def test_a_folder_of_something_else_and_pipes_are_no_model(tmp_path: Path) -> None:
    lacking = "^the folder lacks config.json and preprocessor_config.json and .safetensors\n"
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(TeacherError, match=lacking):
        load_teacher(f"hf:{tmp_path}")


def test_a_folder_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(TeacherError, match="may not be read(.|\n)*ask its owner"):
        load_teacher(f"hf:{tmp_path}")


def test_weights_of_another_network(tmp_path: Path) -> None:
    folder = segformer(tmp_path / "a")
    other = segformer(tmp_path / "b", names=(*NAMES, "car"))
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    told = r"keys of another shape \(2\): decode_head\.classifier\.bias, "
    with pytest.raises(TeacherError, match=told):
        load_teacher(f"hf:{folder}")


def test_classes_without_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="LABEL_0, LABEL_1.*\n.*id2label|LABEL_0(.|\n)*id2label"):
        load_teacher(f"hf:{segformer(tmp_path / 'm', names=('LABEL_0', 'LABEL_1'))}")
    with pytest.raises(TeacherError, match="--window"):
        load_teacher(f"hf:{tmp_path / 'm'}", settings=TeacherSettings(window="64x64"))


def test_names_match_whatever_their_spelling() -> None:
    found = map_classes(["Traffic-Sign", "car, auto, machine", "mind the car", "SKY "], where="x")
    assert found.train_ids == (7, 13, 255, 10) and found.unmapped == ("mind the car",)


def test_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TeacherError, match=r"xdistill\[hf\]"):
        load_teacher("hf:somewhere")
