"""Published HRNet-OCR weights: golden logits, and every key accounted for."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from random_networks import FCN, OCRNET, random_state, save
from torch import Tensor
from torch.nn.functional import interpolate

from xdistill.manifests.errors import WeightsError
from xdistill.manifests.weights import load_strictly
from xdistill.teachers.choice import catalogue
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.engines.network import quiet
from xdistill.teachers.mmseg import attention
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg
from xdistill.teachers.protocol import TeacherError, TeacherSettings
from xdistill.teachers.weights.published import (
    INVERSEFORM,
    MMSEG,
    ORIGINAL,
    Exchange,
    adapt,
    author,
    convert,
)

pytestmark = pytest.mark.slow

pytest.importorskip("mmseg")
NARROW = "street_ocrnet.py"
"""An OCRNet of the same parts, in a hundredth of the time."""
NAMES = {ORIGINAL: "hrnet_ocr_official", INVERSEFORM: "inverseform"}


def sin_filled(keys_file: Path) -> dict[str, Tensor]:
    """The state dict of a key list, filled by the rule of the golden arrays' notes."""
    lines = sorted(line.split("\t") for line in keys_file.read_text().splitlines())
    state = {}
    for number, (key, shape_text) in enumerate(lines):
        shape = tuple(int(side) for side in shape_text.split("x") if side)
        count = math.prod(shape)
        values = torch.sin(0.7311 * torch.arange(count, dtype=torch.float64) + 1.37 * number)
        if key.endswith("num_batches_tracked"):
            values = torch.zeros(count, dtype=torch.float64)
        elif len(shape) >= 2:
            values *= math.sqrt(2 / math.prod(shape[1:]))
        elif key.endswith(("running_var", "weight")):
            values = 1 + 0.1 * values
        else:
            values *= 0.05
        state[key] = values.reshape(shape).float()
    return state


@pytest.fixture(scope="module", params=[ORIGINAL, INVERSEFORM])
def golden(request: pytest.FixtureRequest, shared: Path) -> tuple[str, dict[str, Tensor], Any]:
    """Author, sin-filled state dict as torch.load would give it, and the golden arrays."""
    folder = shared / "reference" / "teachers"
    name = NAMES[request.param]
    state = sin_filled(folder / f"{name}_keys.txt")
    plain = {key.removeprefix("module."): value for key, value in state.items()}
    return request.param, plain, np.load(folder / f"{name}.npz")


def test_converted_weights_give_the_golden_logits(
    golden: tuple[str, dict[str, Tensor], Any], tmp_path: Path
) -> None:
    name, state, arrays = golden
    assert author(state) == name
    model: Any = mmseg.build(mmseg_config.load_config(OCRNET))
    adapt(model, author=name, where=tmp_path)
    load_strictly(model, convert(state, where=tmp_path), where=tmp_path)
    require_golden(model, arrays)


def test_published_file_gives_the_golden_logits(
    golden: tuple[str, dict[str, Tensor], Any], tmp_path: Path
) -> None:
    name, state, arrays = golden
    path = tmp_path / "published.pth"
    torch.save(state, path)
    teacher: Any = load_teacher(f"mmseg:{OCRNET},{path}")
    assert teacher.record["weights_by"] == name
    require_golden(teacher._network._model, arrays)


def require_golden(model: Any, arrays: Any) -> None:
    """The logits of both heads, within a ten-thousandth of their deviation."""
    with torch.no_grad(), quiet():
        features = model.extract_feat(torch.from_numpy(arrays["image"]))
        coarse = model.decode_head[0](features)
        logits = model.decode_head[1](features, coarse)
    for found, golden_name in ((coarse, "aux_logits"), (logits, "logits")):
        expected = arrays[golden_name]
        assert np.abs(found.numpy() - expected).max() <= 1e-4 * expected.std()


def test_every_key_is_accounted_for(
    golden: tuple[str, dict[str, Tensor], Any], tmp_path: Path
) -> None:
    _, state, _ = golden
    renamed = convert(state, where=tmp_path)
    idle = [key for key in state if key.startswith(("edge", "loss"))]
    assert len(renamed) == len(state) - len(idle)
    others = [f"extra.{number}" for number in range(11)] + ["ocr.other"]
    told = rf"12 keys belong to no HRNet-OCR: {', '.join(others[:10])}, \.\.\.\n"
    with pytest.raises(TeacherError, match=told):
        convert({**state, **dict.fromkeys(others, Tensor())}, where=tmp_path)


def test_two_keys_of_one_tensor_are_refused(
    golden: tuple[str, dict[str, Tensor], Any], tmp_path: Path
) -> None:
    _, state, _ = golden
    (key,) = (key for key in state if re.search(r"aux_head\.[23]\.weight$", key))
    twin = key.translate(str.maketrans("23", "32"))
    told = rf"several keys name the same tensor: {key} and {twin}\n"
    with pytest.raises(TeacherError, match=told):
        convert({**state, twin: state[key] + 1}, where=tmp_path)


def test_missing_key_is_named(golden: tuple[str, dict[str, Tensor], Any], tmp_path: Path) -> None:
    name, state, _ = golden
    short = {key: value for key, value in state.items() if not key.endswith("cls_head.weight")}
    model = mmseg.build(mmseg_config.load_config(OCRNET))
    adapt(model, author=name, where=tmp_path)
    with pytest.raises(WeightsError, match=r"missing \(1\): decode_head\.1\.conv_seg\.weight\n"):
        load_strictly(model, convert(short, where=tmp_path), where=tmp_path)


def test_another_network_is_refused(tmp_path: Path) -> None:
    model = mmseg.build(mmseg_config.load_config(FCN))
    with pytest.raises(
        TeacherError, match="^hrnet-ocr weights do not suit a HRNet with one head\n"
    ):
        adapt(model, author=ORIGINAL, where=tmp_path)
    assert author(model.state_dict()) == MMSEG


