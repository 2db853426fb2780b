"""Does the exported file compute what the model computes?

Features are compared with the folded backbone, on random numbers. Whole models are compared on
images with the ``test_step`` of their own package, whose model has not been folded.
"""

# MMDetection, MMPretrain and PyTorch give attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false

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
from .session import Session, open_torchscript

TOLERANCE = 1e-4  # of scores; of features, relative to the largest value of an output
OVERLAP = 0.99  # of boxes that are the same
DISTANCE = 0.01  # in pixels, for boxes without an area


def verify(exported: Exported, path: str | Path, sizes: list[tuple[int, int]]) -> float:
    """Run the file at ``path`` on random numbers and compare it with what it was made from.

    Args:
        exported: What the file was made from.
        path: An ONNX or a TorchScript file.
        sizes: Heights and widths to compare at, each with a batch of its own size.

    Returns:
        The largest difference, relative to the largest value of each output.

    Raises:
        UserError: If it is above :data:`TOLERANCE`, or ONNX Runtime is missing.
    """
    run = _open(exported, path)
    differences = []
    for batch, size in enumerate(sizes, 1):
        images = exported.example(size, batch)
        with torch.no_grad():
            expected = exported(images)
        if isinstance(expected, Tensor):
            expected = (expected,)
        for ours, theirs in zip(run(images).values(), expected, strict=True):
            differences.append((ours - theirs).abs().max() / theirs.abs().max())
    return _checked(torch.stack(differences).max().item(), "of the largest value", sizes)


def verify_whole(
    exported: Exported, model: nn.Module, path: str | Path, batches: Sequence[Tensor]
) -> tuple[float, int]:
    """Run the file at ``path`` on images and compare it with the ``test_step`` of the model.

    Args:
        exported: What the file was made from.
        model: The classifier or detector that it was exported from.
        path: As in :func:`verify`.
        batches: Images, N×H×W×3, uint8, RGB.

    Returns:
        The largest difference of scores, and the number of detections compared (of images for a
        classifier).

    Raises:
        UserError: If the scores differ by more than :data:`TOLERANCE`, or the boxes or their order
            do, if nothing is detected in any image, or if ONNX Runtime is missing.
    """
    run = _open(exported, path)
    compare = _detections if exported.task == "detection" else _classes
    pairs = [compare(exported, model, run(images), images) for images in batches]
    count = sum(number for _, number in pairs)
    if not count:
        raise UserError(
            [
                "the check compared nothing: the model finds no object in the images. Give it "
                "images with objects (--images) or a lower score_thr, or skip it (--no-verify)"
            ],
            "",
        )
    sizes = [tuple(images.shape[1:3]) for images in batches]
    return _checked(max(difference for difference, _ in pairs), "in a score", sizes), count


def _checked(difference: float, of_what: str, sizes: list[tuple[int, int]]) -> float:
    if not difference <= TOLERANCE:  # also for not-a-number
        raise UserError(
            [
                f"the exported file differs from the model by {difference:.1e} {of_what} at one of "
                f"the sizes {sizes}; allowed is {TOLERANCE:.0e}"
            ],
            "",
        )
    return difference


def _open(exported: Exported, path: str | Path) -> Callable[[Tensor], dict[str, Tensor]]:
    """What runs the file at ``path``: images to the outputs by name."""
    with Path(path).open("rb") as file:
        zipped = file.read(2) == b"PK"
    return open_torchscript(path, exported.output_names) if zipped else Session(path)


def _pixels(exported: Exported, images: Tensor) -> Tensor:
    """What the test pipeline would hand to the model: N×3×H×W, uint8, BGR."""
    if exported.sizing is not None:
        images, _ = exported.sizing(images)
    return images.permute(0, 3, 1, 2).flip(1)


def _classes(
    exported: Exported, model: nn.Module, outputs: dict[str, Tensor], images: Tensor
) -> tuple[float, int]:
    samples = [DataSample() for _ in images]
    with torch.no_grad():
        done = model.test_step({"inputs": _pixels(exported, images), "data_samples": samples})
    theirs = torch.stack([sample.pred_score for sample in done])
    ours = outputs["logits"].softmax(-1) if "logits" in outputs else outputs["scores"]
    if "labels" in outputs:
        theirs = theirs.gather(1, outputs["labels"])
    return (ours - theirs).abs().max().item(), len(images)


def _detections(
    exported: Exported, model: nn.Module, outputs: dict[str, Tensor], images: Tensor
) -> tuple[float, int]:
    pixels = _pixels(exported, images)
    shape, original = tuple(pixels.shape[2:]), tuple(images.shape[1:3])
    metainfo: dict[str, Any] = {
        "img_shape": shape,
        "ori_shape": original,
        "scale_factor": (shape[1] / original[1], shape[0] / original[0]),
    }
    samples = [DetDataSample(metainfo=metainfo) for _ in images]
    with torch.no_grad():
        done = model.test_step({"inputs": list(pixels), "data_samples": samples})
    difference, number = 0.0, 0
    for index, sample in enumerate(done):
        count = outputs["counts"][index]
        found = {name: outputs[name][index, :count] for name in ("boxes", "scores", "labels")}
        difference = max(difference, compare_detections(found, sample.pred_instances, exported))
        number += len(sample.pred_instances)
    return difference, number


def compare_detections(ours: dict[str, Tensor], theirs: Any, exported: Exported) -> float:
    """The largest difference of scores between the same detections.

    A detection that one side lacks counts only if it is clear: at the end of a full list, or at the
    threshold, rounding decides.

    Args:
        ours: Boxes, scores and labels from the file, best first.
        theirs: ``pred_instances`` of MMDetection.
        exported: For its limits.

    Raises:
        UserError: If a clear detection is missing on one side, or their order differs.
    """
    close = (ours["scores"][:, None] - theirs.scores).abs() <= TOLERANCE
    same = (ours["labels"][:, None] == theirs.labels) & close
    near = torch.cdist(ours["boxes"], theirs.bboxes, p=torch.inf) <= DISTANCE
    same &= near | (bbox_overlaps(ours["boxes"], theirs.bboxes) >= OVERLAP)
    difference = 0.0
    for index in range(len(theirs)):
        partners = same[:, index].nonzero().flatten().tolist()
        if partners:  # scores are in order on both sides, so the closest place is the right one
            partner = min(partners, key=lambda place: abs(place - index))
            same[partner] = False
            same[partner, index] = True
            gap = (ours["scores"][partner] - theirs.scores[index]).abs().item()
            difference = max(difference, gap)
    missing = torch.cat((theirs.scores[~same.any(0)], ours["scores"][~same.any(1)]))
    full = max(len(theirs), len(ours["scores"])) >= exported.model.most
    last = min(theirs.scores.min(), ours["scores"].min()) if full else exported.model.threshold
    clear = missing[missing > last + TOLERANCE]
    if len(clear):
        raise UserError(
            [
                f"the exported file and the model differ in {len(clear)} of {len(theirs)} "
                f"detections, with scores up to {clear.max():.3f}"
            ],
            "",
        )
    return difference
