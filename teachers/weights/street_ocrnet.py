# The street teacher: OCRNet (Yuan et al., ECCV 2020) on an HRNet (Wang et al., TPAMI 2021) that is
# narrow enough for a CPU: 0.85 M parameters. Trained by xdistill.pipeline.street.teacher.training.
norm_cfg = dict(type="BN", requires_grad=True)
widths = (16, 32, 48, 64)
blocks = (2, 2, 2, 2)
head = dict(
    in_channels=widths,
    in_index=(0, 1, 2, 3),
    input_transform="resize_concat",
    channels=64,
    num_classes=19,
    norm_cfg=norm_cfg,
    align_corners=False,
    dropout_ratio=-1,
)
model = dict(
    type="CascadeEncoderDecoder",
    num_stages=2,
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="HRNet",
        norm_cfg=norm_cfg,
        norm_eval=False,
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block="BASIC",
                num_blocks=(1,),
                num_channels=(32,),
            ),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block="BASIC",
                num_blocks=blocks[:2],
                num_channels=widths[:2],
            ),
            stage3=dict(
                num_modules=1,
                num_branches=3,
                block="BASIC",
                num_blocks=blocks[:3],
                num_channels=widths[:3],
            ),
            stage4=dict(
                num_modules=1,
                num_branches=4,
                block="BASIC",
                num_blocks=blocks,
                num_channels=widths,
            ),
        ),
    ),
    decode_head=[
        dict(type="FCNHead", num_convs=1, kernel_size=1, concat_input=False, **head),
        dict(type="OCRHead", ocr_channels=32, **head),
    ],
    test_cfg=dict(mode="whole"),
)
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(384, 128), keep_ratio=True),
    dict(type="PackSegInputs"),
]
default_scope = "mmseg"
