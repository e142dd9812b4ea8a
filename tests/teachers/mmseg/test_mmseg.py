"""The mmsegmentation adapter against mmsegmentation's own inference_model."""

import builtins
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from material import Material
from numpy.typing import NDArray
from random_networks import FCN, OCRNET, PIDNET, SEGFORMER, Checkpoints, random_state, save

from xdistill.manifests.errors import WeightsError
from xdistill.manifests.memory import MemoryShortError
from xdistill.pipeline.cli.segment import segment
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.engines.network import quiet
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg
from xdistill.teachers.protocol import TeacherError, TeacherSettings

pytest.importorskip("mmseg")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        # inference_model and init_model warn of mmsegmentation's own deprecations.
        "ignore:.*:UserWarning:mmseg",
    ),
]


def reference(config_name: str, checkpoint: Path, *, width: int | None, **test_cfg: object) -> Any:
    """mmsegmentation's own model, its test pipeline's Resize changed as a user would do it."""
    config = mmseg_config.load_config(config_name)
    config.model.test_cfg.update(test_cfg)
    for step in config.test_pipeline:
        if step["type"] == "Resize" and width:
            step["scale"] = (width, width)
    from mmseg.apis import init_model

    return init_model(config, str(checkpoint), "cpu")


def inferred(model: Any, frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    from mmseg.apis import inference_model

    result = inference_model(model, np.ascontiguousarray(frame[..., ::-1]))
    return np.asarray(result.pred_sem_seg.data[0])


def test_ocrnet_labels_are_bit_equal_to_inference_model(
    checkpoints: Checkpoints, frames: list[NDArray[np.uint8]]
) -> None:
    checkpoint = checkpoints(OCRNET)
    teacher = load_teacher(
        f"mmseg:{OCRNET},{checkpoint}", settings=TeacherSettings(input_size="320")
    )
    labels = teacher.label(frames, ["a", "b"])
    model = reference(OCRNET, checkpoint, width=320)
    for frame, classes in zip(frames, labels.classes, strict=True):
        assert np.array_equal(classes, inferred(model, frame))
        assert len(np.unique(classes)) >= 3


def test_segformer_by_sliding_window_is_bit_equal(
    checkpoints: Checkpoints, frames: list[NDArray[np.uint8]]
) -> None:
    """Windows of 192x64 over 320x97: the last of each row and column moves back."""
    checkpoint = checkpoints(SEGFORMER)
    settings = TeacherSettings(input_size="320", window="192x64")
    teacher = load_teacher(f"mmseg:{SEGFORMER},{checkpoint}", settings=settings)
    labels = teacher.label(frames, ["a", "b"])
    window = {"mode": "slide", "crop_size": (64, 192), "stride": (48, 144)}
    model = reference(SEGFORMER, checkpoint, width=320, **window)
    for frame, classes in zip(frames, labels.classes, strict=True):
        assert np.array_equal(classes, inferred(model, frame))
        assert len(np.unique(classes)) >= 3


def test_configs_own_window_is_the_default(checkpoints: Checkpoints) -> None:
    spec = f"mmseg:{SEGFORMER},{checkpoints(SEGFORMER)}"
    assert load_teacher(spec).record["window"] == [1024, 1024, 768, 768]
    assert load_teacher(spec, settings=TeacherSettings(window="whole")).record["window"] == "whole"
    with pytest.raises(TeacherError, match="^the config has no crop_size or no stride\n"):
        load_teacher(f"mmseg:{FCN},{checkpoints(FCN)}", settings=TeacherSettings(window="slide"))


@pytest.mark.parametrize("size", ["native", "320"])
def test_fcn_hr18s_is_bit_equal(
    size: str, checkpoints: Checkpoints, frames: list[NDArray[np.uint8]]
) -> None:
    small = [np.ascontiguousarray(frame[100:290, :300]) for frame in frames]
    checkpoint = checkpoints(FCN)
    teacher = load_teacher(f"mmseg:{FCN},{checkpoint}", settings=TeacherSettings(input_size=size))
    labels = teacher.label(small, ["a", "b"])
    # Native: the Resize step to the frame's own size changes nothing.
    model = reference(FCN, checkpoint, width=None if size == "native" else 320)
    if size == "native":
        model.cfg.test_pipeline[1]["scale"] = (300, 190)
    for frame, classes in zip(small, labels.classes, strict=True):
        assert np.array_equal(classes, inferred(model, frame))
        assert len(np.unique(classes)) >= 3


def test_flip_and_scales_equal_mmsegmentations_own_averaging(
    checkpoints: Checkpoints, frames: list[NDArray[np.uint8]]
) -> None:
    checkpoint = checkpoints(FCN)
    settings = TeacherSettings(input_size="256x96", flip=True, scales=(0.5, 1.0))
    teacher = load_teacher(f"mmseg:{FCN},{checkpoint}", settings=settings)
    found = teacher.label(frames[:1], ["a"]).classes[0]
    model = reference(FCN, checkpoint, width=None)
    from mmseg.models.segmentors import SegTTAModel

    averaging = SegTTAModel(module=model)
    with quiet(), torch.no_grad():
        expected = averaging.test_step(augmented(frames[0], sizes=((128, 48), (256, 96))))
    assert np.array_equal(found, np.asarray(expected[0].pred_sem_seg.data[0]))
    assert not np.array_equal(
        found,
        load_teacher(f"mmseg:{FCN},{checkpoint}", settings=TeacherSettings(input_size="256x96"))
        .label(frames[:1], ["a"])
        .classes[0],
    )


def augmented(
    frame: NDArray[np.uint8], *, sizes: tuple[tuple[int, int], ...]
) -> dict[str, list[Any]]:
    """The views of one frame by mmsegmentation's own TestTimeAug transform."""
    from mmengine.dataset import Compose

    flips = [{"type": "RandomFlip", "prob": p, "direction": "horizontal"} for p in (0.0, 1.0)]
    resizes = [{"type": "Resize", "scale": size, "keep_ratio": False} for size in sizes]
    keys = ("ori_shape", "img_shape", "pad_shape", "flip", "flip_direction", "img_path")
    steps = [
        {"type": "LoadImageFromNDArray"},
        {
            "type": "TestTimeAug",
            "transforms": [resizes, flips, [{"type": "PackSegInputs", "meta_keys": keys}]],
        },
    ]
    views = Compose(steps)({"img": np.ascontiguousarray(frame[..., ::-1])})
    return {
        "inputs": [[view] for view in views["inputs"]],
        "data_samples": [[sample] for sample in views["data_samples"]],
    }


@pytest.mark.parametrize(
    ("size", "remedy"), [("640x190", "640x192"), ("native", "1216x384"), ("600", "576x192")]
)
def test_pidnet_sizes_that_it_fails_at_are_refused(
    size: str, remedy: str, checkpoints: Checkpoints, frames: list[NDArray[np.uint8]]
) -> None:
    settings = TeacherSettings(input_size=size)
    told = (
        rf"not suit PIDNet\n.*multiples of 64(.|\n)*where: --input-size\n.*--input-size {remedy}$"
    )
    with pytest.raises(TeacherError, match=told):
        teacher: Any = load_teacher(f"mmseg:{PIDNET},{checkpoints(PIDNET)}", settings=settings)
        assert size != "640x190", "known before any frame is read"
        with pytest.raises(TeacherError, match=told):
            teacher.check_size(*frames[0].shape[:2])
        teacher.label(frames, ["a", "b"])


@pytest.mark.parametrize("size", ["native", "600"])
def test_refused_size_leaves_no_store(
    size: str, checkpoints: Checkpoints, material: Material, tmp_path: Path
) -> None:
    drive = "2011_09_26/2011_09_26_drive_0013_sync/image_02/data"
    (tmp_path / "kitti" / drive).mkdir(parents=True)
    name = f"{drive}/0000000005.jpg"
    shutil.copy(material.kitti / name, tmp_path / "kitti" / name)
    places = ["--data", str(tmp_path / "kitti"), "--store", str(tmp_path / "labels")]
    teacher = ["--teacher", f"mmseg:{PIDNET},{checkpoints(PIDNET)}", "--input-size", size]
    answer = CliRunner().invoke(segment, [*places, *teacher, "--device", "cpu"])
    assert answer.exit_code == 1 and "where: --input-size" in answer.stderr
    assert not (tmp_path / "labels").exists()


def test_size_that_pidnet_takes_passes_the_check(checkpoints: Checkpoints) -> None:
    spec = f"mmseg:{PIDNET},{checkpoints(PIDNET)}"
    teacher: Any = load_teacher(spec, settings=TeacherSettings(input_size="640"))
    teacher.check_size(384, 1280)


@pytest.mark.parametrize(
    ("choice", "where", "remedy"),
    [
        ({"scales": (1.0, 0.75)}, "--input-size at --scales 0.75", "--input-size 512x256"),
        ({"scales": (1.0, 0.37)}, "--input-size at --scales 0.37", "other --scales"),
        ({"window": "96x96"}, "--window", "--window 64x64"),
        ({"window": "640x100"}, "--window", "--window 640x128"),
        (
            {"window": "640x100", "scales": (0.5, 2.0)},
            "--input-size at --scales 0.5",
            "--input-size 640x128",
        ),
    ],
)
def test_pidnet_scales_and_windows_that_it_fails_at_are_refused_at_once(
    choice: dict[str, Any], where: str, remedy: str, checkpoints: Checkpoints
) -> None:
    settings = TeacherSettings(input_size="640x192", **choice)
    told = rf"multiples of 64(.|\n)*where: {where}\n  what to do: give {remedy}"
    with pytest.raises(TeacherError, match=told):
        load_teacher(f"mmseg:{PIDNET},{checkpoints(PIDNET)}", settings=settings)


def test_pidnet_is_bit_equal_at_multiples_of_64(
    checkpoints: Checkpoints, frames: list[NDArray[np.uint8]]
) -> None:
    checkpoint = checkpoints(PIDNET)
    teacher = load_teacher(
        f"mmseg:{PIDNET},{checkpoint}", settings=TeacherSettings(input_size="640x192")
    )
    model = reference(PIDNET, checkpoint, width=None)
    model.cfg.test_pipeline[1].update(scale=(640, 192), keep_ratio=False)
    classes = teacher.label(frames[:1], ["a"]).classes[0]
    assert np.array_equal(classes, inferred(model, frames[0]))
    assert len(np.unique(classes)) >= 3


def test_record_holds_what_decides_the_labels(checkpoints: Checkpoints) -> None:
    spec = f"mmseg:{FCN},{checkpoints(FCN)}"
    record = load_teacher(spec).record
    assert record["kind"] == "mmseg" and record["architecture"] == "EncoderDecoder HRNet FCNHead"
    assert record["input_size"] == "config" and record["classes"][13] == "car"
    assert {"torch", "mmsegmentation", "mmcv", "opencv"} <= record["versions"].keys()
    assert "+" not in record["versions"]["torch"]
    prints = {
        load_teacher(spec, settings=settings).fingerprint
        for settings in (
            TeacherSettings(),
            TeacherSettings(confidence=True),
            TeacherSettings(input_size="native"),
            TeacherSettings(input_size="640"),
            TeacherSettings(flip=True),
            TeacherSettings(scales=(0.5, 1.0)),
            TeacherSettings(window="512x256"),
        )
    }
    assert len(prints) == 6  # confidence changes no label


def test_fingerprint_knows_the_weights_not_the_file_name(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    state = random_state(FCN)
    plain = load_teacher(f"mmseg:{FCN},{checkpoints(FCN)}").fingerprint
    copied = tmp_path / "copied.pth"
    copied.write_bytes(checkpoints(FCN).read_bytes())
    assert load_teacher(f"mmseg:{FCN},{copied}").fingerprint == plain
    state["decode_head.conv_seg.bias"] = state["decode_head.conv_seg.bias"] + 1
    other = save(tmp_path / "other.pth", state)
    assert load_teacher(f"mmseg:{FCN},{other}").fingerprint != plain


def test_checkpoint_without_class_names_and_with_a_wrapper(
    tmp_path: Path, frames: list[NDArray[np.uint8]], checkpoints: Checkpoints
) -> None:
    wrapped = {f"module.{key}": value for key, value in random_state(FCN).items()}
    path = tmp_path / "bare.pth"
    torch.save(wrapped, path)
    small = TeacherSettings(input_size="160")
    bare = load_teacher(f"mmseg:{FCN},{path}", settings=small).label(frames[:1], ["a"])
    full = load_teacher(f"mmseg:{FCN},{checkpoints(FCN)}", settings=small).label(frames[:1], ["a"])
    assert np.array_equal(bare.classes, full.classes)


def test_twenty_classes_are_refused(tmp_path: Path) -> None:
    state = random_state(FCN)
    weight = state["decode_head.conv_seg.weight"]
    state["decode_head.conv_seg.weight"] = torch.cat([weight, weight[:1]])
    path = save(tmp_path / "twenty.pth", state)
    with pytest.raises(TeacherError, match="^the network has 20 classes\n"):
        load_teacher(f"mmseg:{FCN},{path}")


def test_config_of_another_data_set_is_refused(tmp_path: Path) -> None:
    config = "fcn_hr18s_4xb4-80k_ade20k-512x512.py"
    path = save(tmp_path / "ade.pth", random_state(config))
    with pytest.raises(TeacherError, match="^the network has 150 classes\n"):
        load_teacher(f"mmseg:{config},{path}")


def test_other_class_names_are_refused(tmp_path: Path) -> None:
    names = tuple(f"thing {i}" for i in range(19))
    path = save(tmp_path / "other.pth", random_state(FCN), dataset_meta={"classes": names})
    with pytest.raises(TeacherError, match="thing 0, thing 1"):
        load_teacher(f"mmseg:{FCN},{path}")


def test_weights_of_another_architecture_are_refused(checkpoints: Checkpoints) -> None:
    three = r"([\w.]+, ){3}\.\.\."
    told = rf"keys missing \(\d+\): {three}; unexpected \(\d+\): {three}; of another shape \(1\)"
    with pytest.raises(WeightsError, match=told):
        load_teacher(f"mmseg:{PIDNET},{checkpoints(FCN)}")


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    state = random_state(FCN)
    state["backbone.conv1.weight"] = state["backbone.conv1.weight"][:, :2]
    path = save(tmp_path / "grey.pth", state)
    told = r"of another shape \(1\): backbone\.conv1\.weight \(64, 2, 3, 3\) for \(64, 3, 3, 3\)\n"
    with pytest.raises(WeightsError, match=told):
        load_teacher(f"mmseg:{FCN},{path}")


def test_missing_and_unexpected_keys_are_named(tmp_path: Path) -> None:
    state = random_state(FCN)
    state["backbone.conv9.weight"] = state.pop("backbone.conv2.weight")
    path = save(tmp_path / "renamed.pth", state)
    with pytest.raises(WeightsError) as caught:
        load_teacher(f"mmseg:{FCN},{path}")
    told = "keys missing (1): backbone.conv2.weight; unexpected (1): backbone.conv9.weight\n"
    assert told in str(caught.value)


def test_network_that_finds_no_room_on_its_device(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    path = checkpoints(FCN)
    monkeypatch.setattr(torch.nn.Module, "to", fail)
    with pytest.raises(MemoryShortError, match=r"^out of memory(.|\n)*a --device with more memory"):
        load_teacher(f"mmseg:{FCN},{path}")


def test_unknown_device(checkpoints: Checkpoints) -> None:
    with pytest.raises(TeacherError, match="^there is no device 'tpu9'"):
        load_teacher(f"mmseg:{FCN},{checkpoints(FCN)}", device="tpu9")


def test_mmsegmentation_not_installed(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints(FCN)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TeacherError, match=r"not installed(.|\n)*xdistill\[teacher\]"):
        load_teacher(f"mmseg:{FCN},{path}")


@pytest.mark.parametrize("package", ["mmseg", "mmcv", "mmengine", "ftfy"])
def test_missing_package_is_named(
    package: str, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints(FCN)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == package else find_spec(name)
    )
    with pytest.raises(
        TeacherError, match=rf"^{package} is not installed(.|\n)*xdistill\[teacher\]"
    ):
        load_teacher(f"mmseg:{FCN},{path}")


@pytest.mark.parametrize("error", [ImportError, AssertionError])
def test_packages_that_do_not_fit_each_other(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mmseg_config.load_config(FCN)
    imported = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "mmseg.apis":
            raise error("MMCV==9.9 is used but incompatible")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(TeacherError, match=r"MMCV==9.9(.|\n)*xdistill\[teacher\]"):
        mmseg.build(config)
