"""What predictions are written to: drawn pictures and videos, and one JSON file."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from ..deploy.output import prepare_output
from ..errors import UserError
from ..weights.files import atomic_write
from .sources import Picture, is_video, open_video

NAME = "predictions.json"
DRAWN = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # others become .png


class Output:
    """Writes results as they come; a file is there as a whole or not at all.

    Leaving the ``with`` block without an error writes the JSON file.

    Args:
        folder: Where to write; made if missing.
        files: All inputs, which are never overwritten.
        root: Their common folder. Results have the same places below ``folder``.
        head: What stands in the JSON file before the results.

    Raises:
        UserError: If the folder cannot be written to, or a picture would replace an input.
    """

    def __init__(self, folder: Path, files: list[Path], root: Path, head: dict[str, Any]) -> None:
        self.folder, self.root, self.head = folder, root, head
        self.results: list[dict[str, Any]] = []
        self.video: tuple[Path, Path, cv2.VideoWriter] | None = None  # of which, to where
        inputs = {file.resolve() for file in files}
        for file in files:
            if self.place(file).resolve() in inputs:
                raise UserError([f"--out-dir {folder}: the pictures would replace those in {root}"])
        prepare_output(folder / NAME)

    def place(self, file: Path) -> Path:
        """Where the drawn form of ``file`` is written."""
        place = self.folder / file.relative_to(self.root)
        if is_video(file):
            return place.with_name(place.name + ".mp4") if place.suffix != ".mp4" else place
        return place if place.suffix.lower() in DRAWN else place.with_name(place.name + ".png")

    def add(
        self, picture: Picture, predictions: list[dict[str, Any]], drawn: np.ndarray | None
    ) -> None:
        """Take the results of one picture, and write the picture unless ``drawn`` is None."""
        height, width = picture.image.shape[:2]
        frame = {} if picture.frame is None else {"frame": picture.frame}
        self.results.append(
            {"file": str(picture.path), **frame, "height": height, "width": width}
            | {"predictions": predictions}
        )
        if drawn is None:
            return
        if picture.frame is None:
            place = self.place(picture.path)
            with atomic_write(place) as temporary:
                temporary.write_bytes(cv2.imencode(place.suffix, drawn)[1].tobytes())
        else:
            self.add_frame(picture.path, drawn)

    def add_frame(self, file: Path, drawn: np.ndarray) -> None:
        """Write the next frame of the drawn form of a video."""
        if self.video is None or self.video[0] != file:
            self.end_video()
            place = self.place(file)
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{place.stem}.{os.getpid()}.tmp.mp4")
            size = (drawn.shape[1], drawn.shape[0])
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            video = cv2.VideoWriter(str(temporary), codec, open_video(file).fps or 25, size)
            if not video.isOpened():
                raise UserError([f"OpenCV cannot write the video {place}: use --no-pictures"])
            self.video = (file, temporary, video)
        self.video[2].write(drawn)

    def end_video(self, keep: bool = True) -> None:
        """Close the video that is being written, if any."""
        if self.video is not None:
            file, temporary, video = self.video
            self.video = None
            video.release()
            if keep:
                os.replace(temporary, self.place(file))
            else:
                temporary.unlink(missing_ok=True)

    def __enter__(self) -> "Output":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_video(keep=kind is None)
        if kind is None:
            with atomic_write(self.folder / NAME) as temporary:
                temporary.write_text(self.text(), "utf-8")

    def text(self) -> str:
        """The JSON file, with a line for each picture."""
        head = json.dumps(self.head, indent=1).removesuffix("\n}")
        lines = ",\n  ".join(map(json.dumps, self.results))
        return f'{head},\n "results": [\n  {lines}\n ]\n}}\n'
