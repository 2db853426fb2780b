"""What is predicted on, and the pictures and videos that are drawn of it."""

import glob
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.font_manager import fontManager, get_font

from ..errors import UnreadableImage, UserError, did_you_mean
from ..images import MOST_PIXELS, OTHER_SUFFIXES, SUFFIXES, Loader, image_files, read_image
from ..weights.files import atomic_write

# Animated GIFs are read like videos.
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".gif")
IMAGES = tuple(suffix for suffix in SUFFIXES + OTHER_SUFFIXES if suffix not in VIDEOS)
PLAYLISTS = (b"#EXTM3U", b"ffconcat")  # they name other files, and may have no end
DRAWN = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # others become .png


class Picture(NamedTuple):
    """An image as the pipeline reads it, or a frame of a video with its number, from 0."""

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
        raise UserError(f"there is no file or folder {path}.{meant}")
    results = leave_out.resolve()
    if not path.resolve().is_relative_to(results):  # else the search starts there, or within
        found = [file for file in found if not file.resolve().is_relative_to(results)]
    files = sorted(file for file in found if file.suffix.lower() in IMAGES + VIDEOS)
    if not files:
        kinds = " ".join(IMAGES + VIDEOS)
        raise UserError(f"{path}: none of {len(found)} files is an image or video ({kinds})")
    root = path if path.is_dir() else Path(os.path.commonpath([file.parent for file in files]))
    return files, root, Counter(file.suffix.lower() for file in set(found) - set(files))


def pictures(files: Iterable[Path], loader: Loader, failed: dict[Path, str]) -> Iterator[Picture]:
    """The images and the frames of the videos, one after the other.

    Args:
        files: From :func:`find_files`.
        loader: How the pipeline of the model reads images.
        failed: Gets what cannot be read, and why.
    """
    for path in files:
        try:
            if is_video(path):
                yield from _frames(path, loader)
            else:
                yield Picture(path, None, read_image(path, loader))
        except (UnreadableImage, OSError) as error:
            failed[path] = str(error)


def _frames(path: Path, loader: Loader) -> Iterator[Picture]:
    """The frames of a video, read forward only: seeking loses frames of some formats."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:  # OpenCV would end the process
        raise UnreadableImage("OpenCV opens no video whose path is not UTF-8") from error
    with path.open("rb") as file:
        if file.read(8).startswith(PLAYLISTS):
            raise UnreadableImage("it is a playlist, not a video")
    video = cv2.VideoCapture(str(path))
    width, height = (video.get(i) for i in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MOST_PIXELS:
        raise UnreadableImage(f"its header announces frames of {width:.0f} × {height:.0f} pixels")
    number = 0
    while (frame := video.read()[1]) is not None:
        if loader.color_type.startswith("grayscale"):
            frame = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        yield Picture(path, number, frame)
        number += 1
    announced = video.get(cv2.CAP_PROP_FRAME_COUNT)  # negative in some live recordings
    if number == 0:
        raise UnreadableImage("no frame can be read: it is damaged, or of an unknown kind")
    if number < announced < 2**31:
        said = f"{number} of the {announced:.0f} frames that its header announces are there"
        raise UnreadableImage(said)


def drawn_names(files: list[Path], root: Path, folder: Path) -> dict[Path, Path]:
    """Where the drawn form of each file is written: below ``folder``, as the file below ``root``.

    Raises:
        UserError: If a picture would replace an input.
    """
    names: dict[Path, Path] = {}
    inputs = {file.resolve() for file in files}
    for file in files:
        name = folder / file.relative_to(root)
        suffix, kinds = (".mp4", (".mp4",)) if is_video(file) else (".png", DRAWN)
        if name.suffix.lower() not in kinds:
            name = name.with_name(name.name + suffix)
        while name in names.values():  # b.ppm beside b.ppm.png
            name = name.with_name(f"{name.stem}_{name.suffix}")
        if name.resolve() in inputs:
            raise UserError(f"--out-dir {folder}: the pictures would replace those in {root}")
        names[file] = name
    return names


def write_drawn(source: Path, name: Path, drawings: Iterator[np.ndarray]) -> None:
    """Write the drawn form of an image or of a video, whole or not at all.

    Args:
        source: What was drawn on.
        name: The file to write.
        drawings: The picture, or all frames of the video; height×width×3, BGR.

    Raises:
        UserError: If OpenCV does not write all of it.
    """
    first = next(drawings)
    if not is_video(source):
        done, data = cv2.imencode(name.suffix, first)
        if not done:
            raise UserError(f"{name}: OpenCV cannot write a picture of this size")
        with atomic_write(name) as temporary:
            temporary.write_bytes(data.tobytes())
        return
    name.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=name.parent) as folder:
        half = Path(folder, name.name)  # OpenCV takes the format from the ending
        fps = cv2.VideoCapture(str(source)).get(cv2.CAP_PROP_FPS)
        fps = fps if 0 < fps < 1000 else 25  # some headers hold a clock there
        size = (first.shape[1], first.shape[0])
        writer = cv2.VideoWriter(str(half), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        count = written = 0
        for drawing in chain([first], drawings):
            writer.write(cv2.resize(drawing, size))  # another size it drops without a word
            count += 1
        writer.release()
        video = cv2.VideoCapture(str(half))
        while video.read()[0]:
            written += 1
        if written < count:
            said = f"{written} of {count} frames could be written. Is the disk full?"
            raise UserError(f"{name}: {said}")
        half.replace(name)


def use_font_for(names: list[str]) -> None:
    """Draw with an installed font that has all characters of ``names``; say so if none has."""
    characters = set(map(ord, "".join(names))) - {ord(" ")}
    usual = plt.rcParams["font.sans-serif"][0]
    # The last resort has a frame for every character.
    fonts = [font for font in fontManager.ttflist if not font.name.startswith("Last Resort")]
    for font in sorted(fonts, key=lambda font: font.name != usual):
        if characters <= get_font(font.fname).get_charmap().keys():
            if font.name != usual:
                for family in (plt.rcParams["font.sans-serif"], plt.rcParams["font.monospace"]):
                    family.insert(0, font.name)
            return
    print(
        "no installed font has all characters of the class names: install one, for example with "
        "apt-get install fonts-noto-cjk"
    )
