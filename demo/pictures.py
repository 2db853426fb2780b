"""The two pictures of the demo: detections beside the truth, and the training curves."""

from __future__ import annotations

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


def read_scalars(work_dir: Path) -> list[dict]:
    """The log of the newest run in a work directory, one dict per entry."""
    newest = max(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in newest.read_text().splitlines()]


def draw_predictions(root: Path, predictions: Path, picture: Path) -> None:
    """Draw the truth above the detections, for the first image of each validation photo.

    Args:
        root: the detection folder of the digits data.
        predictions: what ``tools/test.py --out`` has written.
        picture: the image file to write.
    """
    truth = json.loads((root / "annotations" / "instances_val2017.json").read_text())
    names = {category["id"]: category["name"] for category in truth["categories"]}
    found = {entry["img_id"]: entry["pred_instances"] for entry in _unpickle(predictions)}
    first = {image["photo"]: image for image in reversed(truth["images"])}
    chosen = sorted(first.values(), key=lambda image: image["id"])[:COLUMNS]
    figure, axes = plt.subplots(2, len(chosen), figsize=(2.6 * len(chosen), 5.3), squeeze=False)
    for column, entry in enumerate(chosen):
        image = cv2.imread(str(root / "val2017" / entry["file_name"]))[..., ::-1]
        digits = [
            (names[a["category_id"]], np.array(a["bbox"], float))
            for a in truth["annotations"]
            if a["image_id"] == entry["id"]
        ]
        for axis in axes[:, column]:
            axis.imshow(image)
            axis.set(xticks=[], yticks=[])
        for name, box in digits:
            _draw_box(axes[0, column], box, name, TRUTH)
        for name, box in _detections(found[entry["id"]], list(names.values())):
            hit = any(name == other and _iou(box, there) >= 0.5 for other, there in digits)
            _draw_box(axes[1, column], box, name, RIGHT if hit else WRONG)
    axes[0, 0].set_ylabel("truth")
    axes[1, 0].set_ylabel(f"detected (score ≥ {MIN_SCORE})")
    figure.tight_layout(pad=0.4)
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def draw_curves(classifier: list[dict], detector: list[dict], picture: Path) -> None:
    """Draw loss and validation figure of both training runs.

    Args:
        classifier: log of the classifier, from :func:`read_scalars`.
        detector: log of the detector.
        picture: the image file to write.
    """
    figure, axes = plt.subplots(1, 4, figsize=(12, 2.8))
    panels = [
        ("classifier: training loss", classifier, {"loss": "loss"}),
        ("classifier: validation accuracy, %", classifier, {"accuracy/top1": "top-1"}),
        ("detector: training loss", detector, {"loss": "loss"}),
        (
            "detector: validation AP",
            detector,
            {"coco/bbox_mAP_50": "AP50", "coco/bbox_mAP": "AP"},
        ),
    ]
    for axis, (title, log, curves) in zip(axes, panels, strict=True):
        for key, label in curves.items():
            entries = [entry for entry in log if key in entry]
            style = "-" if key == "loss" else "o-"
            axis.plot([e["step"] for e in entries], [e[key] for e in entries], style, label=label)
            if key != "loss" and entries:
                last = (entries[-1]["step"], entries[-1][key])
                offset = {"textcoords": "offset points", "xytext": (-8, -14), "ha": "right"}
                axis.annotate(f"{last[1]:.4g}", last, fontsize=9, **offset)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step" if "loss" in curves else "epoch", fontsize=9)
        axis.set_ylim(0, None if "loss" in curves else 100 if "accuracy/top1" in curves else 1)
        axis.set_xlim(0, None)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.grid(alpha=0.3)
        if len(curves) > 1:
            axis.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def _unpickle(path: Path) -> list[dict]:
    with path.open("rb") as file:  # written a moment ago by our own tool
        return pickle.load(file)


def _detections(instances: dict, names: list[str]):
    """(name, box as x, y, width, height) of the confident ones."""
    for box, label, score in zip(
        instances["bboxes"], instances["labels"], instances["scores"], strict=True
    ):
        if score >= MIN_SCORE:
            x1, y1, x2, y2 = map(float, box)
            yield names[int(label)], np.array([x1, y1, x2 - x1, y2 - y1])


def _iou(one: np.ndarray, two: np.ndarray) -> float:
    """Intersection over union of two boxes given as x, y, width, height."""
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[:2] + one[2:], two[:2] + two[2:])
    common = np.prod(np.clip(high - low, 0, None))
    return common / (np.prod(one[2:]) + np.prod(two[2:]) - common)


def _draw_box(axis, box: np.ndarray, text: str, color: str) -> None:
    x, y, width, height = box
    axis.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=color, linewidth=1.5))
    label = dict(facecolor=color, edgecolor="none", pad=0.8)
    axis.text(x, y - 3, text, fontsize=8, weight="bold", bbox=label, clip_on=True)
