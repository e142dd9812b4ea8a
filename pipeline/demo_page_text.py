"""What the report says in words."""

INTRODUCTION = (
    "A depth network learns from video alone; a second one is also told, through its own depth, "
    "what a segmentation teacher saw (X-Distill, Cai et al., BMVC 2021). Both were trained on a "
    "small procedural street with the commands that are used on KITTI. The street is no benchmark: "
    "it shows that the whole flow works, not how well the method does on real roads."
)
PAIRED = (
    "Both rows share seed, data order and augmentation; they differ in the distillation alone. "
    "One pair of runs proves nothing: docs/ablation.md has paired seeds with an interval. "
    "Eigen protocol: Garg crop, 80 m, median scaling, LiDAR as truth."
)
DEPARTURES = (
    "Networks: a residual encoder with a quarter of ResNet-18's channels and half of Monodepth2's "
    "decoder, from random weights; the papers use ResNet-50 from ImageNet.",
    "Size and length: 192x64 pixels, batches of 4, minutes of training; the papers use 640x192, "
    "batches of 12 and 20 epochs of 39,810 frames. Learning rate 1e-3 in place of 1e-4.",
    "Depth: the disparity starts from a fixed row prior, a flat road below the camera, in place of "
    "a uniform value; range 1-100 in place of 0.1-100.",
    "Poses: a small network on matching costs between the two frames, in place of a ResNet on the "
    "stacked frames, which needs ImageNet weights to learn motions that vary.",
    "Auto-mask: not from the first step. Before it starts, the loss is the mean over both source "
    "frames in place of the minimum.",
    "Teacher: a narrow OCRNet trained on other streets, in place of HRNet-48 + OCR + InverseForm.",
    "Intrinsics: read from the calibration, in place of one matrix for every drive.",
)
JUMP = (
    "The photometric loss falls at one step where the auto-mask starts: from there it is a minimum "
    "over the source frames, warped and unwarped, in place of a mean over the warped ones."
)
ON_KITTI = """\
# 175 GB of KITTI raw under ./kitti, a GPU, and the full networks
xd-pipeline segment --data kitti --split kitti-eigen-zhou-train --teacher ocrnet-hr48 --device cuda
xd-pipeline regroup --scheme 4
xd-train --data kitti --recipe monodepth2-rn50 --out runs/baseline
xd-train --data kitti --recipe xdistill-rn50 --out runs/distilled
xd-eval --data kitti --run runs/baseline
xd-eval --data kitti --run runs/distilled"""
