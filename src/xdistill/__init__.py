"""Offline teacher labels and a lean trainer for self-supervised monocular depth.

The names below are loaded on first use, so that ``import xdistill`` is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xdistill.manifests.errors import XDistillError
    from xdistill.pipeline.kitti.frames import Frame, image_path
    from xdistill.pipeline.kitti.splits import list_frames
    from xdistill.pipeline.kitti.velodyne import lidar_depth
    from xdistill.pipeline.labelling.image import label_image
    from xdistill.pipeline.store.reader import open_store
    from xdistill.teachers.choice.spec import load_teacher
    from xdistill.train.evaluation.depth_model import load_depth_model
    from xdistill.train.evaluation.protocols import score_depth

    __version__: str

__all__ = [
    "Frame",
    "XDistillError",
    "__version__",
    "image_path",
    "label_image",
    "lidar_depth",
    "list_frames",
    "load_depth_model",
    "load_teacher",
    "open_store",
    "score_depth",
]

_MODULES = {
    "Frame": "pipeline.kitti.frames",
    "XDistillError": "manifests.errors",
    "image_path": "pipeline.kitti.frames",
    "label_image": "pipeline.labelling.image",
    "lidar_depth": "pipeline.kitti.velodyne",
    "list_frames": "pipeline.kitti.splits",
    "load_depth_model": "train.evaluation.depth_model",
    "load_teacher": "teachers.choice.spec",
    "open_store": "pipeline.store.reader",
    "score_depth": "train.evaluation.protocols",
}


# Type checkers read the imports above; this function would make every name valid for them.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a name on first use."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("xdistill")
        elif name in _MODULES:
            value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
