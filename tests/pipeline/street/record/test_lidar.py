"""What a scan looks like."""

from pathlib import Path

import numpy as np

from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.kitti.velodyne import read_scan, scan_path


def test_scans_have_rings(street: Path) -> None:
    frame = find_frames(street, drives=["0001"], cameras=["l"])[0]
    x, y, z, _ = read_scan(scan_path(street, frame)).T
    elevation = np.round(np.degrees(np.arctan2(z, np.hypot(x, y))), 1)
    assert -24.4 <= elevation.min() < -20 and 0 < elevation.max() <= 2.0
    assert 40 < len(np.unique(elevation)) <= 64
