"""What can be wrong with a label store."""

from xdistill.manifests.errors import XDistillError


class LabelStoreError(XDistillError, OSError):
    """A label store that is missing, foreign, damaged, full or read-only."""


class CorruptLabelsError(LabelStoreError):
    """Bytes of a store that do not match their checksum."""


class UncommittedFrameError(LabelStoreError):
    """A frame that has no labels yet."""


class NoLocksError(LabelStoreError):
    """A file system without the locks that keep two writers off one shard."""
