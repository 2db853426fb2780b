"""The two pictures of the demo: detections beside the truth, and the training curves."""

import json
import pickle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws to files, also where there is no display

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torchvision.ops import box_iou

COLUMNS = 4
MIN_SCORE = 0.25
RIGHT, WRONG, TRUTH, MISSED = "#37d13c", "#ff3b30", "#ffd60a", "#ffffff"
LEGEND = {"right": RIGHT, "wrong class or place": WRONG, "missed": MISSED}


def read_scalars(work_dir: Path) -> list[dict]:
    """The log of the newest run in a work directory, one dict per entry."""
    newest = max(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in newest.read_text().splitlines()]


def draw_predictions(root: Path, predictions: Path, picture: Path) -> None:
    """Draw the truth above the detections, for the first image of each validation photo.

    Args:
        root: The detection folder of the digits data.
        predictions: What ``mmres test --out`` has written.
        picture: The image file to write.
    """
    truth = json.loads((root / "annotations" / "instances_val2017.json").read_text())
    names = [category["name"] for category in truth["categories"]]
    results = pickle.loads(predictions.read_bytes())  # written a moment ago by our own command
    found = {entry["img_id"]: entry["pred_instances"] for entry in results}
    first = {image["photo"]: image for image in reversed(truth["images"])}
    chosen = sorted(first.values(), key=lambda image: image["id"])[:COLUMNS]
    figure, axes = plt.subplots(2, len(chosen), figsize=(2.2 * len(chosen), 4.9), squeeze=False)
    for (above, below), entry in zip(axes.T, chosen, strict=True):
        for axis in (above, below):
            axis.imshow(cv2.imread(str(root / "val2017" / entry["file_name"]))[..., ::-1])
            axis.set(xticks=[], yticks=[])
        digits, seen = [], set()
        for annotation in truth["annotations"]:
            if annotation["image_id"] == entry["id"]:
                x, y, width, height = annotation["bbox"]
                box = np.array([x, y, x + width, y + height], float)
                digits.append((names[annotation["category_id"] - 1], box))
                draw_box(above, box, digits[-1][0], TRUTH)
        instances = [found[entry["id"]][key] for key in ("bboxes", "labels", "scores")]
        corners = torch.tensor(np.reshape([box for _, box in digits], (-1, 4))).float()
        for box, label, score in zip(*map(np.asarray, instances), strict=True):
            if score >= MIN_SCORE:
                near = box_iou(torch.tensor(box[None]), corners)[0] >= 0.5
                same = [near[i] and names[label] == name for i, (name, _) in enumerate(digits)]
                seen.update(np.flatnonzero(same))
                draw_box(below, box, names[label], RIGHT if any(same) else WRONG)
        for index in set(range(len(digits))) - seen:
            draw_box(below, digits[index][1], digits[index][0], MISSED)
    axes[0, 0].set_ylabel("truth")
    axes[1, 0].set_ylabel(f"detected (score ≥ {MIN_SCORE})")
    lines = [Line2D([], [], color=color, ls=style(color), lw=3) for color in LEGEND.values()]
    box = dict(ncols=3, facecolor="0.6", labelcolor="black", edgecolor="none")
    figure.legend(lines, list(LEGEND), loc="lower center", **box)
    figure.tight_layout(pad=0.4, rect=(0, 0.07, 1, 1))
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def draw_curves(
    classifier: list[dict], detector: list[dict], picture: Path
) -> tuple[float, float, float]:
    """Draw the loss of both trainings, from :func:`read_scalars`.

    Returns:
        What they reached: top-1 of the classifier, AP50 and AP of the detector.
    """
    keys, entries = ("accuracy/top1", "coco/bbox_mAP_50", "coco/bbox_mAP"), [*classifier, *detector]
    top1, ap50, ap = ([entry[key] for entry in entries if key in entry][-1] for key in keys)
    titles = (
        f"classifier: {top1:.1f} % top-1 in validation",
        f"detector: AP50 {ap50:.3f}, AP {ap:.3f} in validation",
    )
    figure, axes = plt.subplots(1, 2, figsize=(8.8, 2.8))
    for axis, title, log in zip(axes, titles, (classifier, detector), strict=True):
        entries = [entry for entry in log if "loss" in entry]
        axis.plot([entry["step"] for entry in entries], [entry["loss"] for entry in entries])
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="training step", ylabel="training loss", xlim=(0, None), ylim=(0, None))
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=120)
    plt.close(figure)
    return top1, ap50, ap


def style(color: str) -> str:
    """How lines of this colour are drawn: what was missed is dashed."""
    return "--" if color == MISSED else "-"


def draw_box(axis, box: np.ndarray, text: str, color: str) -> None:
    x, y, right, bottom = map(float, box)
    line = dict(fill=False, ec=color, lw=1.5, ls=style(color))
    axis.add_patch(Rectangle((x, y), right - x, bottom - y, **line))
    label = dict(facecolor=color, edgecolor="none", pad=0.8)
    axis.text(x, y - 3, text, fontsize=9, weight="bold", bbox=label, clip_on=True)
