"""ImageNet's weights and other state dicts of torchvision's in the encoders."""

import hashlib
from pathlib import Path

import pytest
import torch

from xdistill.manifests.download import cache_folder
from xdistill.manifests.errors import FetchError, WeightsError
from xdistill.train.networks import imagenet
from xdistill.train.networks.resnet import ResNetEncoder


def torchvision_file(path: Path, encoder: ResNetEncoder) -> Path:
    """An encoder's weights in torchvision's form: a classifier, no count of batches."""
    weights = encoder.state_dict()
    kept = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    classifier = {"fc.weight": torch.ones(1000, 8), "fc.bias": torch.ones(1000)}
    torch.save(kept | classifier, path)
    return path


def test_encoder_from_a_file(narrow: None, tmp_path: Path) -> None:
    source, target = ResNetEncoder("resnet18"), ResNetEncoder("resnet18")
    target.start_from(str(torchvision_file(tmp_path / "w.pth", source)))
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


def test_two_equal_images_look_like_one(narrow: None, tmp_path: Path) -> None:
    one = ResNetEncoder("resnet18").eval()
    two = ResNetEncoder("resnet18", images=2).eval()
    two.start_from(str(torchvision_file(tmp_path / "w.pth", one)))
    image = torch.rand(1, 3, 64, 64)
    doubled = two(torch.cat([image, image], 1))[-1]
    torch.testing.assert_close(doubled, one(image)[-1], rtol=1e-3, atol=1e-3)


def test_imagenet_weights_without_a_network_name_address_and_place(
    narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "IMAGENET_ADDRESS", "file:///nowhere/")
    with pytest.raises(FetchError) as caught:
        ResNetEncoder("resnet18").start_from("imagenet")
    target = cache_folder() / "weights" / "resnet18-f37072fd.pth"
    assert "file:///nowhere/resnet18-f37072fd.pth" in str(caught.value)
    assert f"put it at {target}" in str(caught.value)


def test_imagenet_weights_are_checked_against_their_name(
    narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache_folder() / "weights"
    folder.mkdir(parents=True)
    source = ResNetEncoder("resnet18")
    written = torchvision_file(folder / "written", source)
    prefix = hashlib.sha256(written.read_bytes()).hexdigest()[:8]
    right, wrong = f"resnet18-{prefix}.pth", "resnet18-00000000.pth"
    for name in (right, wrong):
        (folder / name).write_bytes(written.read_bytes())
    target = ResNetEncoder("resnet18")
    monkeypatch.setitem(imagenet.IMAGENET_FILES, "resnet18", right)
    target.start_from("imagenet")
    assert torch.equal(target.conv1.weight, source.conv1.weight)
    monkeypatch.setitem(imagenet.IMAGENET_FILES, "resnet18", wrong)
    with pytest.raises(FetchError, match="begins with 00000000"):
        target.start_from("imagenet")


def test_an_encoder_of_another_depth_is_refused(narrow: None, tmp_path: Path) -> None:
    path = torchvision_file(tmp_path / "w.pth", ResNetEncoder("resnet34"))
    with pytest.raises(WeightsError, match=r"unexpected \(\d+\): layer1.2"):
        ResNetEncoder("resnet18").start_from(str(path))
