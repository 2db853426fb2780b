"""Non-maximum suppression over a batch, as an operator that ONNX has too.

``torchvision.ops.nms`` takes one image and returns a varying number of indices. This operator takes
a batch, returns a mask of a known shape, and becomes one ``NonMaxSuppression`` in the ONNX file,
which stops as soon as it has found the requested number of boxes.
"""

import torch
import torchvision
from torch import Tensor

from ..errors import UserError

# What MMCV's batched_nms reads. The last only says how it splits the work.
SETTINGS = {"type", "iou_threshold", "class_agnostic", "split_thr"}


def nms_settings(cfg: dict | None, place: str) -> tuple[float, bool]:
    """The overlap above which a worse box goes, and whether boxes of other classes count.

    Args:
        cfg: ``test_cfg.nms`` of MMDetection.
        place: Where the config has it.

    Raises:
        UserError: If it asks for another method than plain suppression.
    """
    settings = cfg if isinstance(cfg, dict) else {}
    plain = settings.get("type", "nms") == "nms" and not settings.keys() - SETTINGS
    if not plain or not isinstance(settings.get("iou_threshold"), int | float):
        said = "supported: type='nms' with iou_threshold and class_agnostic"
        raise UserError(f"{place}={cfg} cannot be exported; {said}")
    return settings["iou_threshold"], settings.get("class_agnostic", False)


def suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, nms: tuple[float, bool], most: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The boxes that remain, best first.

    Args:
        boxes: N×M×4, as x1, y1, x2, y2.
        scores: N×M; what is not above zero is no candidate.
        labels: N×M, integers from zero; boxes of different labels do not suppress each other.
        nms: What :func:`nms_settings` returns.
        most: How many boxes to return per image, K; at most M.

    Returns:
        Boxes N×K×4, scores N×K and labels N×K, filled up with 0, 0 and -1, and their numbers N.
    """
    overlap, class_agnostic = nms
    shifted = boxes
    if not class_agnostic:  # as MMCV does it, so that rounding is the same
        largest = torch.where((scores > 0).unsqueeze(-1), boxes, 0).amax((1, 2))
        shifted = boxes + (labels.to(boxes) * (largest + 1).unsqueeze(-1)).unsqueeze(-1)
    keep = torch.ops.mmres_plugin.nms(shifted, scores, overlap, most)
    kept, order = torch.where(keep, scores, -1).topk(most)
    found = kept > 0
    boxes = take(boxes, order) * found.unsqueeze(-1)
    labels = torch.where(found, labels.gather(1, order), -1)
    return boxes, kept.clamp(min=0), labels, found.sum(1)


def take(rows: Tensor, index: Tensor) -> Tensor:
    """Select from N×M×D the rows at ``index``, N×K; gives N×K×D."""
    return rows.gather(1, index.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))


@torch.library.custom_op("mmres_plugin::nms", mutates_args=())
def batched_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, most: int) -> Tensor:
    """N×M×4 and N×M to the mask, N×M, of at most ``most`` boxes per image that are kept."""
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for image, candidate in enumerate(scores > 0):
        index = candidate.nonzero().squeeze(1)
        kept = torchvision.ops.nms(boxes[image, index], scores[image, index], iou_threshold)
        keep[image, index[kept[:most]]] = True
    return keep


@batched_nms.register_fake
def _mask_like(boxes: Tensor, scores: Tensor, iou_threshold: float, most: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def onnx_nms(boxes, scores, iou_threshold: float, most: int):
    """:func:`batched_nms` in operators of ONNX, for the exporter."""
    from onnxscript import BOOL
    from onnxscript import opset18 as op

    # Rows of image, class and box.
    kept = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), most, iou_threshold, 0.0)
    chosen = op.Gather(kept, [0, 2], axis=1)
    nothing = op.Expand(0.0, op.Shape(scores))
    ones = op.Expand(1.0, op.Shape(kept, start=0, end=1))
    return op.Cast(op.ScatterND(nothing, chosen, ones), to=BOOL.dtype)
