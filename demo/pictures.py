"""The two pictures of the demo: detections beside the truth, and the training curves."""

import json
import pickle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws to files, also where there is no display

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

COLUMNS = 4
MIN_SCORE = 0.25
RIGHT, WRONG, TRUTH = "#37d13c", "#ff3b30", "#ffd60a"
PANELS = (  # title, which log, limit of the y axis, keys of the log and their names
    ("classifier: training loss", 0, None, {"loss": "loss"}),
    ("classifier: validation accuracy, %", 0, 100, {"accuracy/top1": "top-1"}),
    ("detector: training loss", 1, None, {"loss": "loss"}),
    ("detector: validation AP", 1, 1, {"coco/bbox_mAP_50": "AP50", "coco/bbox_mAP": "AP"}),
)


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
    figure, axes = plt.subplots(2, len(chosen), figsize=(2.6 * len(chosen), 5.3), squeeze=False)
    for (above, below), entry in zip(axes.T, chosen, strict=True):
        for axis in (above, below):
            axis.imshow(cv2.imread(str(root / "val2017" / entry["file_name"]))[..., ::-1])
            axis.set(xticks=[], yticks=[])
        digits = []
        for annotation in truth["annotations"]:
            if annotation["image_id"] == entry["id"]:
                x, y, width, height = annotation["bbox"]
                box = np.array([x, y, x + width, y + height], float)
                digits.append((names[annotation["category_id"] - 1], box))
                draw_box(above, box, digits[-1][0], TRUTH)
        instances = [found[entry["id"]][key] for key in ("bboxes", "labels", "scores")]
        for box, label, score in zip(*map(np.asarray, instances), strict=True):
            if score >= MIN_SCORE:
                name = names[label]
                hit = any(name == other and iou(box, there) >= 0.5 for other, there in digits)
                draw_box(below, box, name, RIGHT if hit else WRONG)
    axes[0, 0].set_ylabel("truth")
    axes[1, 0].set_ylabel(f"detected (score ≥ {MIN_SCORE})")
    figure.tight_layout(pad=0.4)
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def draw_curves(classifier: list[dict], detector: list[dict], picture: Path) -> None:
    """Draw loss and validation figure of both training runs, from :func:`read_scalars`."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 2.8))
    for axis, (title, which, limit, curves) in zip(axes, PANELS, strict=True):
        for key, label in curves.items():
            entries = [entry for entry in (classifier, detector)[which] if key in entry]
            steps, values = [e["step"] for e in entries], [e[key] for e in entries]
            axis.plot(steps, values, "-" if key == "loss" else "o-", label=label)
            if key != "loss":
                place = {"textcoords": "offset points", "xytext": (-8, -14), "ha": "right"}
                axis.annotate(f"{values[-1]:.4g}", (steps[-1], values[-1]), fontsize=9, **place)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step" if "loss" in curves else "epoch", fontsize=9)
        axis.set(xlim=(0, None), ylim=(0, limit))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.grid(alpha=0.3)
    axes[-1].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def iou(one: np.ndarray, two: np.ndarray) -> float:
    """Intersection over union of two boxes, given by their corners x1, y1, x2, y2."""
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    common = np.prod(np.clip(high - low, 0, None))
    return common / (np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]) - common)


def draw_box(axis, box: np.ndarray, text: str, color: str) -> None:
    x, y, right, bottom = map(float, box)
    axis.add_patch(Rectangle((x, y), right - x, bottom - y, fill=False, ec=color, lw=1.5))
    label = dict(facecolor=color, edgecolor="none", pad=0.8)
    axis.text(x, y - 3, text, fontsize=8, weight="bold", bbox=label, clip_on=True)
