"""Does the exported file compute what the model computes?

Features are compared with those of the folded backbone, on random numbers. Whole models are
compared on images with the ``test_step`` of their own package, whose model is not folded.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..errors import UserError
from .export import Exported
from .exported_model import Session
from .images import example_batches, read_images

TOLERANCE = 1e-4  # of scores; of features, relative to the largest value of an output
HALF_TOLERANCE = 0.02  # the same for files in half precision
OVERLAP = 0.99  # of boxes that are the same
DISTANCE = 0.01  # in pixels, for boxes without an area

RunsFile = Callable[[Tensor], dict[str, Tensor]]  # images to the outputs of a file by name


def verify_file(path: Path, exported: Exported, model: nn.Module, args: argparse.Namespace) -> str:
    """Compare a file with the model, as ``args`` of ``mmres export`` say; returns what was done."""
    if exported.task == "features":
        height, width = args.size
        sizes = [(height, width), (height + 37, width + 11), (height + 64, width + 5)]
        batches = [exported.example(size, number) for number, size in enumerate(sizes, 1)]
    else:
        images = read_images(model.cfg, "test", 3, exported.steps, args.images)
        batches = example_batches(images, tuple(args.size) if exported.floats else None)
        sizes = dict.fromkeys(batch.shape[1:3] for batch in batches)
    tolerance = HALF_TOLERANCE if args.fp16 else TOLERANCE
    difference, count = verify(exported, model, Session(path), batches, tolerance)
    what = "detections" if exported.task == "detection" else "images"
    shown = ", ".join(f"{height}×{width}" for height, width in sizes)
    return f"verified at {shown}: {count} {what} agree within {difference:.1e}"


def verify(
    exported: Exported,
    model: nn.Module,
    run: RunsFile,
    batches: Sequence[Tensor],
    tolerance: float = TOLERANCE,
) -> tuple[float, int]:
    """Compare a file with the model that it was made from.

    Args:
        exported: What the file was made from.
        model: The model that it was exported from.
        run: Runs the file, a :class:`~mmres_plugin.deploy.exported_model.Session`.
        batches: Images, N×H×W×3, uint8, RGB; for features what the file takes.
        tolerance: The largest difference allowed.

    Returns:
        The largest difference of scores, or of features relative to the largest value of an output;
        and the number of detections compared (of images for others).

    Raises:
        UserError: If the difference is above the tolerance, if boxes differ, or if nothing is
            detected in any image.
    """
    worst, count = 0.0, 0
    for images in batches:
        pixels = exported.task == "features" or exported.takes_pixels
        outputs = run(images if pixels else exported.preprocess(images))
        difference, number = _compare(exported, model, outputs, images)
        if not difference <= tolerance:  # also for not-a-number
            said = f"differs from the model by {difference:.1e} at the size {tuple(images.shape)}"
            raise UserError(f"the exported file {said}; allowed is {tolerance:.0e}")
        worst, count = max(worst, difference), count + number
    if not count:
        said = "the check compared nothing: the model finds no object in the images. Give it "
        said += "images with objects (--images) or a lower score_thr, or skip it (--no-verify)"
        raise UserError(said)
    return worst, count


@torch.no_grad()
def _compare(
    exported: Exported, model: nn.Module, outputs: dict[str, Tensor], images: Tensor
) -> tuple[float, int]:
    """The largest difference in one batch, and the number of images or detections."""
    if exported.task == "features":
        pairs = zip(outputs.values(), exported(images), strict=True)
        shares = [(ours - theirs).abs().max() / theirs.abs().max() for ours, theirs in pairs]
        return torch.stack(shares).max().item(), len(images)
    pixels = list(images.permute(0, 3, 1, 2).flip(1))  # as the test pipeline hands them over: BGR
    if exported.task == "classification":
        done = model.test_step({"inputs": pixels, "data_samples": [DataSample() for _ in images]})
        theirs = torch.stack([sample.pred_score for sample in done])
        ours = outputs["logits"].softmax(-1) if "logits" in outputs else outputs["scores"]
        if "labels" in outputs:
            theirs = theirs.gather(1, outputs["labels"])
        return (ours - theirs).abs().max().item(), len(images)
    shape = tuple(images.shape[1:3])
    metainfo = {"img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0)}
    samples = [DetDataSample(metainfo=metainfo) for _ in images]
    difference, number = 0.0, 0
    done = model.test_step({"inputs": pixels, "data_samples": samples})
    for index, sample in enumerate(done):
        count = outputs["counts"][index]
        found = {name: outputs[name][index, :count] for name in ("boxes", "scores", "labels")}
        difference = max(difference, compare_detections(found, sample.pred_instances, exported))
        number += len(sample.pred_instances)
    return difference, number


def compare_detections(ours: dict[str, Tensor], theirs: Any, exported: Exported) -> float:
    """The largest difference of scores between the same detections.

    A UserError if one side lacks a detection that is clear: at the end of a full list, or at the
    threshold, rounding decides.
    """
    gaps = (ours["scores"][:, None] - theirs.scores).abs()
    same = (ours["labels"][:, None] == theirs.labels) & (gaps <= TOLERANCE)
    near = torch.cdist(ours["boxes"], theirs.bboxes, p=torch.inf) <= DISTANCE
    same &= near | (bbox_overlaps(ours["boxes"], theirs.bboxes) >= OVERLAP)
    missing = torch.cat((theirs.scores[~same.any(0)], ours["scores"][~same.any(1)]))
    full = max(len(theirs), len(ours["scores"])) >= exported.model.most
    last = min(theirs.scores.min(), ours["scores"].min()) if full else exported.model.threshold
    clear = missing[missing > last + TOLERANCE]
    if len(clear):
        said = f"{len(clear)} of {len(theirs)} detections, with scores up to {clear.max():.3f}"
        raise UserError(f"the exported file and the model differ in {said}")
    partners = gaps.where(same, torch.inf).amin(0)  # of each of theirs, the closest of ours
    return partners[same.any(0)].amax().item() if same.any() else 0.0
