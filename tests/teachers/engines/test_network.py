"""From logits to labels: windows, views, confidence, with networks small enough for paper."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from xdistill.manifests.memory import MemoryShortError
from xdistill.teachers.engines.network import (
    Network,
    NetworkTeacher,
    Prepared,
    confidence_levels,
    slide,
)
from xdistill.teachers.engines.network import offsets as window_offsets
from xdistill.teachers.protocol import Prediction, TeacherSettings

WEIGHTS = torch.tensor([[0.03, -0.02, 0.01], [-0.02, 0.02, 0.01], [0.01, 0.01, -0.02]])
DRIFT = torch.tensor([0.5, -0.3, 0.1])


class Linear(Network):
    """Three classes, linear in colour and in the column, so that mirroring matters."""

    align_corners = False

    def prepare(self, image: NDArray[np.uint8], scale: float) -> Prepared:
        inputs = torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float()
        size = [int(side * scale) for side in inputs.shape[2:]]
        return Prepared(inputs=interpolate(inputs, size=size), padding=(0, 0, 0, 0))

    def logits(self, inputs: Tensor) -> Tensor:
        column = torch.linspace(0, 1, inputs.shape[3]) * DRIFT[:, None, None]
        return torch.einsum("kc,bchw->bkhw", WEIGHTS, inputs) + column


def label(images: list[NDArray[np.uint8]], settings: TeacherSettings) -> Prediction:
    teacher = NetworkTeacher(
        Linear(), settings=settings, record={"kind": "test"}, device=torch.device("cpu")
    )
    return teacher.label(images, [str(i) for i in range(len(images))])


@pytest.fixture
def images(rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Two frames of noise, 8x6."""
    return [rng.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(2)]


def softmax_of(image: NDArray[np.uint8], *, mirrored: bool, scale: int) -> NDArray[np.float64]:
    """The same network in plain numpy: nearest enlargement, logits, bilinear back, softmax."""
    big = image.astype(np.float64).repeat(scale, 0).repeat(scale, 1)
    big = big[:, ::-1] if mirrored else big
    logits = big @ WEIGHTS.double().numpy().T
    logits += np.linspace(0, 1, big.shape[1])[None, :, None] * DRIFT.double().numpy()
    logits = logits[:, ::-1] if mirrored else logits
    # Half the size, bilinear without aligned corners: the mean of each 2x2 block.
    rows, columns = image.shape[:2]
    logits = logits.reshape(rows, scale, columns, scale, 3).mean((1, 3))
    odds = np.exp(logits)
    return odds / odds.sum(2, keepdims=True)


def test_flip_and_scales_average_probabilities(images: list[NDArray[np.uint8]]) -> None:
    labels = label(images, TeacherSettings(flip=True, scales=(1.0, 2.0), confidence=True))
    assert labels.confidence is not None
    for image, classes, levels in zip(images, labels.classes, labels.confidence, strict=True):
        mean = np.mean(
            [softmax_of(image, mirrored=flip, scale=s) for s in (1, 2) for flip in (False, True)],
            axis=0,
        )
        assert np.array_equal(classes, mean.argmax(2))
        assert np.array_equal(levels, np.minimum(15, np.floor(16 * mean.max(2))))
        assert not np.array_equal(
            levels, np.floor(16 * softmax_of(image, mirrored=False, scale=1).max(2))
        )


def test_one_view_is_the_plain_argmax(images: list[NDArray[np.uint8]]) -> None:
    labels = label(images, TeacherSettings())
    plain = softmax_of(images[1], mirrored=False, scale=1)
    assert labels.confidence is None
    assert labels.classes.dtype == np.uint8
    assert np.array_equal(labels.classes[1], plain.argmax(2))


def test_first_of_equal_classes_wins() -> None:
    """As in torch.argmax and therefore in mmsegmentation."""

    class Tied(Linear):
        def logits(self, inputs: Tensor) -> Tensor:
            row = torch.tensor([[1.0, 2.0, 2.0], [2.0, 1.0, 2.0], [2.0, 2.0, 1.0]])
            return row.T.reshape(1, 3, 1, 3).expand(1, 3, 50, 3).contiguous()

    teacher = NetworkTeacher(
        Tied(), settings=TeacherSettings(), record={}, device=torch.device("cpu")
    )
    labels = teacher.label([np.zeros((50, 3, 3), np.uint8)], ["a"]).classes[0]
    assert (labels == np.array([1, 0, 0])).all()


