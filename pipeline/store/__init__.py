"""Labels on disk: a zarr v3 store that loses nothing and is fast to read."""

from xdistill.pipeline.store.array import LabelArray
from xdistill.pipeline.store.errors import (
    CorruptLabelsError,
    LabelStoreError,
    NoLocksError,
    UncommittedFrameError,
)
from xdistill.pipeline.store.format import SHARD_FRAMES
from xdistill.pipeline.store.reader import LabelReader, open_store
from xdistill.pipeline.store.store import LabelStore

__all__ = [
    "SHARD_FRAMES",
    "CorruptLabelsError",
    "LabelArray",
    "LabelReader",
    "LabelStore",
    "LabelStoreError",
    "NoLocksError",
    "UncommittedFrameError",
    "open_store",
]
