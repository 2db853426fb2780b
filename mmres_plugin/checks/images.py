"""Images: can a pipeline read them, and are they as large as their annotation says?"""

from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import UnreadableImage
from ..images import Loader, is_16_bit_with_less, read_image
from ..weights.files import atomic_write
from .datasets import DataSet

CELL, TITLE = 240, 20  # pixels: an image in a picture of samples, and the line above it
Task = tuple[Path, tuple[int, int] | None, Loader]
Sample = tuple[Path, str, Sequence[tuple[str, Sequence[float]]]]


def add_image_faults(data: DataSet, workers: int) -> None:
    """Read all images of a data set and add what is wrong with them to its faults."""
    tasks = [(path, size, data.loader or Loader()) for path, size in data.images]
    with Pool(workers) as pool:
        found = pool.imap_unordered(image_fault, tasks, chunksize=16)
        found = list(tqdm(found, total=len(tasks), unit="image", disable=None))
    for fault in sorted(filter(None, found)):
        data.faults.add(*fault)


def image_fault(task: Task) -> tuple[str, str] | None:
    """The kind of fault that an image has, and where; None if it is well.

    Args:
        task: The file, the width and height that it must have or None, and how it is read.
    """
    path, size, loader = task
    try:
        image = read_image(path, loader)
    except FileNotFoundError:
        return "image that is not there", str(path)
    except (UnreadableImage, OSError, ValueError) as error:  # the last of a name with a NUL
        return "unreadable image", f"{path} ({error})"
    found = image.shape[1::-1]
    if size and found != tuple(size):
        return "image has another size", f"{path} is {found}, its annotation says {tuple(size)}"
    if image.dtype == np.uint8 and image.max(initial=0) < 16 and is_16_bit_with_less(path):
        kind = "16-bit image of less than 13 bits, read as 8 bits"
        return kind, f"{path} (0 to {image.max()} is left of its values)"
    return None


def draw_samples(samples: Sequence[Sample], path: Path) -> None:
    """Write a picture of images side by side, four in a row, to ``path``.

    Args:
        samples: File and title of each image, with class name and x, y, width, height of its boxes.
        path: The picture to write, .png or .jpg.
    """
    cells = []
    for file, title, boxes in samples:
        try:
            image = read_image(file)
        except (UnreadableImage, OSError):
            continue
        scale = CELL / max(image.shape[:2])
        cell = np.full((TITLE + CELL, CELL, 3), 255, np.uint8)
        small = cv2.resize(image, None, fx=scale, fy=scale)[:CELL, :CELL]
        cell[TITLE : TITLE + small.shape[0], : small.shape[1]] = small
        for name, (x, y, w, h) in boxes:
            left, right = int(x * scale), int((x + w) * scale)
            top, bottom = int(y * scale) + TITLE, int((y + h) * scale) + TITLE
            cv2.rectangle(cell, (left, top), (right, bottom), (0, 180, 0), 2)
            put_text(cell, name[:20], (max(left, 0) + 2, max(top, TITLE) + 12), (0, 120, 0))
        put_text(cell, title[:36], (2, 14), (0, 0, 0))
        cells.append(cell)
    cells += [np.full((TITLE + CELL, CELL, 3), 255, np.uint8)] * (-len(cells) % 4)
    rows = [np.hstack(cells[start : start + 4]) for start in range(0, len(cells), 4)]
    if rows:
        with atomic_write(path) as temporary:
            temporary.write_bytes(cv2.imencode(path.suffix, np.vstack(rows))[1].tobytes())


def put_text(image: np.ndarray, text: str, corner: tuple[int, int], color: tuple) -> None:
    """Write a text into an image; OpenCV's font has no letters but ASCII's."""
    text = text.encode("ascii", "replace").decode()
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color)
