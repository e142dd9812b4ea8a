"""Monodepth2's files in the forms in which they circulate."""

import errno
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xdistill.manifests.errors import WeightsError
from xdistill.train.networks.checkpoints import (
    PEER_FILES,
    has_hr_depth,
    is_peer_folder,
    load_peer_depth,
    load_peer_pose,
    no_networks,
    peer_settings,
)
from xdistill.train.networks.depth import DepthNetwork, depth_network
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.recipe.recipe import Recipe

RN18 = Recipe(name="test")


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_encoder_and_size_are_found_in_published_files(
    narrow: None, tmp_path: Path, name: str
) -> None:
    weights = ResNetEncoder(name).state_dict()  # type: ignore[arg-type]
    peer = {f"encoder.{key}": value for key, value in weights.items()}
    torch.save({**peer, "height": 320, "width": 1024}, tmp_path / "encoder.pth")
    assert peer_settings(tmp_path) == (name, 1024, 320)
    torch.save(peer, tmp_path / "encoder.pth")
    with pytest.raises(WeightsError, match="encoder.pth does not say the size of the images"):
        peer_settings(tmp_path)


@pytest.fixture
def networks(narrow: None) -> tuple[DepthNetwork, PoseNetwork]:
    """A depth and a pose network with random weights."""
    torch.manual_seed(3)
    return depth_network(RN18), PoseNetwork("resnet18")


@pytest.fixture
def folder(networks: tuple[DepthNetwork, PoseNetwork], tmp_path: Path) -> Path:
    """Their files, as Monodepth2 saves them."""
    for network, names in zip(networks, (PEER_FILES[:2], PEER_FILES[2:]), strict=True):
        state = network.state_dict()
        encoder = {key: value for key, value in state.items() if key.startswith("encoder.")}
        rest = {key: value for key, value in state.items() if key not in encoder}
        for name, part in zip(names, (encoder, rest), strict=True):
            sizes = {"height": 64, "width": 128, "use_stereo": False}
            torch.save(part | (sizes if name == "encoder.pth" else {}), tmp_path / name)
    return tmp_path


