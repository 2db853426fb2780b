"""Images: can a pipeline read them, and are they as large as their annotation says?"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import UnreadableImage
from ..images import Loader, is_16_bit_with_less, read_image

CELL = 240  # pixels


class Task(NamedTuple):
    """An image to read.

    Attributes:
        path: The file.
        size: The width and height that it must have, or None.
        loader: How the pipeline reads it.
    """

    path: Path
    size: tuple[int, int] | None
    loader: Loader


def image_fault(task: Task) -> tuple[str, str] | None:
    """The kind of fault that an image has, and where; None if it is well."""
    path, size, loader = task
    try:
        image = read_image(path, loader)
    except FileNotFoundError:
        return "image that is not there", str(path)
    except (UnreadableImage, OSError) as error:
        return "unreadable image", f"{path} ({error})"
    found = image.shape[1::-1]
    if size and found != tuple(size):
        return "image has another size", f"{path} is {found}, its annotation says {tuple(size)}"
    if image.dtype == np.uint8 and image.max(initial=0) < 16 and is_16_bit_with_less(path):
        kind = "16-bit image of less than 13 bits, read as 8 bits"
        return kind, f"{path} (0 to {image.max()} is left of its values)"
    return None


class Sample(NamedTuple):
    """An image for a picture of samples.

    Attributes:
        path: The file.
        title: What stands above it.
        boxes: Class name and x, y, width, height of each object in it.
    """

    path: Path
    title: str
    boxes: Sequence[tuple[str, Sequence[float]]]


def draw_samples(samples: Sequence[Sample], path: Path) -> None:
    """Write a picture of images side by side, four in a row, to ``path``."""
    cells = []
    for sample in samples:
        try:
            image = read_image(sample.path)
        except (UnreadableImage, OSError):
            continue
        scale = CELL / max(image.shape[:2])
        cell = np.full((CELL + 20, CELL, 3), 255, np.uint8)
        small = cv2.resize(image, None, fx=scale, fy=scale)[:CELL, :CELL]
        cell[20 : 20 + small.shape[0], : small.shape[1]] = small
        for name, (x, y, w, h) in sample.boxes:
            corners = (np.array([x, y, x + w, y + h]) * scale).astype(int).tolist()
            cv2.rectangle(cell[20:], corners[:2], corners[2:], (0, 180, 0), 2)
            write(
                cell[20:], name[:20], (max(corners[0], 0) + 2, max(corners[1], 0) + 12), (0, 120, 0)
            )
        write(cell, sample.title[:36], (2, 14), (0, 0, 0))
        cells.append(cell)
    cells += [np.full((CELL + 20, CELL, 3), 255, np.uint8)] * (-len(cells) % 4)
    rows = [np.hstack(cells[start : start + 4]) for start in range(0, len(cells), 4)]
    if rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.vstack(rows))


def write(image: np.ndarray, text: str, corner: tuple[int, int], color: tuple) -> None:
    """Write a text into an image; OpenCV's font has no letters but ASCII's."""
    text = text.encode("ascii", "replace").decode()
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color)
