"""Drawn pictures and videos."""

import os
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.font_manager import fontManager, get_font

from ..errors import UserError
from ..weights.files import atomic_write
from .sources import Picture, is_video

DRAWN = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # others become .png


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
            raise UserError([f"--out-dir {folder}: the pictures would replace those in {root}"])
        names[file] = name
    return names


class Drawings:
    """Writes drawn pictures and the frames of drawn videos, one after the other.

    A video gets its name when all its frames are in it. Leaving the ``with`` block after an error
    leaves no half of one.

    Args:
        names: Where the drawn form of each file goes.

    Attributes:
        problems: What could not be written, and why.
    """

    def __init__(self, names: dict[Path, Path]) -> None:
        self.names = names
        self.problems: list[str] = []
        self.video: cv2.VideoWriter | None = None
        self.name = self.temporary = Path()
        self.size, self.count = (0, 0), 0

    def add(self, picture: Picture, drawn: np.ndarray) -> None:
        """Write a picture, or the next frame of a video, H×W×3 in BGR."""
        name = self.names[picture.path]
        if picture.frame is not None:
            self.add_frame(picture.path, drawn)
            return
        done, data = cv2.imencode(name.suffix, drawn)
        if done:
            with atomic_write(name) as temporary:
                temporary.write_bytes(data.tobytes())
        else:
            self.problems.append(f"{name}: OpenCV cannot write a picture of this size")

    def add_frame(self, source: Path, drawn: np.ndarray) -> None:
        """Write the next frame of the drawn form of a video."""
        video = self.video
        if video is None or self.name != self.names[source]:
            self.end_video()
            self.name, self.count = self.names[source], 0
            self.size = (drawn.shape[1], drawn.shape[0])
            self.name.parent.mkdir(parents=True, exist_ok=True)
            self.temporary = self.name.with_name(f".{self.name.stem}.{os.getpid()}.tmp.mp4")
            fps = cv2.VideoCapture(str(source)).get(cv2.CAP_PROP_FPS) or 25
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            video = self.video = cv2.VideoWriter(str(self.temporary), codec, fps, self.size)
        # The writer would drop a frame of another size without a word.
        same = drawn.shape[1::-1] == self.size
        video.write(drawn if same else cv2.resize(drawn, self.size))
        self.count += 1

    def end_video(self, keep: bool = True) -> None:
        """Close the video that is being written, if any; keep it if all its frames are there."""
        if self.video is None:
            return
        self.video.release()
        self.video = None
        written, video = 0, cv2.VideoCapture(str(self.temporary))
        while keep and video.read()[0]:
            written += 1
        if keep and written == self.count:
            os.replace(self.temporary, self.name)
            return
        self.temporary.unlink(missing_ok=True)
        self.problems.append(
            f"{self.name}: {written} of {self.count} frames could be written. Is the disk full?"
        )

    def __enter__(self) -> "Drawings":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end_video(keep=kind is None)


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
