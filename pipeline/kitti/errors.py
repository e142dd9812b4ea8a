"""What can be wrong with a KITTI raw folder."""

from xdistill.manifests.errors import XDistillError


class KittiError(XDistillError, OSError):
    """A folder, drive or file of KITTI raw that is missing."""


class MissingFrameError(KittiError, FileNotFoundError):
    """Requested frames that are not on disk."""


class ImageError(XDistillError, OSError):
    """An image that is missing, truncated or damaged, or an array that is not an RGB image."""


class SplitError(XDistillError, ValueError):
    """A split list that is missing, empty or malformed."""


class CalibrationError(XDistillError, ValueError):
    """A calibration file that is missing or lacks a key."""


class PoseError(XDistillError, ValueError):
    """An oxts record that is missing or malformed."""


class ScanError(XDistillError, OSError):
    """A velodyne scan that is missing or truncated."""
