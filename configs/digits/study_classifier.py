# The classifier of the study of backbones: small crops, a small net, few steps.
# Its data is not the default one: docs/study.md has the command.
_base_ = "sreresnet18_digits.py"

model = dict(
    # A plain ResNet: three stages of bottleneck blocks, a quarter of the usual width.
    backbone=dict(
        _delete_=True,
        type="mmres_plugin.SReResNet",
        recursions=0,
        depth=(2, 2, 2),
        num_stages=3,
        out_indices=(2,),
        stem_channels=16,
        base_channels=16,
        zero_init_residual=False,
    ),
)

dataset = dict(data_root="data/small_digits/classification")
train_dataloader = dict(batch_size=32, num_workers=0, persistent_workers=False, dataset=dataset)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
test_dataloader = val_dataloader

train_cfg = dict(_delete_=True, by_epoch=False, max_iters=400, val_interval=400)
optim_wrapper = dict(optimizer=dict(lr=5e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=40),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=0, end=400),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=400))
log_processor = dict(by_epoch=False)
