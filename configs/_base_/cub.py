"""CUB-200-2011 at 448 pixels: 64 images per step (8×8), lr 0.01, 100 epochs, warm-up and cosine.

MMPretrain's recipe, with backbones of our checkpoints (their names start with ``backbone.``).
"""

_base_ = "mmpretrain::resnet/resnet50_8xb8_cub.py"

model = dict(
    _scope_="mmpretrain",
    backbone=dict(_delete_=True, depth=50, init_cfg=dict(type="Pretrained", prefix="backbone.")),
)
