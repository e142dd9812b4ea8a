"""KITTI raw data: frames, split lists, calibration, recorded poses and LiDAR."""