class Failing(Linear):
    """Raises what it was made with instead of giving logits."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def logits(self, inputs: Tensor) -> Tensor:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: not enough memory: you tried"),
        Exception("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer"),
        MemoryError(),
    ],
)
def test_too_little_memory_names_the_options(
    error: Exception, images: list[NDArray[np.uint8]]
) -> None:
    teacher = NetworkTeacher(
        Failing(error), settings=TeacherSettings(), record={}, device=torch.device("cpu")
    )
    told = r"out of memory(.|\n)*--batch-size or a smaller --input-size"
    with pytest.raises(MemoryShortError, match=told):
        teacher.label(images, ["a", "b"])


def test_the_kind_of_device_belongs_to_the_fingerprint() -> None:
    made = {
        kind: NetworkTeacher(
            Linear(), settings=TeacherSettings(), record={}, device=torch.device(kind)
        )
        for kind in ("cpu", "meta")
    }
    assert made["meta"].record["device"] == "meta"
    assert made["cpu"].fingerprint != made["meta"].fingerprint


def test_other_failures_of_a_network_keep_their_type(images: list[NDArray[np.uint8]]) -> None:
    teacher = NetworkTeacher(
        Failing(RuntimeError("shapes")),
        settings=TeacherSettings(),
        record={},
        device=torch.device("cpu"),
    )
    with pytest.raises(RuntimeError, match=r"^shapes$"):
        teacher.label(images, ["a", "b"])


def test_confidence_levels_by_hand() -> None:
    tops = torch.tensor([0.0, 0.0624, 0.0625, 0.5, 0.9374, 0.9375, 1.0])
    levels = confidence_levels(torch.stack([tops, torch.zeros(7)])[None, :, None])
    assert levels[0, 0].tolist() == [0, 0, 1, 8, 14, 15, 15]


def test_padding_is_cut_off_before_the_resize(images: list[NDArray[np.uint8]]) -> None:
    class Padded(Linear):
        def prepare(self, image: NDArray[np.uint8], scale: float) -> Prepared:
            plain = super().prepare(image, scale).inputs
            return Prepared(
                inputs=torch.nn.functional.pad(plain, (1, 3, 2, 4)), padding=(1, 3, 2, 4)
            )

        def logits(self, inputs: Tensor) -> Tensor:
            return torch.einsum("kc,bchw->bkhw", WEIGHTS, inputs)

    teacher = NetworkTeacher(
        Padded(), settings=TeacherSettings(), record={}, device=torch.device("cpu")
    )
    expected = (images[0].astype(np.float64) @ WEIGHTS.double().numpy().T).argmax(2)
    assert np.array_equal(teacher.label(images[:1], ["a"]).classes[0], expected)


def test_windows_by_hand() -> None:
    """A row of 5 under windows of 3 at stride 2: 0-2 and 2-4; each window answers its number."""
    assert window_offsets(5, 3, 2) == [0, 2]
    assert window_offsets(6, 3, 2) == [0, 2, 3]
    assert window_offsets(2, 3, 2) == [0]
    answers = iter([1.0, 3.0])
    inputs = torch.zeros(1, 3, 1, 5)
    logits = slide(lambda x: x[:, :1] + next(answers), inputs, window=(1, 3), stride=(1, 2))
    assert logits[0, 0, 0].tolist() == [1, 1, 2, 3, 3]


@given(length=st.integers(1, 300), window=st.integers(1, 200), part=st.integers(1, 4))
def test_windows_cover_everything_and_stay_inside(length: int, window: int, part: int) -> None:
    stride = max(1, window * part // 4)
    starts = window_offsets(length, window, stride)
    covered = {pixel for start in starts for pixel in range(start, min(start + window, length))}
    assert covered == set(range(length))
    assert all(start + min(window, length) <= length for start in starts)
    assert starts == sorted(set(starts))
