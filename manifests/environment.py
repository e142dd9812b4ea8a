"""Folders that environment variables name.

``~`` is expanded here, since no shell does it in a job script's ``--export`` or a Dockerfile.
"""

import os
from pathlib import Path

from xdistill.manifests.disk import as_path

DATA = "XDISTILL_DATA"
"""KITTI raw root, where ``--data`` is not given."""
CACHE = "XDISTILL_CACHE"
"""Downloaded and derived files."""
SPLITS = "XDISTILL_SPLITS"
"""Split lists laid out as published: ``eigen/test_files.txt`` and so on."""


def folder(variable: str) -> Path | None:
    """The folder that a variable names; None where it is unset or empty."""
    text = os.environ.get(variable)
    return as_path(text) if text else None
