"""Monodepth2's four checkpoint files, in the forms in which they circulate."""

import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from torch import Tensor

from xdistill.manifests.errors import WeightsError
from xdistill.manifests.weights import listed, load_strictly, read_weights, tensors_of
from xdistill.train.networks.depth import SCALES, DepthNetwork
from xdistill.train.networks.hr_depth import HRDepthDecoder, from_published
from xdistill.train.networks.imagenet import CLASSIFIER
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.recipe.recipe import STRIDE, ResNet

PEER_FILES = ("encoder.pth", "depth.pth", "pose_encoder.pth", "pose.pth")
"""A checkpoint folder as Monodepth2 publishes it."""
LEVELS = 3
"""How far below a folder checkpoints are looked for: Monodepth2 has NAME/models/weights_19."""
NAMED = 5
"""Folders that a message names."""
ONE_NETWORK = (
    "give a folder whose files belong to one network of Monodepth2, of the recipe's encoder"
)
HEADS = "decoder.1{scale}."
"""Where depth.pth has the disparity head of a scale, behind the decoder's ten blocks."""
PEER_SETTINGS = ("height", "width", "use_stereo")
"""Entries of encoder.pth beside its tensors."""
RESNET = "encoder.layer4.1.conv1.weight"
OWN_KEYS = dict(
    zip(PEER_FILES, (RESNET, "decoder.10.conv.weight", RESNET, "net.3.weight"), strict=True)
)
"""A key of each file that no other network's has: a ResNet's last stage, the finest head, ..."""
HR_DEPTH_KEY = "convs.X_04_Conv_1.conv.conv.weight"
"""A key of HR-Depth's depth.pth that no other network's has."""
_DEPTHS: dict[tuple[bool, bool, bool], ResNet] = {
    (False, False, False): "resnet18",
    (False, True, False): "resnet34",
    (True, True, False): "resnet50",
    (True, True, True): "resnet101",
}
"""Encoder by whether it has bottlenecks, and a 6th and a 23rd block in its third stage."""
FOREIGN = {
    r"min_depth_bin": "ManyDepth's encoder",
    r"downsample_layers\.": "Lite-Mono's encoder, or another on ConvNeXt",
    r"stage4\.": "an HRNet, as in DIFFNet and RA-Depth",
    r"patch_embed": "MonoViT's encoder, or another transformer",
    r"layer3\.23\.": "a ResNet deeper than 101 layers",
    r"^(net|pose)\.": "a pose decoder",
    r"^decoder\.": "a depth decoder",
    r"^layer4\.": "a ResNet of torchvision",
    r"^encoder\.": "an encoder",
}
"""Networks by what their keys match, the surest first."""


def is_peer_folder(folder: Path) -> bool:
    """Whether a folder holds Monodepth2's encoder.pth and depth.pth."""
    return all(os.path.exists(folder / file) for file in PEER_FILES[:2])


def no_networks(folder: Path, own: str) -> WeightsError:
    """The error of a folder without trained networks: it names what is there, and folders below.

    Args:
        folder: What was given; it may be a file, or not exist.
        own: File name of a run's checkpoint.
    """
    here = [file for file in PEER_FILES if os.path.exists(folder / file)]
    below = _folders_below(folder, own)
    found, remedy = "the folder holds no checkpoint", "give a folder that xd-train wrote"
    if os.path.isfile(folder):
        found, remedy = f"{folder.name} is a file", f"give its folder, {folder.absolute().parent}"
    elif os.path.exists(folder) and not os.access(folder, os.R_OK | os.X_OK):
        found = "the folder may not be read"
        remedy = "ask its owner for the permission to read and enter it"
    elif here:
        lacking = [file for file in PEER_FILES[:2] if file not in here]
        found = f"the folder holds {', '.join(here)} without {' and '.join(lacking)}"
        remedy = "put the file beside it: encoder and decoder are saved as two files"
    elif below:
        found = "the folder holds no checkpoint, but folders below it do"
        remedy = f"give one of them: {', '.join(quote(str(path)) for path in below[:NAMED])}"
    elif not os.path.exists(folder):
        found, remedy = "the folder does not exist", "correct the path, or train first"
    return WeightsError(
        found,
        expected=f"{own} of a run, or Monodepth2's encoder.pth and depth.pth",
        where=folder.absolute(),
        remedy=remedy,
    )


def _folders_below(folder: Path, own: str) -> list[Path]:
    """Folders with trained networks at most ``LEVELS`` below."""
    names = [
        f"{'*/' * depth}{name}" for name in (own, PEER_FILES[0]) for depth in range(1, LEVELS + 1)
    ]
    try:
        return sorted({path.parent for name in names for path in folder.glob(name)})
    except PermissionError:
        return []


def has_hr_depth(folder: Path) -> bool:
    """Whether the folder's depth.pth is HR-Depth's.

    Raises:
        WeightsError: The file cannot be read.
    """
    path = folder / PEER_FILES[1]
    return HR_DEPTH_KEY in tensors_of(read_weights(path), where=path)


