"""A sheet of samples of the digits data, with their boxes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

COLUMNS = 4
TILE = 200  # pixels, side of a scene on the sheet
CROP_COLUMNS = 12
GAP = 4  # pixels between the tiles
GREEN = (80, 230, 60)


def draw_samples(root: Path, picture: Path) -> None:
    """Draw a row of training scenes, one of validation scenes and one of training crops.

    Args:
        root: a complete folder of ``build_digits.py``.
        picture: the image file to write; its ending decides the format.

    Raises:
        OSError: when `picture` cannot be written.
    """
    width = COLUMNS * TILE + (COLUMNS - 1) * GAP
    scenes = [_row(_scenes(root / "detection", split), width) for split in ("train", "val")]
    crops = sorted((root / "classification" / "train").rglob("*.jpg"), key=lambda p: p.name)
    crops = _row([cv2.imread(str(path)) for path in crops[:CROP_COLUMNS]], width)
    gap = np.full((GAP, width, 3), 255, np.uint8)
    sheet = np.vstack([scenes[0], gap, scenes[1], gap, crops])
    try:
        _, encoded = cv2.imencode(picture.suffix, sheet)
    except cv2.error:
        raise OSError(
            f"{picture} does not end in the name of an image format, such as .png"
        ) from None
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(encoded.tobytes())


def _scenes(root: Path, split: str) -> list[np.ndarray]:
    data = json.loads((root / "annotations" / f"instances_{split}2017.json").read_text())
    names = {category["id"]: category["name"] for category in data["categories"]}
    of_each_photo = {entry["photo"]: entry for entry in reversed(data["images"])}
    chosen = sorted(of_each_photo.values(), key=lambda entry: entry["id"])[:COLUMNS]
    tiles = []
    for entry in chosen:
        image = cv2.imread(str(root / f"{split}2017" / entry["file_name"]))
        for digit in data["annotations"]:
            if digit["image_id"] == entry["id"]:
                x, y, w, h = digit["bbox"]
                cv2.rectangle(image, (x - 1, y - 1), (x + w, y + h), GREEN, 1)
                place = (x, y - 4 if y > 14 else y + h + 12)
                cv2.putText(
                    image, names[digit["category_id"]], place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, GREEN
                )
        tiles.append(image)
    return tiles


def _row(tiles: list[np.ndarray], width: int) -> np.ndarray:
    """Put tiles side by side with gaps, all of one size, on a white strip of the given width."""
    columns = COLUMNS if len(tiles) <= COLUMNS else CROP_COLUMNS
    side = (width - GAP * (columns - 1)) // columns
    strip = np.full((side, width, 3), 255, np.uint8)
    for column, tile in enumerate(tiles):
        x = column * (side + GAP)
        strip[:, x : x + side] = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA)
    return strip
