"""Teachers: speed against mmsegmentation's inference_model, and its labels at large sizes.

Run alone: pytest tests/benchmarks/bench_teachers.py -o python_files="bench_*.py" -s
"""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_networks import FCN, OCRNET, SEGFORMER, random_state, save

from xdistill.pipeline.kitti.frames import find_frames, image_path
from xdistill.pipeline.kitti.images import read_image
from xdistill.pipeline.labelling.plan import make_plan
from xdistill.pipeline.labelling.segment import segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.engines.network import quiet
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.protocol import TeacherSettings

pytest.importorskip("mmseg")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WIDTH_PX = 640
PAIRS = 9
EXACT_RATIO = 0.97
"""The exact engine may be this much of inference_model's speed."""
NEAR_EXACT_RATIO, NEAR_EXACT_SHARE = 1.4, 0.9999
"""The fastest engine on a CPU: speed and share of equal labels."""
GPU_LOOP_RATIO, GPU_RATIO, GPU_BATCH = 0.95, 5.0, 8
"""Of segment on a GPU: speed against the bare network, and against inference_model; its batch."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """CPU time of several threads would count their waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


Label = Callable[[NDArray[np.uint8]], NDArray[np.integer[Any]]]


@pytest.fixture(scope="module")
def frames(shared: Path) -> list[NDArray[np.uint8]]:
    """Four real frames as RGB."""
    drive = "2011_09_26/2011_09_26_drive_0013_sync/image_02/data"
    paths = [shared / "kitti" / drive / f"{index:010d}.jpg" for index in (0, 20, 40, 60)]
    images = (cv2.imread(str(path)) for path in paths)
    return [np.ascontiguousarray(image[..., ::-1]).astype(np.uint8) for image in images]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Checkpoint file of a config, random."""
    folder = tmp_path_factory.mktemp("weights")

    def checkpoint(config: str) -> Path:
        path = folder / f"{config}.pth"
        return path if path.exists() else save(path, random_state(config))

    return checkpoint


def inference_model(
    config_name: str, checkpoint: Path, *, width: int | None, device: str = "cpu"
) -> Label:
    """mmsegmentation's own call, fed BGR arrays; width None is the config's own size."""
    from mmseg.apis import inference_model, init_model

    config = mmseg_config.load_config(config_name)
    for step in config.test_pipeline:
        if step["type"] == "Resize" and width:
            step["scale"] = (width, width)
    model = init_model(config, str(checkpoint), device)

    def label(frame: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        result = inference_model(model, np.ascontiguousarray(frame[..., ::-1]))
        return np.asarray(result.pred_sem_seg.data[0].cpu())

    return label


def teacher(config: str, checkpoint: Path, **settings: Any) -> Label:
    """The same network as a teacher."""
    loaded = load_teacher(f"mmseg:{config},{checkpoint}", settings=TeacherSettings(**settings))
    return lambda frame: loaded.label([frame], ["frame"]).classes[0]


def paired(ours: Label, theirs: Label, frames: list[NDArray[np.uint8]]) -> tuple[str, float, float]:
    """Ratios of their CPU time to ours, turn about: text, median, share of equal labels.

    CPU time of one thread: other programs on the machine change it little.
    """
    equal = np.mean([(ours(frame) == theirs(frame)).mean() for frame in frames])
    ratios = []
    for number in range(PAIRS):
        times = []
        order = (ours, theirs) if number % 2 else (theirs, ours)
        for label in order:
            start = time.process_time()
            label(frames[number % len(frames)])
            times.append(time.process_time() - start)
        mine, their = times if number % 2 else reversed(times)
        ratios.append(their / mine)
    low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    text = f"{median:.2f} ({low:.2f}-{high:.2f})  {equal:.4%}"
    return text, statistics.median(ratios), float(equal)


@pytest.mark.parametrize("config", [OCRNET, FCN])
def test_engines_against_inference_model(
    config: str, weights: Callable[[str], Path], frames: list[NDArray[np.uint8]]
) -> None:
    pytest.importorskip("onnxruntime")
    checkpoint = weights(config)
    theirs = inference_model(config, checkpoint, width=WIDTH_PX)
    print(f"\n{config}, {WIDTH_PX} wide, one thread, {PAIRS} pairs")
    print("engine   times inference_model's speed (quartiles)  equal labels")
    fastest = 0.0
    for engine in ("exact", "fused", "onnx", "bf16"):
        ours = teacher(config, checkpoint, input_size=str(WIDTH_PX), engine=engine)
        text, ratio, equal = paired(ours, theirs, frames)
        print(f"{engine:<8} {text}")
        if engine == "exact":
            assert equal == 1.0 and ratio >= EXACT_RATIO
        elif equal >= NEAR_EXACT_SHARE:
            fastest = max(fastest, ratio)
    assert fastest >= NEAR_EXACT_RATIO


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("engine", ["exact", "bf16", "fp16", "compile"])
def test_segment_on_a_gpu(
    engine: str, weights: Callable[[str], Path], shared: Path, tmp_path: Path
) -> None:
    loop, whole, theirs = device_speeds(
        "cuda", OCRNET, weights(OCRNET), engine, "config", shared / "kitti", tmp_path
    )
    print(
        f"\n{torch.cuda.get_device_name()}, {OCRNET} at its own size, {engine}: segment "
        f"{whole:.1f} frames/s, bare network {loop:.1f} ({whole / loop:.2f}), inference_model "
        f"{theirs:.1f} ({whole / theirs:.1f}x)"
    )
    if engine == "compile":
        assert whole / loop >= GPU_LOOP_RATIO and whole / theirs >= GPU_RATIO


def device_speeds(
    device: str, config: str, checkpoint: Path, engine: str, size: str, data: Path, out: Path
) -> tuple[float, float, float]:
    """Frames a second of the bare network in a loop, of segment, and of inference_model."""
    settings = TeacherSettings(engine=engine, input_size=size)
    loaded: Any = load_teacher(f"mmseg:{config},{checkpoint}", device=device, settings=settings)
    found = find_frames(data, drives=["2011_09_26_drive_0013_sync"], cameras=["l", "r"])
    batch = 1 if engine == "exact" else GPU_BATCH
    images = [read_image(image_path(data, frame)) for frame in found[:batch]]
    inputs = torch.cat([loaded._network.prepare(image, 1.0).inputs for image in images])

    def loop() -> None:
        with torch.inference_mode():
            for _ in range(len(found) // batch):
                loaded._network.logits(inputs)
            if device == "cuda":
                torch.cuda.synchronize()

    def whole() -> None:
        store = LabelStore.open_for_writing(
            out / f"{time.monotonic_ns()}.zarr",
            teacher=loaded.record,
            fingerprint=loaded.fingerprint,
        )
        tasks = make_plan(data, found, store=store).tasks
        segment(data, store, teacher=loaded, tasks=tasks, outcome=Outcome(), batch_size=batch)

    width = None if size == "config" else int(size)
    label = inference_model(config, checkpoint, width=width, device=device)

    def theirs() -> None:
        for frame in found[: len(found) // 4]:
            label(read_image(image_path(data, frame)))

    counts = (len(found) // batch * batch, len(found), len(found) // 4)
    result = []
    for work, count in zip((loop, whole, theirs), counts, strict=True):
        work()  # Compiled, allocated and cached before it is timed.
        start = time.perf_counter()
        work()
        result.append(count / (time.perf_counter() - start))
    return result[0], result[1], result[2]


@pytest.mark.parametrize("config", [OCRNET, SEGFORMER, FCN])
@pytest.mark.parametrize("size", ["native", "config"])
def test_bit_equal_at_large_sizes(
    config: str, size: str, weights: Callable[[str], Path], frames: list[NDArray[np.uint8]]
) -> None:
    """Native size and the config's own; SegFormer by its own sliding window."""
    checkpoint = weights(config)
    width = frames[0].shape[1] if size == "native" else None
    with quiet():
        expected = inference_model(config, checkpoint, width=width)(frames[0])
    found = teacher(config, checkpoint, input_size=size)(frames[0])
    print(f"\n{config} {size}: {len(np.unique(found))} classes occur")
    assert np.array_equal(found, expected) and len(np.unique(found)) >= 3
