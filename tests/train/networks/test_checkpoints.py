import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from xdistill.manifests.download import cache_folder
from xdistill.manifests.errors import FetchError
from xdistill.train.networks import checkpoints
from xdistill.train.networks.checkpoints import (
    WeightsError,
    load_encoder,
    load_strictly,
    peer_settings,
    read_weights,
)
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
    load_encoder(target, str(torchvision_file(tmp_path / "w.pth", source)), name="resnet18")
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


def test_two_equal_images_look_like_one(narrow: None, tmp_path: Path) -> None:
    one = ResNetEncoder("resnet18").eval()
    two = ResNetEncoder("resnet18", images=2).eval()
    load_encoder(two, str(torchvision_file(tmp_path / "w.pth", one)), name="resnet18")
    image = torch.rand(1, 3, 64, 64)
    doubled = two(torch.cat([image, image], 1))[-1]
    torch.testing.assert_close(doubled, one(image)[-1], rtol=1e-3, atol=1e-3)


def test_none_leaves_the_encoder_as_it_is(narrow: None) -> None:
    encoder = ResNetEncoder("resnet18")
    before = encoder.conv1.weight.clone()
    load_encoder(encoder, "none", name="resnet18")
    assert torch.equal(encoder.conv1.weight, before)


def test_imagenet_weights_without_a_network_name_address_and_place(
    narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "IMAGENET_ADDRESS", "file:///nowhere/")
    with pytest.raises(FetchError) as caught:
        load_encoder(ResNetEncoder("resnet18"), "imagenet", name="resnet18")
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
    monkeypatch.setitem(checkpoints.IMAGENET_FILES, "resnet18", right)
    load_encoder(target, "imagenet", name="resnet18")
    assert torch.equal(target.conv1.weight, source.conv1.weight)
    monkeypatch.setitem(checkpoints.IMAGENET_FILES, "resnet18", wrong)
    with pytest.raises(FetchError, match="begins with 00000000"):
        load_encoder(target, "imagenet", name="resnet18")


def test_missing_unknown_and_reshaped_keys_are_named(narrow: None) -> None:
    encoder = ResNetEncoder("resnet18")
    weights = dict(encoder.state_dict())
    weights["bn1.weight"] = torch.ones(3)
    weights["extra"] = torch.ones(1)
    del weights["bn1.bias"]
    with pytest.raises(WeightsError) as caught:
        load_strictly(encoder, weights, where=Path("w.pth"))
    message = str(caught.value)
    assert "missing: bn1.bias" in message and "unknown: extra" in message
    assert "bn1.weight (3,) for (64,)" in message and "w.pth" in message


def test_an_encoder_of_another_depth_is_refused(narrow: None, tmp_path: Path) -> None:
    path = torchvision_file(tmp_path / "w.pth", ResNetEncoder("resnet34"))
    with pytest.raises(WeightsError, match="unknown: layer1.2"):
        load_encoder(ResNetEncoder("resnet18"), str(path), name="resnet18")


class Harmful:
    def __reduce__(self) -> tuple[type, tuple[str]]:
        return (Path, ("harm",))


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps(Harmful(), 2)])
def test_what_is_no_weights_is_refused_unread(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth"):
        read_weights(path)


def test_code_within_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"weight": Harmful()}, path)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(path)


def test_missing_file_and_other_content(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path / "absent.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="a list"):
        read_weights(tmp_path / "list.pth")


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_encoder_and_size_are_found_in_published_files(
    narrow: None, tmp_path: Path, name: str
) -> None:
    weights = ResNetEncoder(name).state_dict()  # type: ignore[arg-type]
    peer = {f"encoder.{key}": value for key, value in weights.items()}
    torch.save({**peer, "height": 320, "width": 1024}, tmp_path / "encoder.pth")
    assert peer_settings(tmp_path) == (name, 1024, 320)
    torch.save(peer, tmp_path / "encoder.pth")
    with pytest.raises(WeightsError, match="no Monodepth2 encoder"):
        peer_settings(tmp_path)
