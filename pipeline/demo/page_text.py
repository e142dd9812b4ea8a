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
