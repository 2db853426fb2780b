"""Every family in shipped detectors of MMDetection, with nothing changed but the backbone."""

import math

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope

from mmres_plugin.checks import fill_channels
from mmres_plugin.config_parts import dicts
from mmres_plugin.registry import BACKBONES

# Beside RetinaNet those that no shipped config has.
DETECTORS = [
    "retinanet/retinanet_r50_fpn_1x_coco",
    "detr/detr_r50_8xb2-150e_coco",
    "yolof/yolof_r50-c5_8xb8-1x_coco",
    "centernet/centernet_r18_8xb16-crop512-140e_coco",
]
SMALL = {
    "feedforward_channels": 64,
    "num_queries": 20,
    "num": 16,
    "nms_pre": 50,
    "max_per_img": 20,
}
FAMILIES = sorted(BACKBONES)
# Each family in one detector, and each detector at least once.
PAIRS = [(DETECTORS[index % len(DETECTORS)], name) for index, name in enumerate(FAMILIES)]


def quick(pair: tuple[str, str]):
    """The first pair runs in every suite, the others take their time."""
    marks = [] if pair == PAIRS[0] else [pytest.mark.slow]
    return pytest.param(*pair, marks=marks, id=f"{pair[1]}-{pair[0].partition('/')[0]}")


@pytest.mark.parametrize(("detector", "family"), map(quick, PAIRS))
def test_steps_of_training(detector, family):
    torch.manual_seed(1)  # with which no ReLU is dead for all pixels of these small images
    cfg = Config.fromstring(f"_base_ = 'mmdet::{detector}.py'", ".py")
    cfg.model.backbone = dict(
        type=f"mmres_plugin.{family}",
        depth=(2, 2, 2, 2),
        base_channels=32,
        zero_init_residual=False,  # or the branches would have no gradient in the first step
        out_indices=cfg.model.backbone.get("out_indices", (0, 1, 2, 3)),
    )
    if "centernet" in detector:
        cfg.model.backbone.out_indices = (3,)
    for _, part in dicts(cfg.model, "model"):  # smaller, to be quicker
        part.update({key: SMALL[key] for key in SMALL if isinstance(part.get(key), int)})
    changed = fill_channels(cfg)
    assert changed, "the table of channels was that of ResNet-50"
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
        model.init_weights()
        data = demo_mm_inputs(2, [[3, 64, 64], [3, 96, 64]], num_classes=80)
        model.train()
        before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
        sgd = torch.optim.SGD(model.parameters(), lr=0.01)
        optimizer = OptimWrapper(sgd, clip_grad=dict(max_norm=1.0))
        totals = []
        for _ in range(3):
            torch.manual_seed(0)  # the same noise, and the same choice of proposals
            losses = model.train_step(data, optimizer)
            totals.append(float(model.parse_losses(losses)[0]))
    assert all(map(math.isfinite, totals)), totals
    assert min(totals[1:]) < totals[0], totals
    still = [name for name, p in model.backbone.named_parameters() if torch.equal(p, before[name])]
    assert not still, "not trained"
