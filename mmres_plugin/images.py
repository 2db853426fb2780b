"""Image files: which suffixes count, and how a pipeline reads one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from PIL import Image

from .config_parts import step_of
from .errors import UnreadableImage

# Files with these suffixes are images to MMPretrain, whatever their case.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif")
# Images too, which MMPretrain takes only if `extensions` of the data set names their suffix.
OTHER_SUFFIXES = (".webp", ".tiff", ".avif", ".jp2", ".gif", ".heic", ".jfif")
MOST_PIXELS = 2**28  # 16,384 × 16,384: three channels of it are 0.8 GB


class Loader(NamedTuple):
    """How a pipeline reads images, as in MMCV's ``LoadImageFromFile``.

    Attributes:
        color_type: ``'color'``, ``'grayscale'``, ``'unchanged'`` …
        backend: ``'cv2'``, ``'pillow'``, ``'turbojpeg'`` or ``'tifffile'``; None for MMCV's own.
        ignore_empty: Whether it passes over files that cannot be read.
        is_local: Whether it reads files of this machine.
    """

    color_type: str = "color"
    backend: str | None = "cv2"
    ignore_empty: bool = False
    is_local: bool = True


def loader_of(dataset: Mapping, scope: str | None) -> Loader | None:
    """How the pipeline of a data set reads images; None if no transform of it is known to."""
    step = step_of(dataset, "LoadImageFromFile", scope)
    if step is None:
        return None
    return Loader(
        step.get("color_type", "color"),
        step.get("imdecode_backend", "cv2"),
        bool(step.get("ignore_empty")),
        (step.get("backend_args") or {}).get("backend", "local") == "local",
    )


def read_image(path: str | Path, loader: Loader | None = None) -> np.ndarray:
    """The image (height, width, channels) as a pipeline reads it; colours are in BGR order.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadableImage: It cannot be decoded, or announces more than ``MOST_PIXELS``; the message
            says why, without the name of the file.
    """
    path, loader = Path(path), loader or Loader()
    size = announced_size(path)
    if size and size[0] * size[1] > MOST_PIXELS:
        raise UnreadableImage(f"it announces {size[0]} × {size[1]} pixels, more than is read here")
    content = path.read_bytes()
    if not content:
        raise UnreadableImage("it is empty")
    try:
        image = mmcv.imfrombytes(content, loader.color_type, backend=loader.backend)
    except Exception as error:  # each decoder raises its own kinds
        raise UnreadableImage(str(error) or type(error).__name__) from error
    if image is None:
        raise UnreadableImage("it is damaged, cut short or no image of a kind that is read")
    return image


def announced_size(path: Path) -> tuple[int, int] | None:
    """Width and height that the header of a file announces, if Pillow knows the format."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours is another
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise
    except Exception:  # Pillow refuses in many ways; whoever decodes the file says what is wrong
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def image_files(folder: Path) -> Iterator[Path]:
    """The files below ``folder`` as MMEngine lists them: linked folders too, but no hidden files.

    Hidden folders are entered. A link back to a folder above itself is followed only once.
    """
    stack, seen = [folder], {folder.resolve()}
    while stack:
        for path in sorted(stack.pop().iterdir()):
            if path.is_dir():
                if path.resolve() not in seen:
                    seen.add(path.resolve())
                    stack.append(path)
            elif not path.name.startswith(".") and path.is_file():
                yield path


def is_16_bit_with_less(path: Path) -> bool:
    """Whether an image has 16 bits a pixel and uses no more than 12: as 8 bits it is nearly black.

    Cameras and medical devices write such files.
    """
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return image is not None and image.dtype == np.uint16 and image.max() < 4096
