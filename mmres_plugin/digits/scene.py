"""Draw digits or shapes on photographs.

The photographs are those inside the scikit-learn and scikit-image packages. The comments speak of
digits; shapes are drawn in the same way.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import UserError
from .glyphs import digits, shapes

# Whole photographs are kept apart, so that no crop of one split can show what the other has seen.
PHOTOS = {
    "train": (
        *("astronaut.png", "brick.png", "chelsea.png", "grass.png", "hubble_deep_field.jpg"),
        *("ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg", "flower.jpg"),
    ),
    "val": ("camera.png", "coffee.png", "gravel.png", "china.jpg"),
}
FOLDERS = {"flower.jpg": "sklearn/datasets/images", "china.jpg": "sklearn/datasets/images"}
VAL_SHARE = 0.2  # of the digit samples of each class
MIN_SIDE = 16  # pixels, longer side of the smallest digit
MIN_VISIBLE = 0.75  # of a digit's ink, once later digits have covered it
MIN_CONTRAST = 90  # grey levels of 255 between the ink and the mean of what it covers
BACKGROUND_CONTRAST = (0.3, 0.8)  # factors by which the contrast of a photo is changed
NOISE = 6  # grey levels, largest standard deviation of the noise on an image
INK = 0.5  # opacity from which a pixel counts as ink


class DrawnDigit(NamedTuple):
    """A digit as it can be seen in a scene."""

    sample: int  # index into the glyphs
    label: int  # the class of the glyph; for a digit, the digit
    box: tuple[int, int, int, int]  # x, y, width, height in pixels, tight around the visible ink


class Scene(NamedTuple):
    """An image and what was drawn on which part of which photo."""

    image: np.ndarray  # height × width × 3, uint8, BGR
    photo: str
    crop: tuple[int, int, int]  # x, y, side of the square cut from the photo, in its pixels
    digits: list[DrawnDigit]


class Painter:
    """Draws scenes of one split; the same generator state always gives the same scene.

    Args:
        split: "train" or "val"; the two share neither a photo nor a digit sample.
        seed: Decides which digit samples belong to which split.
        with_shapes: Draw shapes, not digits.
    """

    def __init__(self, split: str, seed: int, with_shapes: bool = False) -> None:
        names = [f"{FOLDERS.get(name, 'skimage/data')}/{name}" for name in PHOTOS[split]]
        self.photos = {name: _read_photo(name) for name in names}
        self.glyphs, self.labels, self.names = shapes() if with_shapes else digits()
        self.samples = _split_samples(self.labels, seed)[split]

    def draw(
        self, rng: np.random.Generator, size: int, samples: list[int], side: tuple[float, float]
    ) -> Scene:
        """Draw digits on a random crop of a random photo.

        Args:
            rng: Source of every random choice.
            size: Side of the square image in pixels.
            samples: The digit samples to draw; one for which no free place is found is left out.
            side: Smallest and largest longer side of a digit, in pixels.
        """
        photo = list(self.photos)[rng.integers(len(self.photos))]
        image, crop = _crop_photo(rng, self.photos[photo], size)
        # owner[y, x] is 1 + the position in `drawn` of the digit whose ink lies on top there.
        owner = np.zeros((size, size), np.uint8)
        drawn, ink_areas = [], []
        for sample in samples:
            alpha = _render(rng, self.glyphs[sample], _log_uniform(rng, *side))
            placed = _find_place(rng, owner, alpha, ink_areas)
            if placed is None:
                continue
            owner, window = placed
            ink_areas.append(int((alpha > INK).sum()))
            drawn.append(sample)
            _paint(rng, image[window], alpha)
        noise = rng.normal(0, rng.uniform(0, NOISE), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
        found = [
            DrawnDigit(sample, int(self.labels[sample]), _box(owner == position))
            for position, sample in enumerate(drawn, start=1)
        ]
        return Scene(image, photo, crop, found)


def _read_photo(name: str) -> np.ndarray:
    # Read from the installed package: the loaders of skimage.data may try the network.
    package, _, inner = name.partition("/")
    spec = find_spec(package)
    path = Path(spec.origin).parent / inner if spec and spec.origin else Path(inner)
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if photo is None:
        wanted = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
        how = "--force-reinstall --no-deps " if spec else ""
        raise UserError(f"the photo {path} is missing: pip install {how}{wanted}")
    return photo


def _split_samples(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    parts = {"train": [], "val": []}
    for label in np.unique(labels):
        samples = rng.permutation(np.flatnonzero(labels == label))
        held_out = round(VAL_SHARE * len(samples))
        parts["val"].append(samples[:held_out])
        parts["train"].append(samples[held_out:])
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _crop_photo(
    rng: np.random.Generator, photo: np.ndarray, size: int
) -> tuple[np.ndarray, tuple[int, int, int]]:
    height, width = photo.shape[:2]
    largest = min(height, width)
    side = int(_log_uniform(rng, min(0.6 * size, largest), min(3 * size, largest)))
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    shrink = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    image = cv2.resize(photo[y : y + side, x : x + side], (size, size), interpolation=shrink)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    contrast, brightness = rng.uniform(*BACKGROUND_CONTRAST), rng.uniform(-30, 30)
    image = (image.astype(np.float32) - 128) * contrast + 128 + brightness
    return np.clip(image, 0, 255), (x, y, side)


def _render(rng: np.random.Generator, glyph: np.ndarray, side: float) -> np.ndarray:
    """Opacity (float, 0 to 1) of a rotated digit whose ink's longer side is `side` pixels."""
    # The margin leaves room for the turn.
    padded = np.pad(glyph, round(len(glyph) * 3 / 8)).astype(np.float32)
    canvas = cv2.resize(padded, (168, 168), interpolation=cv2.INTER_CUBIC)
    shear = rng.uniform(-0.1, 0.1)
    turn = cv2.getRotationMatrix2D((84, 84), rng.uniform(-15, 15), 1)
    turn[:, 1] += shear * turn[:, 0]
    turn[:, 2] -= 84 * shear * turn[:, 0]  # keep the centre where it is
    canvas = cv2.warpAffine(canvas, turn, (168, 168), flags=cv2.INTER_LINEAR)
    canvas -= 0.12  # thinner strokes, which keep the holes of 6, 8 and 9 open
    x, y, width, height = _box(canvas > INK)
    canvas = canvas[max(y - 4, 0) : y + height + 4, max(x - 4, 0) : x + width + 4]
    scale = side / max(width, height)
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=shrink)
    # A steeper edge gives a pen stroke instead of the blur of eight enlarged pixels.
    return np.clip((canvas - INK) * 2.5 + INK, 0, 1)


