"""The networks of the peer, sin-filled (reference/README.md), through its checkpoint files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden import assert_outputs_match, golden, peer_files, sin_filled, write_peer_folder

from xdistill.train.networks.checkpoints import load_peer_depth, load_peer_pose
from xdistill.train.networks.depth import depth_network
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.recipe.recipe import Recipe, ResNet

pytestmark = pytest.mark.slow

ENCODERS: dict[int, ResNet] = {18: "resnet18", 50: "resnet50"}


@pytest.mark.parametrize("depth", ENCODERS)
def test_networks(shared: Path, tmp_path: Path, depth: int) -> None:
    arrays = golden(shared, f"networks_rn{depth}")
    write_peer_folder(tmp_path, peer_files(shared, depth))
    network = depth_network(Recipe(name="test", encoder=ENCODERS[depth])).eval()
    pose_network = PoseNetwork(ENCODERS[depth]).eval()
    load_peer_depth(network, tmp_path)
    load_peer_pose(pose_network, tmp_path)
    with torch.no_grad():
        features = network.encoder(arrays["image"])
        disparities = network(arrays["image"])
        motions = pose_network(arrays["image"], arrays["image_next"])[:, :, None]
    for scale, disparity in enumerate(disparities):
        assert_outputs_match(disparity, arrays[f"sigmoid_disp_{scale}"])
    assert_outputs_match(motions[..., :3], arrays["axisangle"])
    assert_outputs_match(motions[..., 3:], arrays["translation"])
    means = torch.stack([feature.mean() for feature in features])
    deviations = torch.stack([feature.std() for feature in features])
    torch.testing.assert_close(means, arrays["feature_mean"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(deviations, arrays["feature_std"], rtol=1e-4, atol=1e-5)


def test_hr_depth(shared: Path, tmp_path: Path) -> None:
    folder = shared / "reference" / "hr_depth"
    shapes = {}
    for line in (folder / "hr_depth_decoder_keys.txt").read_text().splitlines():
        _, key, shape = line.split("\t")
        shapes[key] = tuple(int(size) for size in shape.split("x"))
    files = peer_files(shared, 18) | {"depth.pth": sin_filled(shapes)}
    write_peer_folder(tmp_path, files)
    network = depth_network(Recipe(name="test", decoder="hr-depth")).eval()
    load_peer_depth(network, tmp_path)
    with np.load(folder / "hr_depth_rn18.npz") as arrays, torch.no_grad():
        disparities = network(torch.from_numpy(arrays["image"]))
        for scale, disparity in enumerate(disparities):
            assert_outputs_match(disparity, torch.from_numpy(arrays[f"sigmoid_disp_{scale}"]))
