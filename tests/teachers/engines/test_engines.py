"""Engines: what folding does, what each engine keeps, and where it does not run."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_networks import FCN, PIDNET, Checkpoints
from torch import Tensor, nn

from xdistill.manifests.memory import MemoryShortError, memory_reported
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.engines.engine import (
    channels_last,
    describe_engine,
    make_engine,
    mixed,
    torch_device,
)
from xdistill.teachers.engines.fusion import fuse
from xdistill.teachers.engines.network import quiet
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg
from xdistill.teachers.mmseg.network import SingleScale
from xdistill.teachers.protocol import Teacher, TeacherError, TeacherSettings

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = TeacherSettings(input_size="320")
KEYS = ["a", "b"]

Batch = list[NDArray[np.uint8]]


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "tpu9"])
def test_a_device_that_torch_does_not_know_is_told_in_few_words(name: str) -> None:
    with pytest.raises(TeacherError) as caught:
        torch_device(name)
    assert str(caught.value).startswith(f"there is no device {name!r}\n  expected: cpu, cuda or")
    assert len(str(caught.value)) < 150
    assert ("--device cuda for a GPU" in str(caught.value)) == (name == "gpu")


class Blocks(nn.Module):
    """A folding block, a block that normalises first, and a convolution used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.late_conv = nn.Conv2d(4, 4, 1)
        self.first_bn = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.one, self.two = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x)).relu()
        x = self.late_conv(self.first_bn(x))
        y: Tensor = self.one(self.shared(x))
        return y + self.two(self.shared(x * 2))


def settled(network: nn.Module) -> nn.Module:
    """Normalisation with statistics that are not the initial ones."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias)
    return network.eval()


def test_only_what_follows_a_convolution_is_folded() -> None:
    network: Any = settled(Blocks())
    inputs = torch.randn(2, 3, 5, 7)
    with torch.no_grad():
        fused: Any = fuse(network, inputs[:1])
        assert torch.allclose(fused(inputs), network(inputs), atol=1e-5)
    assert isinstance(fused.bn, nn.Identity) and isinstance(network.bn, nn.BatchNorm2d)
    assert not any(isinstance(part, nn.Identity) for part in (fused.first_bn, fused.one, fused.two))


def test_folding_a_tensor_that_is_read_elsewhere_is_refused() -> None:
    class Leaky(Blocks):
        def forward(self, x: Tensor) -> Tensor:
            raw = self.conv(x)
            return raw + self.bn(raw)  # type: ignore[no-any-return]

    with torch.no_grad(), pytest.raises(TeacherError, match="use --engine exact"):
        fuse(settled(Leaky()), torch.randn(1, 3, 5, 7))


def test_pidnet_folds_although_it_normalises_first() -> None:
    pytest.importorskip("mmseg")
    torch.manual_seed(0)
    network = settled(SingleScale(mmseg.build(mmseg_config.load_config(PIDNET))))
    inputs = torch.randn(1, 3, 64, 128)
    with torch.no_grad(), quiet():
        fused = fuse(network, inputs)
        expected = network(inputs)
        assert (fused(inputs) - expected).abs().max() <= 1e-3 * expected.abs().max()
    left = sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in fused.modules())
    every = sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    assert 0 < left < every / 2


Labelled = tuple[Teacher, list[NDArray[np.uint8]]]


@pytest.fixture(scope="module")
def exact(checkpoints: Checkpoints, batches: list[Batch]) -> Labelled:
    """The exact teacher, and its labels of each batch."""
    teacher = load_teacher(f"mmseg:{FCN},{checkpoints(FCN)}", device="cpu", settings=SMALL)
    return teacher, [teacher.label(batch, KEYS[: len(batch)]).classes for batch in batches]


@pytest.fixture(scope="module")
def batches(frames: list[NDArray[np.uint8]]) -> list[Batch]:
    """Two frames at once, one of another size, and one of the first size again."""
    return [frames, [frames[0][:, :800].copy()], frames[:1]]


@pytest.mark.parametrize("engine", ["fused", "onnx", "bf16"])
def test_engines_keep_the_labels_at_several_sizes(
    engine: str, checkpoints: Checkpoints, batches: list[Batch], exact: Labelled
) -> None:
    if engine == "onnx":
        pytest.importorskip("onnxruntime")
    reference, expected = exact
    spec = f"mmseg:{FCN},{checkpoints(FCN)}"
    other = load_teacher(spec, settings=replace(SMALL, engine=engine))
    assert reference.fingerprint != other.fingerprint
    for batch, classes in zip(batches, expected, strict=True):
        share = (other.label(batch, KEYS[: len(batch)]).classes == classes).mean()
        # A random network's scores lie close together: bf16 rounding decides many pixels.
        assert share >= (0.8 if engine == "bf16" else 0.9999)


def test_no_memory_for_the_folded_copy_names_the_exact_engine() -> None:
    class Huge(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.empty(2**60)

    with pytest.raises(
        MemoryShortError, match=r"out of memory(.|\n)*--engine exact or --device cpu"
    ):
        make_engine("fused", Huge(), CPU)


def test_export_leaves_the_network_in_evaluation_mode() -> None:
    pytest.importorskip("onnxruntime")
    wrapper = nn.Sequential(settled(Blocks()))
    engine: Any = make_engine("onnx", wrapper, CPU)
    engine(torch.randn(1, 3, 8, 8))
    assert wrapper.training and not any(part.training for part in engine._network.modules())


@pytest.mark.parametrize("engine", ["fp16", "compile"])
def test_engines_for_cuda_say_so(engine: str) -> None:
    with pytest.raises(TeacherError, match=f"^the engine {engine} does not run on cpu\n"):
        make_engine(engine, nn.Identity(), CPU)


def test_onnx_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TeacherError, match=r"xdistill\[onnx\]"):
        make_engine("onnx", nn.Identity(), CPU)


def test_onnxruntime_for_cuda_goes_by_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "onnxruntime-gpu":
            raise PackageNotFoundError(name)
        return "1.23.4"

    monkeypatch.setattr("xdistill.teachers.engines.engine.version", version)
    assert describe_engine("onnx") == "onnx 1.23.4"


@pytest.mark.parametrize(
    ("said", "error", "told"),
    [
        ("Could not find an implementation for GridSample(16)", TeacherError,
         r"GridSample(.|\n)*--engine onnx\n.*--engine exact"),
        ("Failed to allocate memory for requested buffer of size 1", MemoryShortError,
         r"^out of memory: Failed(.|\n)*ONNX Runtime's copy"),
    ],
)  # fmt: skip
def test_what_onnx_runtime_refuses_is_told_once(
    monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception], told: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Refusal

    def refuse(*_: object, **__: object) -> None:
        raise Refusal(said)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    engine = make_engine("onnx", nn.Conv2d(3, 2, 3).eval(), CPU)
    with pytest.raises(error, match=told), memory_reported("something around it"):
        engine(torch.zeros(1, 3, 8, 8))


def test_mixed_precision_answers_in_float32() -> None:
    network = nn.Conv2d(3, 2, 3)
    with torch.no_grad():
        logits = mixed(channels_last(network), CPU, torch.bfloat16)(torch.randn(1, 3, 8, 8))
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits.bfloat16().float())


def test_compile_is_asked_of_the_folded_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler and a graphics card: that it is wired, not how fast it is."""
    folded = settled(Blocks())
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append(self))
    monkeypatch.setattr("xdistill.teachers.engines.engine.fold_on", lambda network, device: folded)
    make_engine("compile", nn.Identity(), torch.device("cuda"))
    assert compiled == [folded]