def change(path: Path, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    torch.save(changed(torch.load(path, weights_only=True)), path)


FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "data-parallel": lambda w: {f"module.{k}" if "." in k else k: v for k, v in w.items()},
    "profiled": lambda w: w | {"total_ops": torch.ones(1), "encoder.conv1.total_params": 3},
    "half precision": lambda w: {k: v.half() if torch.is_tensor(v) else v for k, v in w.items()},
    "sizes of numpy": lambda w: w | {"height": np.int64(64), "width": np.int32(128)},
    "sizes as tensors": lambda w: w | {"height": torch.tensor(64), "width": torch.tensor(128.0)},
    "with its epoch": lambda w: {
        "epoch": 19,
        "state_dict": {k: v for k, v in w.items() if "." in k},
        "height": 64,
        "width": 128,
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_in_which_checkpoints_circulate(
    networks: tuple[DepthNetwork, PoseNetwork], folder: Path, form: str
) -> None:
    for file in PEER_FILES:
        change(folder / file, FORMS[form])
    depth, pose = depth_network(RN18), PoseNetwork("resnet18")
    assert peer_settings(folder) == ("resnet18", 128, 64)
    assert load_peer_depth(depth, folder) == [] and load_peer_pose(pose, folder)
    tolerance = 1e-3 if form == "half precision" else 0.0
    for loaded, own in zip((depth, pose), networks, strict=True):
        for key, value in own.state_dict().items():
            torch.testing.assert_close(
                loaded.state_dict()[key], value, atol=tolerance, rtol=tolerance
            )


def test_hr_depth_is_known_in_every_form(folder: Path) -> None:
    assert not has_hr_depth(folder)
    key = "module.convs.X_04_Conv_1.conv.conv.weight"
    for content in ({key: torch.ones(1)}, {"state_dict": {key: torch.ones(1)}, "epoch": 3}):
        torch.save(content, folder / "depth.pth")
        assert has_hr_depth(folder)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_the_finest_head_alone_decides_a_prediction(
    networks: tuple[DepthNetwork, PoseNetwork], folder: Path, kept: int
) -> None:
    lost = tuple(f"decoder.1{scale}." for scale in range(kept, 4))
    change(folder / "depth.pth", lambda w: {k: v for k, v in w.items() if not k.startswith(lost)})
    loaded = depth_network(RN18)
    assert load_peer_depth(loaded, folder) == list(range(kept, 4))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(image)[0], networks[0].eval()(image)[0])


def test_a_head_that_lacks_its_bias_is_named(folder: Path) -> None:
    change(folder / "depth.pth", lambda w: {k: v for k, v in w.items() if "12.conv.bias" not in k})
    with pytest.raises(WeightsError, match=r"missing \(1\): decoder.12.conv.bias\n"):
        load_peer_depth(depth_network(RN18), folder)


def test_networks_trained_on_stereo_have_no_pose_files(folder: Path) -> None:
    (folder / "pose.pth").unlink()
    with pytest.raises(WeightsError, match=r"^pose\.pth does not exist\n"):
        load_peer_pose(PoseNetwork("resnet18"), folder)
    (folder / "pose_encoder.pth").unlink()
    assert not load_peer_pose(PoseNetwork("resnet18"), folder)


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("downsample_layers.0.0.conv.weight", "Lite-Mono's encoder, or another on ConvNeXt"),
        ("encoder.stage4.0.branches.0.0.conv1.weight", "an HRNet, as in DIFFNet and RA-Depth"),
        ("encoder.layer3.23.conv1.weight", "a ResNet deeper than 101 layers"),
        ("layer4.1.conv1.weight", "a ResNet of torchvision"),
    ],
)
def test_another_network_is_named_by_its_keys(folder: Path, key: str, named: str) -> None:
    change(folder / "encoder.pth", lambda w: {key: torch.ones(1), "height": 64, "width": 128})
    with pytest.raises(WeightsError) as caught:
        peer_settings(folder)
    message = str(caught.value)
    assert message.startswith(
        f"encoder.pth holds no encoder of Monodepth2, but 1 tensors that look like {named}\n"
    )
    assert f"begin with {key}\n" in message and "--predictions" in message


@pytest.mark.parametrize("height", [None, "64", 50, -64, float("nan")])
def test_a_size_that_is_none_is_shown_with_a_command_that_adds_it(
    folder: Path, height: object
) -> None:
    change(folder / "encoder.pth", lambda w: w | {"height": height})
    with pytest.raises(WeightsError, match=f"height and width are {height} and 128\n") as caught:
        peer_settings(folder)
    command = shlex.split(str(caught.value).partition("to a copy: ")[2])
    assert command[:2] == ["cp", "-r"] and command[4:7] == ["&&", "python", "-c"]
    shutil.copytree(command[2], command[3])
    exec(command[7], {})
    assert peer_settings(Path(command[3])) == ("resnet18", 640, 192)


def test_a_folder_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything, so that a folder without permissions would prove nothing.
    def refused(path: object, *arguments: object, **options: object) -> os.stat_result:
        if str(path).startswith(f"{tmp_path}/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *arguments, **options)

    stat = os.stat
    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert not is_peer_folder(tmp_path)
    assert no_networks(tmp_path, "checkpoint.pt").headline == "the folder may not be read"
    assert no_networks(tmp_path / "a", "checkpoint.pt").headline == "the folder does not exist"


def test_what_a_folder_without_networks_holds(folder: Path) -> None:
    deep = folder / "log" / "mono" / "models" / "weights_19"
    shutil.copytree(folder, deep)
    (folder / "encoder.pth").unlink()
    told = {
        folder: "the folder holds depth.pth, pose_encoder.pth, pose.pth without encoder.pth",
        folder / "depth.pth": "depth.pth is a file",
        folder / "log" / "mono": "the folder holds no checkpoint, but folders below it do",
        folder / "none": "the folder does not exist",
    }
    for path, found in told.items():
        assert no_networks(path, "checkpoint.pt").headline == found
    assert f"give one of them: {deep}" in str(no_networks(folder / "log" / "mono", "checkpoint.pt"))
    assert f"its folder, {folder}" in str(no_networks(folder / "depth.pth", "checkpoint.pt"))
