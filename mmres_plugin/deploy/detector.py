"""Detectors with one dense head (FCOS, RetinaNet, ATSS …), from images to boxes.

MMDetection selects boxes image by image, in steps whose shapes depend on the data. Here the same
selection runs over a batch, and every level of the pyramid gives the same number of candidates:
those that MMDetection would drop stay in place with the score -1. Priors and the decoding of boxes
are MMDetection's own.
"""

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.task_modules import coders
from torch import Tensor, nn

from ..errors import UserError
from .nms import nms_settings, suppress, take

CODERS = (coders.DeltaXYWHBBoxCoder, coders.DistancePointBBoxCoder, coders.TBLRBBoxCoder)
# The methods of a head that turn its outputs into boxes. Some have private names, and only their
# identity shows that a head selects its boxes as MMDetection's base class does.
SELECTION = ("predict", "predict_by_feat", "_predict_by_feat_single", "_bbox_post_process")


class DenseDetector(nn.Module):
    """From the network's input to the boxes of a one-stage detector.

    Args:
        model: The detector.

    Raises:
        UserError: If its head selects boxes in a way of its own.
    """

    task = "detection"
    output_names = ("boxes", "scores", "labels", "counts")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        same_methods(model, SingleStageDetector, ("predict", "extract_feat"))
        head, cfg = model.bbox_head, model.test_cfg or {}
        same_methods(head, BaseDenseHead, SELECTION)
        check_head(head)
        self.model = model
        self.nms = nms_settings(cfg.get("nms"), "test_cfg.nms")
        per_level = positive(cfg, "nms_pre", "test_cfg")
        candidates_in_all = per_level * head.prior_generator.num_levels
        self.most = min(positive(cfg, "max_per_img", "test_cfg"), candidates_in_all)
        self.threshold = cfg.get("score_thr", 0)
        self.limits = per_level, self.threshold, cfg.get("min_bbox_size", -1)

    def forward(self, x: Tensor, shape: tuple[int, int]) -> tuple[Tensor, ...]:
        """N×3×H×W, and height and width without padding, to what :func:`suppress` returns."""
        head, features = self.model.bbox_head, self.model.extract_feat(x)
        boxes, scores, labels, _ = candidates(head, features, shape, *self.limits)
        return suppress(boxes, scores, labels, self.nms, self.most)


def same_methods(module: nn.Module, base: type, names: tuple[str, ...]) -> None:
    """Raise UserError unless ``module`` has these methods from ``base``, where we know them."""
    for name in names:
        if getattr(type(module), name, None) is not getattr(base, name):
            refuse(module, f"it has its own {name}; supported is that of {base.__name__}")


def refuse(part: object, why: str) -> None:
    """Raise the UserError that ``part`` of the detector cannot be exported, and why."""
    said = f"a detector with {type(part).__name__} cannot be exported: {why}"
    raise UserError(f"{said}. The features of any backbone can (features=True, --features)")


def check_head(head: nn.Module) -> None:
    """Raise UserError if the outputs of ``head`` mean something that :func:`candidates` ignores."""
    if type(head.bbox_coder) not in CODERS:
        names = ", ".join(coder.__name__ for coder in CODERS)
        refuse(head.bbox_coder, f"its decoding is not covered; supported: {names}")
    if getattr(getattr(head, "loss_cls", None), "custom_cls_channels", False):
        refuse(head.loss_cls, "it turns logits into scores in a way of its own")


def positive(cfg: dict, key: str, place: str) -> int:
    """A number of boxes from the config at ``place``, which a graph needs: above 0."""
    value = cfg.get(key)
    if not isinstance(value, int) or value <= 0:
        raise UserError(f"{place}.{key}={value}: must be above 0 for an export")
    return value


def candidates(
    head: nn.Module,
    features: tuple[Tensor, ...],
    shape: tuple[int, int],
    most: int,
    above: float,
    smallest: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best candidates of each level, M of all levels together.

    Args:
        head: A dense head.
        features: Of each level, N×C×h×w.
        shape: Height and width of the images, to which boxes are clipped.
        most: How many per level.
        above: A candidate's score must exceed this before the score factor multiplies it.
        smallest: Both sides of a candidate must exceed this, unless it is negative.

    Returns:
        Boxes N×M×4, scores N×M (-1 for what is no candidate), labels N×M, and levels M.
    """
    outputs = head(features)
    sizes = [scores.shape[-2:] for scores in outputs[0]]
    priors = head.prior_generator.grid_priors(sizes, outputs[0][0].dtype, outputs[0][0].device)
    levels = [_best(head, most, above, *level) for level in zip(priors, *outputs, strict=True)]
    priors, deltas, scores, labels = (torch.cat(parts, 1) for parts in zip(*levels, strict=True))
    boxes = head.bbox_coder.decode(priors.flatten(0, 1), deltas.flatten(0, 1), max_shape=shape)
    levels = torch.arange(len(levels)).repeat_interleave(most)
    boxes = boxes.view(-1, scores.shape[1], 4)
    if smallest >= 0:
        sides = boxes[..., 2:] - boxes[..., :2]
        scores = torch.where((sides > smallest).all(-1), scores, -1)
    return boxes, scores, labels, levels


def _best(
    head: nn.Module,
    most: int,
    above: float,
    priors: Tensor,
    scores: Tensor,
    deltas: Tensor,
    factors: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Priors, deltas, scores and labels of the best candidates of one level, N×most(×4)."""
    scores = _per_prior(scores, head.cls_out_channels)
    if not head.use_sigmoid_cls:
        scores = scores.softmax(-1)[..., :-1]  # the last class is the background
    classes = scores.shape[-1]
    scores = scores.flatten(1)
    count = torch.sym_min(scores.shape[1], most)
    scores, index = scores.topk(count)  # the order of logits is that of their scores
    if head.use_sigmoid_cls:
        scores = scores.sigmoid()
    place, labels = index // classes, index % classes
    wanted = scores > above
    if factors is not None:
        scores = scores * _per_prior(factors, 1).sigmoid().squeeze(-1).gather(1, place)
    scores = torch.where(wanted, scores, -1)
    deltas = take(_per_prior(deltas, head.bbox_coder.encode_size), place)
    missing = most - count
    return (
        F.pad(priors[place], (0, 0, 0, missing)),
        F.pad(deltas, (0, 0, 0, missing)),
        F.pad(scores, (0, missing), value=-1),
        F.pad(labels, (0, missing)),
    )


def _per_prior(maps: Tensor, channels: int) -> Tensor:
    """N×(A·channels)×h×w to N×(h·w·A)×channels."""
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, channels)
