"""Golden arrays of the reference material: reading them, filling networks, comparing."""

from pathlib import Path

import numpy as np
import torch

Files = dict[str, dict[str, torch.Tensor]]


def golden(shared: Path, name: str) -> dict[str, torch.Tensor]:
    """The arrays of one file as tensors."""
    with np.load(shared / "reference" / "monodepth2" / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def assert_match(found: torch.Tensor, expected: torch.Tensor) -> None:
    """max|a - b| <= 1e-5 max|b|: the tolerance of losses, warps, gradients and metrics."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def assert_outputs_match(found: torch.Tensor, expected: torch.Tensor) -> None:
    """max|a - b| <= 5e-3 std(b): the tolerance of network outputs."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 5e-3 * expected.std()


def sin_filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The reference's filling of one state dict, over its sorted keys."""
    filled = {}
    for k, key in enumerate(sorted(shapes)):
        shape = shapes[key]
        count = int(np.prod(shape, dtype=np.int64))
        x = np.sin(0.7311 * np.arange(count) + 1.37 * k).reshape(shape)
        if key.endswith("num_batches_tracked"):
            filled[key] = torch.zeros(shape, dtype=torch.int64)
            continue
        if len(shape) >= 2:
            x = x * np.sqrt(2 / np.prod(shape[1:]))
        elif key.endswith(("running_var", "weight")):
            x = 1 + 0.1 * x
        else:
            x = 0.05 * x
        filled[key] = torch.tensor(x, dtype=torch.float32)
    return filled


def peer_files(shared: Path, depth: int) -> Files:
    """The four published checkpoint files of a ResNet depth, sin-filled."""
    listing = shared / "reference" / "monodepth2" / f"checkpoint_keys_rn{depth}.txt"
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for line in listing.read_text().splitlines():
        file, key, shape = line.split("\t")
        sizes = tuple(int(size) for size in shape.split("x")) if shape else ()
        shapes.setdefault(file, {})[key] = sizes
    return {file: sin_filled(shapes[file]) for file in shapes}


def write_peer_folder(folder: Path, files: Files, *, width: int = 96, height: int = 64) -> None:
    """Save the four files as the peer publishes them."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"height": height, "width": width, "use_stereo": False}
    for file, weights in files.items():
        extra = settings if file == "encoder.pth" else {}
        torch.save({**weights, **extra}, folder / file)
