"""How a network is run: exactly, or faster with a few other labels."""

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.memory import memory_reported
from xdistill.teachers.engines.fusion import fold_on
from xdistill.teachers.protocol import TeacherError

Run = Callable[[Tensor], Tensor]
"""Inputs (batch, 3, height, width) to logits (batch, classes, height, width), float32."""

ONNX_OPSET = 17
SMALLER = ("a smaller --batch-size", "a smaller --input-size")
"""What takes less memory in a network's pass."""


def torch_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        TeacherError: This machine has no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        # torch lists every kind of hardware that it was ever built for.
        raise TeacherError(
            f"there is no device {name!r}",
            expected="cpu, cuda or cuda:N",
            where="--device",
            remedy="give --device cuda for a GPU" if "gpu" in name.lower() else "correct the name",
        ) from error
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TeacherError(
            f"the device {name!r} is not available: {str(error).splitlines()[0]}",
            expected="cpu, cuda or cuda:N of this machine",
            where="--device",
        ) from error


def make_engine(name: str, network: nn.Module, device: torch.device) -> Run:
    """Ready a network to be run by one of settings.ENGINES.

    Args:
        name: ``exact``: unchanged, in float32. ``fused``: normalisation folded, a head's levels
            convolved apart, channels last. ``bf16``, ``fp16``: fused, in mixed precision.
            ``compile``: bf16 through torch.compile. ``onnx``: the fused network in ONNX Runtime.
        network: In eval mode, on ``device``; gives logits at the size of its input.
        device: Where it runs.

    Raises:
        TeacherError: The engine does not run on this device, or its packages are missing.
    """
    if name in ("fp16", "compile") and device.type != "cuda":
        raise TeacherError(
            f"the engine {name} does not run on {device.type}",
            expected="a CUDA device",
            where="--engine",
            remedy="give --device cuda, or --engine onnx, the fastest on a CPU",
        )
    if name == "exact":
        return network
    copy = "a second copy of the network, with normalisation folded"
    with memory_reported(copy, options=("--engine exact", "--device cpu")):
        folded = fold_on(network, device)
    if name == "onnx":
        return OnnxEngine(folded, device)
    if name == "fused":
        return channels_last(folded)
    if name == "compile":
        folded.compile(dynamic=False)
    return mixed(channels_last(folded), device, torch.float16 if name == "fp16" else torch.bfloat16)


def describe_engine(name: str) -> str:
    """The engine as a teacher's record holds it, with the version that decides its labels."""
    if name != "onnx":
        return name
    try:
        return f"onnx {version('onnxruntime')}"
    except PackageNotFoundError:  # Published for CUDA under another name.
        return f"onnx {version('onnxruntime-gpu')}"


def channels_last(network: nn.Module) -> Run:
    """Pass the inputs in the layout of the folded weights."""

    def run(inputs: Tensor) -> Tensor:
        logits: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return logits

    return run


def mixed(engine: Run, device: torch.device, precision: torch.dtype) -> Run:
    """Run an engine under autocast; the logits are float32 again."""

    def run(inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=precision):
            return engine(inputs).float()

    return run


class OnnxEngine:
    """ONNX Runtime, with one session for each size of input."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        for package in ("onnxruntime", "onnx"):
            if importlib.util.find_spec(package) is None:
                raise TeacherError(
                    f"{package} is not installed",
                    expected="the packages of the extra `onnx`",
                    where="--engine onnx",
                    remedy="pip install 'xdistill[onnx]'",
                )
        self._network = network
        self._device = device
        self._provider = _provider(device)
        self._sessions: dict[tuple[int, ...], Any] = {}

    def __call__(
        self, inputs: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Logits; the first frame of a size waits until the network is exported."""
        shape = tuple(inputs.shape)
        if shape not in self._sessions:
            self._sessions[shape] = self._session(inputs)
        session = self._sessions[shape]
        (logits,) = session.run(None, {session.get_inputs()[0].name: inputs.cpu().numpy()})
        return torch.from_numpy(logits).to(self._device)

    def _session(self, inputs: Tensor) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        content = export(self._network, inputs)
        try:
            with memory_reported("ONNX Runtime's copy of the network", options=SMALLER):
                return onnxruntime.InferenceSession(content, options, providers=[self._provider])
        except XDistillError:
            raise
        # Its exceptions have no common base class.
        except Exception as error:
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise TeacherError(
                f"ONNX Runtime refuses the network: {said}",
                expected=f"operators that ONNX Runtime has on {self._device.type}",
                where="--engine onnx",
                remedy="use --engine exact",
            ) from error


def _provider(device: torch.device) -> str:
    import onnxruntime

    wanted = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device.type, "")
    if wanted not in onnxruntime.get_available_providers():
        raise TeacherError(
            f"the engine onnx does not run on {device.type}",
            expected="a provider of the installed onnxruntime: "
            + ", ".join(onnxruntime.get_available_providers()),
            where="--engine",
            remedy="give --device cpu, or install onnxruntime-gpu",
        )
    return wanted


def export(network: nn.Module, inputs: Tensor) -> bytes:
    """Export the network as ONNX, for inputs of this shape alone.

    Raises:
        TeacherError: The network has an operator that ONNX lacks.
    """
    # The tracing exporter is deprecated, yet needs no further package and a tenth of the time;
    # the sizes that it turns into constants are constant here.
    # Tensors made in inference mode cannot be traced.
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        example = torch.zeros(inputs.shape, device=inputs.device)
        path = Path(folder) / "network.onnx"
        try:
            torch.onnx.export(network, (example,), path, dynamo=False, opset_version=ONNX_OPSET)
        except torch.onnx.OnnxExporterError as error:
            raise TeacherError(
                f"the network cannot be exported: {str(error).splitlines()[0]}",
                expected="operators that ONNX knows",
                where="--engine onnx",
                remedy="use --engine exact or fused",
            ) from error
        return path.read_bytes()