def test_exchange_equals_mmsegmentation_where_sides_divide() -> None:
    """At multiples of 32 the two ways of resizing agree; elsewhere they must not."""
    model: Any = mmseg.build(mmseg_config.load_config(FCN))
    torch.manual_seed(1)
    even, odd = torch.randn(1, 3, 64, 96), torch.randn(1, 3, 70, 90)
    with torch.no_grad():
        before = [model.backbone(picture)[0] for picture in (even, odd)]
        for name in ("stage2", "stage3", "stage4"):
            stage = getattr(model.backbone, name)
            for index, module in enumerate(stage):
                stage[index] = Exchange(module, align_corners=False)
        after = [model.backbone(picture)[0] for picture in (even, odd)]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_two_scales_by_hand() -> None:
    """Constant maps: at scale 2 logits 8; at scale 1 logits 2 trusted 0.75; at 0.5 6 at 0.25."""
    answers = {8: (8.0, 0.9), 4: (2.0, 0.75), 2: (6.0, 0.25)}

    def predict(inputs: Tensor) -> tuple[Tensor, Tensor]:
        logits, trust = answers[inputs.shape[3]]
        return inputs.new_full((1, 1, *inputs.shape[2:]), logits), inputs.new_full(
            (1, 1, *inputs.shape[2:]), trust
        )

    inputs = torch.zeros(1, 3, 4, 4)
    upper = attention.fuse_scales(predict, inputs, (1.0, 2.0))
    assert torch.allclose(upper, torch.full((1, 1, 4, 4), 0.75 * 2 + 0.25 * 8))
    lower = attention.fuse_scales(predict, inputs, (0.5, 1.0))
    assert torch.allclose(lower, torch.full((1, 1, 4, 4), 0.25 * 6 + 0.75 * 2))
    every = attention.fuse_scales(predict, inputs, (1.0, 0.5, 2.0))
    assert torch.allclose(every, torch.full((1, 1, 4, 4), 0.25 * 6 + 0.75 * 3.5))


def test_lower_scale_is_weighted_before_it_is_enlarged() -> None:
    """One row of 4: the half-size logits (4, 8) at trust (0, 1) enlarge to 0, 2, 6, 8."""

    def predict(inputs: Tensor) -> tuple[Tensor, Tensor]:
        if inputs.shape[3] == 2:
            return torch.tensor([[[[4.0, 8.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
        return torch.ones(1, 1, 1, 4), torch.full((1, 1, 1, 4), 0.5)

    fused = attention.fuse_scales(predict, torch.zeros(1, 3, 1, 4), (0.5, 1.0))
    expected = torch.tensor([0.0, 2.0, 6.0, 8.0]) + torch.tensor([1.0, 0.75, 0.25, 0.0])
    assert torch.allclose(fused[0, 0, 0], expected)


@pytest.fixture(scope="module")
def with_attention(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow OCRNet's checkpoint with an attention head, random."""
    state = random_state(NARROW)
    head = attention.attention_head(64)
    state |= {f"scale_attn.{key}": value for key, value in head.state_dict().items()}
    return save(tmp_path_factory.mktemp("attention") / "hms.pth", state)


def test_multi_scale_teacher_equals_two_passes_by_hand(
    with_attention: Path, rng: np.random.Generator
) -> None:
    settings = TeacherSettings(input_size="native", scales=(0.5, 1.0))
    teacher: Any = load_teacher(f"mmseg:{NARROW},{with_attention}", settings=settings)
    assert teacher.record["attention_scales"] == [0.5, 1.0]
    colours = rng.integers(0, 256, (4, 8, 3), dtype=np.uint8)
    frame = np.asarray(cv2.resize(colours, (128, 64)), np.uint8)
    network = teacher._network
    inputs = network.prepare(frame, 1.0).inputs
    half = interpolate(inputs, scale_factor=0.5, mode="bilinear")
    with torch.no_grad():
        low, low_trust = logits_and_attention(network._model, half)
        full, _ = logits_and_attention(network._model, inputs)
    weighted, trust = (
        interpolate(part, size=(64, 128), mode="bilinear") for part in (low * low_trust, low_trust)
    )
    expected = (weighted + (1 - trust) * full).argmax(1)[0].numpy()
    found = teacher.label([frame], ["a"]).classes[0]
    assert np.array_equal(found, expected) and len(np.unique(found)) >= 3


def logits_and_attention(model: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """mmsegmentation's own pass, its classifier's input caught for the attention head."""
    caught = []
    classifier = model.decode_head[1].conv_seg
    handle = classifier.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    size = inputs.shape[2:]
    logits = model.encode_decode(inputs, [{"img_shape": size}])
    handle.remove()
    trust = interpolate(model.scale_attn(caught[0]), size=size, mode="bilinear")
    return logits, trust


def test_multi_scale_defaults_and_wrong_scales(
    with_attention: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(catalogue.entry("inverseform-hr48-hms"), config=NARROW)
    monkeypatch.setattr(catalogue, "entry", lambda name: known)
    spec = f"mmseg:{NARROW},{with_attention}"
    teacher = load_teacher(spec)
    record = teacher.record
    assert record["attention_scales"] == [0.25, 0.5, 1.0, 2.0] and record["scales"] == [1.0]
    named = load_teacher(f"inverseform-hr48-hms,{with_attention}")
    assert named.fingerprint == teacher.fingerprint
    with pytest.raises(TeacherError, match=r"^the scales 0\.5, 2\.0 lack 1\n.*1 among them"):
        load_teacher(spec, settings=TeacherSettings(scales=(0.5, 2.0)))
