"""What is predicted on: an image, a video, a folder or a pattern."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import UnreadableImage, UserError, did_you_mean
from ..images import MOST_PIXELS, OTHER_SUFFIXES, SUFFIXES, image_files

# Animated GIFs are read like videos.
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".gif")
IMAGES = tuple(suffix for suffix in SUFFIXES + OTHER_SUFFIXES if suffix not in VIDEOS)


class Picture(NamedTuple):
    """An image, or a frame of a video.

    Attributes:
        path: The file.
        frame: Number of the frame, from 0; None for an image.
        image: Height×width×channels, as the pipeline of the model reads it.
    """

    path: Path
    frame: int | None
    image: np.ndarray


def is_video(path: Path) -> bool:
    """Whether the name of ``path`` is that of a video."""
    return path.suffix.lower() in VIDEOS


def find_files(source: str, leave_out: Path) -> tuple[list[Path], Path, Counter[str]]:
    """The images and videos that ``source`` means.

    Args:
        source: A file, a folder, which is searched with all folders in it, or a pattern such as
            ``photos/*.jpg`` or ``photos/**/*.png``.
        leave_out: A folder within ``source`` whose files do not count: that of earlier results.

    Returns:
        The files in alphabetical order; the folder that they have in common; how many files of
        each suffix are neither images nor videos.

    Raises:
        UserError: If there is none.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return [path], path.parent, Counter()
    if path.is_dir():
        found = list(image_files(path))
    elif glob.has_magic(source):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        found = [file for file in found if file.is_file()]
    else:
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        meant = did_you_mean(path.name, [other.name for other in beside])
        raise UserError([f"there is no file or folder {path}.{meant}"])
    results = leave_out.resolve()
    if not path.resolve().is_relative_to(results):  # else the search starts there, or within
        found = [file for file in found if not file.resolve().is_relative_to(results)]
    files = sorted(file for file in found if file.suffix.lower() in IMAGES + VIDEOS)
    if not files:
        kinds = " ".join(IMAGES + VIDEOS)
        raise UserError([f"{path}: none of {len(found)} files is an image or video ({kinds})"])
    root = path if path.is_dir() else Path(os.path.commonpath([file.parent for file in files]))
    passed_over = Counter(file.suffix.lower() for file in found if file not in set(files))
    return files, root, passed_over


def pictures(
    files: Iterable[Path], read: Callable[[Path], np.ndarray], failed: dict[Path, str]
) -> Iterator[Picture]:
    """The images and the frames of the videos, one after the other.

    Args:
        files: From :func:`find_files`.
        read: Reads an image; it raises UnreadableImage or OSError.
        failed: Gets what cannot be read, and why.
    """
    for path in files:
        if is_video(path):
            yield from _frames(path, failed)
            continue
        try:
            image = read(path)
        except (UnreadableImage, OSError) as error:
            failed[path] = str(error)
            continue
        yield Picture(path, None, image)


def _frames(path: Path, failed: dict[Path, str]) -> Iterator[Picture]:
    """The frames of a video, read forward only: seeking loses frames of some formats."""
    video = cv2.VideoCapture(str(path))
    sides = [video.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    if sides[0] * sides[1] > MOST_PIXELS:
        failed[path] = f"its header announces frames of {sides[0]:.0f} × {sides[1]:.0f} pixels"
        return
    number = 0
    while (frame := video.read()[1]) is not None:
        yield Picture(path, number, frame)
        number += 1
    announced = video.get(cv2.CAP_PROP_FRAME_COUNT)  # negative in some live recordings
    if number == 0:
        failed[path] = "no frame can be read: it is damaged, or of an unknown kind"
    elif number < announced < 2**31:
        failed[path] = f"{number} of the {announced:.0f} frames that its header announces are there"