def _find_place(
    rng: np.random.Generator, owner: np.ndarray, alpha: np.ndarray, ink_areas: list[int]
) -> tuple[np.ndarray, tuple[slice, slice]] | None:
    """Try some places; take the first that leaves every digit under it mostly visible."""
    size, (height, width) = len(owner), alpha.shape
    ink = alpha > INK
    if max(height, width) > size or max(_box(ink)[2:]) < MIN_SIDE:
        return None
    for _ in range(20):
        y, x = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        window = (slice(y, y + height), slice(x, x + width))
        covered = owner.copy()
        covered[window][ink] = len(ink_areas) + 1
        touched = np.unique(owner[window][ink])
        left = {position: covered == position for position in touched if position}
        if all(
            mask.sum() >= MIN_VISIBLE * ink_areas[position - 1] and max(_box(mask)[2:]) >= MIN_SIDE
            for position, mask in left.items()
        ):
            return covered, window
    return None


def _paint(rng: np.random.Generator, patch: np.ndarray, alpha: np.ndarray) -> None:
    """Blend a digit of a random colour, readable on its background, into `patch` in place."""
    to_grey = np.array([0.114, 0.587, 0.299])  # of blue, green and red
    background = float((patch[alpha > INK] @ to_grey).mean())
    ink = rng.uniform(0, 255, 3)
    while abs(ink @ to_grey - background) < MIN_CONTRAST:
        ink = rng.uniform(0, 255, 3)
    opacity = (alpha * rng.uniform(0.85, 1))[..., None]
    patch[:] = patch * (1 - opacity) + ink * opacity


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, width, height
