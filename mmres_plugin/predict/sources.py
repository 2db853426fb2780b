"""What is predicted on: an image, a video, a folder or a pattern."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np

from ..errors import UserError, did_you_mean

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


class Picture(NamedTuple):
    """An image, or a frame of a video.

    Attributes:
        path: The file.
        frame: Number of the frame, from 0; None for an image.
        image: Height×width×3 in BGR, 8 bits.
    """

    path: Path
    frame: int | None
    image: np.ndarray


def is_video(path: Path) -> bool:
    """Whether the name of ``path`` is that of a video."""
    return path.suffix.lower() in VIDEOS


def find_files(source: str | Path, leave_out: Path | None = None) -> tuple[list[Path], Path]:
    """The images and videos that ``source`` means.

    Args:
        source: A file, a folder, which is searched with all folders in it, or a pattern such as
            ``photos/*.jpg`` or ``photos/**/*.png``.
        leave_out: A folder within ``source`` whose files do not count: that of earlier results.

    Returns:
        The files in alphabetical order, and the folder that they have in common.

    Raises:
        UserError: If there is none.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return [path], path.parent
    if path.is_dir():
        found, where = path.rglob("*"), f"{path} and the folders in it have"
    elif glob.has_magic(str(source)):
        names = glob.glob(str(path), recursive=True)
        found, where = map(Path, names), f"the {len(names)} files and folders like {source} have"
    else:
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        meant = did_you_mean(path.name, [other.name for other in beside])
        raise UserError([f"there is no file or folder {path}.{meant}"])
    results = leave_out.resolve() if leave_out else None
    if results and (path.resolve() == results or path.resolve().is_relative_to(results)):
        results = None  # the search starts there, or within
    files = sorted(
        file
        for file in found
        if file.suffix.lower() in IMAGES + VIDEOS
        and file.is_file()
        and not (results and file.resolve().is_relative_to(results))
    )
    if not files:
        raise UserError([f"{where} no image or video ({' '.join(IMAGES + VIDEOS)})"])
    root = path if path.is_dir() else Path(os.path.commonpath([file.parent for file in files]))
    return files, root


def count(files: Iterable[Path]) -> int:
    """How many pictures the files have, according to their headers.

    Raises:
        UserError: If a video cannot be read.
    """
    return sum(len(open_video(path)) if is_video(path) else 1 for path in files)


def pictures(files: Iterable[Path], unreadable: list[Path]) -> Iterator[Picture]:
    """The images and the frames of the videos, one after the other.

    Args:
        files: From :func:`find_files`.
        unreadable: Gets the images that cannot be decoded, and the videos that end early.
    """
    for path in files:
        if is_video(path):
            video, number = open_video(path), 0
            for number, frame in enumerate(video, 1):
                yield Picture(path, number - 1, frame)
            if number < len(video):
                unreadable.append(path)
            continue
        image = read_image(path)
        if image is None:
            unreadable.append(path)
        else:
            yield Picture(path, None, image)


def read_image(path: str | Path) -> np.ndarray | None:
    """The image as the pipelines read it, or None if it cannot be decoded."""
    try:
        return mmcv.imread(str(path))
    except Exception:  # each decoder raises its own kinds
        return None


def open_video(path: Path) -> mmcv.VideoReader:
    """The video, at its first frame.

    Raises:
        UserError: If it cannot be read.
    """
    video = mmcv.VideoReader(str(path))
    if not video.opened or video.read() is None:
        raise UserError([f"the video {path} cannot be read: it is damaged, or of an unknown kind"])
    return mmcv.VideoReader(str(path))
