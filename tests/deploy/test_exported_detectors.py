"""Whole detectors: the same boxes as MMDetection's own test_step, in torch and in ONNX Runtime."""

import pytest
import torch
from helpers import randomise
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mmres_plugin.checks import fill_channels
from mmres_plugin.config_parts import dicts
from mmres_plugin.deploy.export import Exported, export_onnx
from mmres_plugin.deploy.exported_model import Session
from mmres_plugin.deploy.nms import suppress
from mmres_plugin.deploy.verify import compare_detections, verify
from mmres_plugin.errors import UserError

SMALL = {"fc_out_channels": 32, "nms_pre": 60, "max_per_img": 40, "stacked_convs": 1}
SMALL["score_thr"] = 0.001
# Each in another family. They differ in priors, coders, score factors and stages.
DETECTORS = {
    "fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco": "IResNet",
    "retinanet/retinanet_r50_fpn_1x_coco": "SEResNeXt",
    "atss/atss_r50_fpn_1x_coco": "EDResNet",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco": "ResNeXt",
    "yolof/yolof_r50-c5_8xb8-1x_coco": "ResNeXt",
    "fsaf/fsaf_r50_fpn_1x_coco": "IResGroup",
}


def detector(name: str, family: str = "SEResNet", **settings) -> nn.Module:
    """The detector of an MMDetection config, small, with random weights and many detections."""
    torch.manual_seed(0)
    cfg = Config.fromstring(f"_base_ = 'mmdet::{name}.py'", ".py")
    cfg.merge_from_dict(settings)
    cfg.model.backbone = dict(
        type=f"mmres_plugin.{family}",
        depth=(1, 1, 1, 1),
        base_channels=32,
        out_indices=cfg.model.backbone.get("out_indices", (0, 1, 2, 3)),
    )
    for _, part in dicts(cfg.model, "model"):
        part.update({key: SMALL[key] for key in SMALL if (part.get(key) or 0) > 0})
        part.update({key: 64 for key in part if key.endswith("_channels") and part[key] == 256})
    fill_channels(cfg)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = randomise(MODELS.build(cfg.model))
    for key, weight in model.named_parameters():
        # Scores that are all 1 have no order, and boxes of any size only their clipped borders.
        if key.endswith(("cls.weight", "cls_score.weight", "reg.weight", "bbox_pred.weight")):
            weight.data *= 0.1
    model.cfg = cfg
    return model


def pictures(*shape: int) -> torch.Tensor:
    """Smooth random images, N×H×W×3."""
    number, height, width = shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(number, 3, height // 8, width // 8, generator=generator) * 255
    fine = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255)
    return fine.byte().permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("name", DETECTORS)
def test_same_detections_as_mmdetection(name):
    """In torch: what is exported, before it is a file."""
    model = detector(name, DETECTORS[name])
    exported = Exported(model)

    def run(images):
        with torch.no_grad():
            return dict(zip(exported.output_names, exported(images), strict=True))

    batches = [pictures(2, 72, 88), pictures(1, 64, 48)]
    difference, count = verify(exported, model, run, batches)
    assert difference < 1e-5
    assert count > 60  # of 120 at most


