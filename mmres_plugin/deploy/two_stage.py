"""Detectors with region proposals (Faster R-CNN), from images to boxes.

The proposals are the candidates of a dense head. The second stage always gets as many as the config
allows; if there are fewer, the padding is left out at the end.
"""

import torch
import torchvision
from mmcv.ops import RoIAlign
from mmdet.models import detectors, roi_heads
from mmdet.models.dense_heads import RPNHead
from torch import Tensor, nn

from .detector import SELECTION, candidates, check_head, positive, refuse, same_methods
from .nms import nms_settings, suppress


class TwoStageDetector(nn.Module):
    """From the network's input to the boxes of a two-stage detector.

    Args:
        model: The detector.

    Raises:
        UserError: If one of its parts computes in a way of its own.
    """

    task = "detection"
    output_names = ("boxes", "scores", "labels", "counts")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        _check(model)
        self.model = model
        self.first, self.second = model.rpn_head.test_cfg or {}, model.roi_head.test_cfg or {}
        self.first_nms = nms_settings(self.first.get("nms"), "test_cfg.rpn.nms")
        self.second_nms = nms_settings(self.second.get("nms"), "test_cfg.rcnn.nms")
        self.per_level = positive(self.first, "nms_pre", "test_cfg.rpn")
        candidates_in_all = self.per_level * model.rpn_head.prior_generator.num_levels
        self.proposals = min(positive(self.first, "max_per_img", "test_cfg.rpn"), candidates_in_all)
        boxes_in_all = self.proposals * model.roi_head.bbox_head.num_classes
        self.most = min(positive(self.second, "max_per_img", "test_cfg.rcnn"), boxes_in_all)
        self.threshold = self.second.get("score_thr", 0)

    def forward(self, x: Tensor, shape: tuple[int, int]) -> tuple[Tensor, ...]:
        """N×3×H×W, and height and width without padding, to what :func:`suppress` returns."""
        features = self.model.extract_feat(x)
        proposals, found = self.propose(features, shape)
        boxes, scores = self.classify(features, shape, proposals)
        scores = torch.where(found.unsqueeze(-1) & (scores > self.threshold), scores, -1)
        labels = torch.arange(scores.shape[-1]).expand_as(scores)
        flat = boxes.flatten(1, 2), scores.flatten(1), labels.flatten(1)
        return suppress(*flat, self.second_nms, self.most)

    def propose(
        self, features: tuple[Tensor, ...], shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Proposals, N×P×4, and which of them are real, N×P."""
        rpn = self.model.rpn_head
        limits = self.per_level, -torch.inf, self.first.get("min_bbox_size", -1)
        boxes, scores, _, levels = candidates(rpn, features, shape, *limits)
        levels = levels.expand_as(scores)  # levels do not suppress each other
        boxes, scores, _, _ = suppress(boxes, scores, levels, self.first_nms, self.proposals)
        return boxes, scores > 0

    def classify(
        self, features: tuple[Tensor, ...], shape: tuple[int, int], proposals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes of each proposal for each class, N×P×C×4, and scores, N×P×C."""
        roi_head, head = self.model.roi_head, self.model.roi_head.bbox_head
        image = torch.arange(proposals.shape[0]).view(-1, 1, 1).expand(-1, self.proposals, 1)
        rois = torch.cat((image.to(proposals), proposals), -1).flatten(0, 1)
        logits, deltas = head(pool(roi_head.bbox_roi_extractor, features, rois))
        scores = logits.softmax(-1)[:, :-1]  # the last class is the background
        regressed = 1 if head.reg_class_agnostic else head.num_classes
        boxes = head.bbox_coder.decode(
            rois[:, 1:].repeat_interleave(regressed, 0), deltas.view(-1, 4), max_shape=shape
        )
        boxes = boxes.view(-1, self.proposals, regressed, 4)
        scores = scores.view(-1, self.proposals, head.num_classes)
        return boxes.expand(-1, -1, head.num_classes, -1), scores


def _check(model: nn.Module) -> None:
    """Raise UserError where a part of ``model`` computes in another way than this module."""
    rpn, roi_head = model.rpn_head, model.roi_head
    same_methods(model, detectors.TwoStageDetector, ("predict", "extract_feat"))
    same_methods(rpn, RPNHead, SELECTION)
    check_head(rpn)
    methods = ("predict", "predict_bbox", "_bbox_forward")
    same_methods(roi_head, roi_heads.StandardRoIHead, methods)
    if roi_head.with_shared_head:
        refuse(roi_head.shared_head, "a head that classes and boxes share is not covered")
    if roi_head.with_mask:
        refuse(roi_head.mask_head, "masks are not covered; supported: boxes alone")
    methods = ("predict_by_feat", "_predict_by_feat_single")
    same_methods(roi_head.bbox_head, roi_heads.BBoxHead, methods)
    check_head(roi_head.bbox_head)
    extractor = roi_head.bbox_roi_extractor
    same_methods(extractor, roi_heads.SingleRoIExtractor, ("forward", "map_roi_levels"))
    for layer in extractor.roi_layers:
        if type(layer) is not RoIAlign or layer.pool_mode != "avg":
            refuse(layer, "it is not covered; supported: RoIAlign with pool_mode='avg'")


def pool(extractor: nn.Module, features: tuple[Tensor, ...], rois: Tensor) -> Tensor:
    """The features of each region, R×C×h×w, from the level of the pyramid that fits its size.

    Args:
        extractor: A ``SingleRoIExtractor``.
        features: Of each level, N×C×H×W.
        rois: R×5: the number of the image, then x1, y1, x2, y2.
    """
    features = features[: extractor.num_inputs]
    levels = extractor.map_roi_levels(rois, len(features))
    members = [(levels == level).nonzero().squeeze(1) for level in range(len(features))]
    pooled = []
    for layer, maps, rows in zip(extractor.roi_layers, features, members, strict=True):
        settings = layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
        pooled.append(torchvision.ops.roi_align(maps, rois[rows], *settings))
    order = torch.cat(members)
    back = torch.zeros_like(levels).scatter(0, order, torch.arange(order.shape[0]))
    return torch.cat(pooled)[back]
