"""FCOS with SReResNet-50, the authors' recipe: Caffe style and weights, frozen batch norms."""

_base_ = "../_base_/fcos_1x.py"

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        type="mmres_plugin.SReResNet",
        style="caffe",
        norm_cfg=dict(type="BN", requires_grad=False),
        init_cfg=dict(
            _delete_=True, type="Pretrained", checkpoint="open-mmlab://detectron2/resnet50_caffe"
        ),
    ),
)
auto_scale_lr = dict(base_batch_size=8)