@pytest.mark.slow
# The decoding of FSAF's boxes fixes height and width, which the exporter refuses.
@pytest.mark.parametrize("name", [name for name in DETECTORS if not name.startswith("fsaf")])
def test_onnx(name, tmp_path):
    """One file for all batches and sizes, those of another parity as well."""
    model = detector(name, DETECTORS[name])
    exported = Exported(model)
    export_onnx(exported, tmp_path / "model.onnx", (64, 96))
    batches = [pictures(3, 72, 88), pictures(1, 136, 64), pictures(1, 64, 64)[:, :61, :35]]
    difference, count = verify(exported, model, Session(tmp_path / "model.onnx"), batches)
    assert difference < 1e-5
    assert count > 100


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("gfl/gfl_r50", {}, "a detector with GFLHead cannot be exported"),
        ("mask_rcnn/mask-rcnn_r50", {}, "FCNMaskHead cannot be exported: masks are not covered"),
        ("retinanet/retinanet_r50", {"test_cfg.nms.type": "soft_nms"}, "test_cfg.nms=.*soft_nms"),
        (
            "retinanet/retinanet_r50",
            {"bbox_head.bbox_coder.type": "LegacyDeltaXYWHBBoxCoder"},
            "a detector with LegacyDeltaXYWHBBoxCoder cannot be exported: its decoding",
        ),
        ("retinanet/retinanet_r50", {"test_cfg": None}, "test_cfg.nms=None cannot be exported"),
        ("retinanet/retinanet_r50", {"test_cfg.nms": "nms"}, "test_cfg.nms=nms cannot be exp"),
        ("retinanet/retinanet_r50", {"test_cfg.nms_pre": -1}, "nms_pre=-1: must be above 0"),
        ("retinanet/retinanet_r50", {"test_cfg.max_per_img": None}, "max_per_img=None: must be"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(name, settings, message):
    with pytest.raises(UserError, match=message):
        changed = {f"model.{key}": value for key, value in settings.items()}
        Exported(detector(f"{name}_fpn_1x_coco", **changed))


def test_suppression():
    """Worked by hand: overlap within a class, across classes, too many, and none."""
    box = [0.0, 0.0, 10.0, 10.0]
    beside = [0.0, 0.0, 10.0, 9.0]  # overlaps it by 0.9
    far = [50.0, 50.0, 60.0, 60.0]
    boxes = torch.tensor([[box, beside, beside, far, far], [box, beside, far, far, far]])
    scores = torch.tensor([[0.5, 0.9, 0.8, 0.1, -1.0], [-1.0, -1.0, -1.0, -1.0, -1.0]])
    labels = torch.tensor([[0, 0, 1, 0, 0]]).expand(2, -1)
    kept, values, classes, counts = suppress(boxes, scores, labels, (0.5, False), 4)
    assert counts.tolist() == [3, 0]
    assert values[0].tolist() == pytest.approx([0.9, 0.8, 0.1, 0.0])
    assert classes.tolist() == [[0, 1, 0, -1], [-1] * 4]
    assert kept[0].tolist() == [beside, beside, far, [0.0] * 4]
    assert not kept[1].any()
    agnostic = suppress(boxes, scores, labels, (0.5, True), 4)
    assert agnostic[1][0].tolist() == pytest.approx([0.9, 0.1, 0.0, 0.0])
    assert suppress(boxes, scores, labels, (0.5, False), 2)[3].tolist() == [2, 0]


class Limits:
    """Stands for an exported detector with these limits."""

    class model:
        most, threshold = 4, 0.05


@pytest.mark.parametrize(
    ("change", "clear"),
    [
        (lambda found: None, False),
        (lambda found: found["scores"].add_(1e-6), False),
        (lambda found: found["scores"].sub_(0.01), True),
        (lambda found: found["boxes"][1].add_(3), True),
        (lambda found: found["labels"][1].fill_(7), True),
        (lambda found: found["boxes"].copy_(found["boxes"][[1, 0, 2]]), True),
        (lambda found: found["scores"][1].fill_(0.05005), True),
        # A detection at the threshold may be missing.
        (lambda found: found.update({name: part[:2] for name, part in found.items()}), False),
    ],
    ids=["same", "rounding", "scores", "box", "label", "order", "lost", "threshold"],
)
def test_differences_are_noticed(change, clear):
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [5, 5, 30, 30]])
    theirs = {"scores": torch.tensor([0.9, 0.7, 0.05001]), "labels": torch.tensor([1, 1, 2])}
    ours = {"boxes": boxes.clone()} | {key: value.clone() for key, value in theirs.items()}
    instances = InstanceData(bboxes=boxes, **theirs)
    change(ours)
    if clear:
        with pytest.raises(UserError, match=r"differ in . of 3 detections"):
            compare_detections(ours, instances, Limits())
    else:
        assert compare_detections(ours, instances, Limits()) < 1e-5
