# The detector of the study of backbones: small scenes, a small net, few steps.
# Its data is not the default one: docs/study.md has the command.
_base_ = "fcos_sreresnet18_digits.py"

model = dict(
    # That of study_classifier.py.
    backbone=dict(
        _delete_=True,
        type="mmres_plugin.SReResNet",
        recursions=0,
        depth=(2, 2, 2),
        num_stages=3,
        out_indices=(1, 2),
        stem_channels=16,
        base_channels=16,
        zero_init_residual=False,
        frozen_stages=-1,
        norm_eval=True,
        init_cfg=dict(
            type="Pretrained",
            checkpoint="work_dirs/study_classifier/epoch_1.pth",
            prefix="backbone.",
        ),
    ),
    neck=dict(in_channels=[128, 256], out_channels=64, num_outs=2),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        strides=[8, 16],
        regress_ranges=((-1, 32), (32, 1e8)),
    ),
)

data_root = "data/small_digits/detection/"
scale = (128, 128)
dataset = dict(data_root=data_root)
_base_.train_pipeline[2].scale = scale
_base_.test_pipeline[1].scale = scale
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=_base_.train_pipeline),
)
val_dataloader = dict(
    batch_size=20,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=_base_.test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "annotations/instances_val2017.json")
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=3, val_interval=3)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", begin=0, end=3, by_epoch=True, convert_to_iter_based=True),
]
