"""The networks of the peer, sin-filled (reference/README.md), through its checkpoint files."""

from pathlib import Path

import pytest
import torch
from golden import assert_outputs_match, golden, peer_files, write_peer_folder

from xdistill.train.networks.checkpoints import load_peer_depth, load_peer_pose
from xdistill.train.networks.depth import monodepth2
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.recipe.recipe import ResNet

pytestmark = pytest.mark.slow

ENCODERS: dict[int, ResNet] = {18: "resnet18", 50: "resnet50"}


@pytest.mark.parametrize("depth", ENCODERS)
def test_networks(shared: Path, tmp_path: Path, depth: int) -> None:
    arrays = golden(shared, f"networks_rn{depth}")
    write_peer_folder(tmp_path, peer_files(shared, depth))
    depth_network = monodepth2(ENCODERS[depth]).eval()
    pose_network = PoseNetwork(ENCODERS[depth]).eval()
    load_peer_depth(depth_network, tmp_path)
    load_peer_pose(pose_network, tmp_path)
    with torch.no_grad():
        features = depth_network.encoder(arrays["image"])
        disparities = depth_network(arrays["image"])
        motions = pose_network(arrays["image"], arrays["image_next"])[:, :, None]
    for scale, disparity in enumerate(disparities):
        assert_outputs_match(disparity, arrays[f"sigmoid_disp_{scale}"])
    assert_outputs_match(motions[..., :3], arrays["axisangle"])
    assert_outputs_match(motions[..., 3:], arrays["translation"])
    means = torch.stack([feature.mean() for feature in features])
    deviations = torch.stack([feature.std() for feature in features])
    torch.testing.assert_close(means, arrays["feature_mean"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(deviations, arrays["feature_std"], rtol=1e-4, atol=1e-5)
