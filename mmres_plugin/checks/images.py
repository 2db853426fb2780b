"""Images: can they be read completely, and are they as large as their annotation says?"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from .faults import Fault

CELL = 240  # pixels


def image_fault(task: tuple[Path, tuple[int, int] | None]) -> Fault | None:
    """What is wrong with one image, or None.

    Args:
        task: Its path, and the width and height that it must have, or None.
    """
    path, expected = task
    if not path.is_file():
        return Fault("image that is not there", str(path))
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            image.load()
            size = ImageOps.exif_transpose(image).size
    except Exception as error:  # each decoder raises its own kinds
        kind = "unreadable image" if cv2.imread(str(path)) is None else "truncated image"
        return Fault(kind, f"{path} ({error})")
    if expected and size != tuple(expected):
        return Fault("image has another size", f"{path} is {size}, its annotation says {expected}")
    return None


def draw_samples(samples: Sequence[tuple[Path, str, Sequence]], path: Path) -> None:
    """Write a picture of images side by side, four in a row.

    Args:
        samples: Path, title and boxes (x, y, width, height) of each image.
        path: The picture.
    """
    cells = []
    for source, title, boxes in samples:
        image = cv2.imread(str(source))
        if image is None:
            continue
        scale = CELL / max(image.shape[:2])
        cell = np.full((CELL + 20, CELL, 3), 255, np.uint8)
        small = cv2.resize(image, None, fx=scale, fy=scale)[:CELL, :CELL]
        cell[20 : 20 + small.shape[0], : small.shape[1]] = small
        for x, y, w, h in boxes:
            corners = (np.array([x, y, x + w, y + h]) * scale).astype(int).tolist()
            cv2.rectangle(cell[20:], corners[:2], corners[2:], (0, 180, 0), 2)
        cv2.putText(cell, title[:36], (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0))
        cells.append(cell)
    cells += [np.full((CELL + 20, CELL, 3), 255, np.uint8)] * (-len(cells) % 4)
    rows = [np.hstack(cells[start : start + 4]) for start in range(0, len(cells), 4)]
    if rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.vstack(rows))