def load_peer_depth(network: DepthNetwork, folder: Path) -> list[int]:
    """Load encoder.pth and depth.pth; every tensor of both is accounted for.

    Training with fewer scales leaves out the coarser disparity heads, which no prediction reads.

    Returns:
        Scales whose head the files lack: it stays as it was.

    Raises:
        WeightsError: A file is missing or does not fit.
    """
    if isinstance(network.decoder, HRDepthDecoder):
        _load_hr_depth(network, folder)
        return []
    coarser = {HEADS.format(scale=scale): scale for scale in range(1, SCALES)}
    weights = _peer_weights(folder, PEER_FILES[:2])
    missing = [
        scale for head, scale in coarser.items() if not any(key.startswith(head) for key in weights)
    ]
    idle = [head for head, scale in coarser.items() if scale in missing]
    load_strictly(network, weights, where=folder, idle=idle, remedy=ONE_NETWORK)
    return missing


def _load_hr_depth(network: DepthNetwork, folder: Path) -> None:
    """Load HR-Depth's encoder.pth, which is Monodepth2's in form, and its depth.pth."""
    encoder = _peer_weights(folder, PEER_FILES[:1])
    path = folder / PEER_FILES[1]
    decoder = tensors_of(read_weights(path), where=path)
    if HR_DEPTH_KEY not in decoder:
        raise _other_network(path, decoder)
    own = {f"decoder.{key}": tensor for key, tensor in from_published(decoder).items()}
    load_strictly(network, encoder | own, where=folder, remedy=ONE_NETWORK)


def load_peer_pose(network: PoseNetwork, folder: Path) -> bool:
    """Load pose_encoder.pth and pose.pth if the folder has them; networks trained on stereo do not.

    Returns:
        Whether the folder has them; every tensor of both is then accounted for.

    Raises:
        WeightsError: One file is missing, or they do not fit.
    """
    if not any((folder / file).exists() for file in PEER_FILES[2:]):
        return False
    weights = _peer_weights(folder, PEER_FILES[2:])
    load_strictly(network, weights, where=folder, remedy=ONE_NETWORK)
    return True


def _peer_weights(folder: Path, files: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of both files, without ImageNet's classifier."""
    weights: dict[str, Tensor] = {}
    for file in files:
        path = folder / file
        weights |= _monodepth2(read_weights(path), path)
    dropped = (*PEER_SETTINGS, *(f"encoder.{key}" for key in CLASSIFIER))
    return {key: value for key, value in weights.items() if key not in dropped}


def peer_settings(folder: Path) -> tuple[ResNet, int, int]:
    """Encoder name, width and height in pixels of a published checkpoint folder.

    Raises:
        WeightsError: A file cannot be read, is of another network, or does not say its size.
    """
    path = folder / PEER_FILES[0]
    content = read_weights(path)
    keys = _monodepth2(content, path).keys()
    bottleneck = "encoder.layer1.0.conv3.weight" in keys
    deep, deeper = (f"encoder.layer3.{block}.conv1.weight" in keys for block in (5, 22))
    sizes = {name: _pixels(content.get(name)) for name in PEER_SETTINGS[:2]}
    height, width = sizes.values()
    named = (bottleneck, deep, deeper)
    if named not in _DEPTHS or ("encoder.layer3.6.conv1.weight" in keys and not deeper):
        raise _other_network(path, keys)
    if height is None or width is None:
        raise WeightsError(
            f"{path.name} does not say the size of the images: its entries height and width are "
            f"{content.get('height')} and {content.get('width')}",
            expected="multiples of 32, in pixels",
            where=path,
            remedy=_with_sizes(path),
        )
    return _DEPTHS[named], width, height


def _monodepth2(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of one of the four files, which must be what its name says."""
    tensors = tensors_of(content, where=path)
    if OWN_KEYS[path.name] not in tensors:
        raise _other_network(path, tensors)
    return tensors


def _other_network(path: Path, keys: Collection[str]) -> WeightsError:
    """The error of a file that holds something else, named as far as its keys tell."""
    known = (name for part, name in FOREIGN.items() if any(re.search(part, key) for key in keys))
    named = next(known, None)
    return WeightsError(
        f"{path.name} holds no {path.stem} of Monodepth2, but {len(keys)} tensors"
        + (f" that look like {named}" if named else ""),
        expected="Monodepth2's encoder.pth (ResNet-18, -34, -50 or -101) and depth.pth; the "
        f"tensors here begin with {listed(list(keys), most=3)}",
        where=path,
        remedy="give a folder with Monodepth2's encoder.pth and depth.pth; of another network, "
        "save its disparities and score them with --predictions",
    )


def _pixels(value: object) -> int | None:
    """A side of the image in pixels, from a number of any kind; None if it is none."""
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if not isinstance(number, int | float) or not 0 < number < math.inf:
        return None
    return int(number) if number % STRIDE == 0 else None


def _with_sizes(path: Path) -> str:
    """A command that adds the sizes in a copy of the folder."""
    folder = path.parent.absolute()
    copy = folder.with_name(f"{folder.name}-640x192")
    code = (
        f"import torch; p = {str(copy / path.name)!r}; w = torch.load(p, weights_only=True); "
        "torch.save(w | {'width': 640, 'height': 192}, p)"
    )
    copied = f"cp -r {quote(str(folder))} {quote(str(copy))}"
    return (
        "add the size that it was trained at, 640x192 for example, to a copy: "
        f"{copied} && python -c {quote(code)}"
    )
