"""What is drawn on the photographs: handwritten digits, or shapes.

A glyph is a square of opacities, 0 to 1. Each class has many different glyphs.
"""

import cv2
import numpy as np

from ..errors import user_error

SHAPES = ("circle", "cross", "square", "star", "triangle")
VARIANTS = 60  # of each shape
SIDE = 96  # pixels of a shape's glyph
Glyphs = tuple[np.ndarray, np.ndarray, tuple[str, ...]]  # N×S×S opacities, N labels, class names


def digits() -> Glyphs:
    """The 1,797 handwritten digits of 8×8 pixels that scikit-learn ships."""
    with user_error("the digits are scikit-learn's: pip install scikit-learn"):
        from sklearn.datasets import load_digits
    pixels, labels = load_digits(return_X_y=True)
    return pixels.reshape(-1, 8, 8) / 16, labels, tuple(map(str, range(10)))


def shapes() -> Glyphs:
    """Filled shapes of random proportions; always the same ones."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(SHAPES)), VARIANTS)
    images = np.stack([_draw(_corners(SHAPES[label], rng), rng) for label in labels])
    return images, labels, SHAPES


def _corners(shape: str, rng: np.random.Generator) -> np.ndarray:
    """N×2 corners within the unit circle."""
    if shape == "cross":
        arm = rng.uniform(0.25, 0.4)
        quarter = np.array([[arm, arm], [arm, 1], [-arm, 1]])
        turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in _angles(4)]
        return np.concatenate([quarter @ turn.T for turn in turns])
    number = {"circle": 60, "square": 4, "star": 10, "triangle": 3}[shape]
    radius = np.ones(number)
    if shape == "star":
        radius[1::2] = rng.uniform(0.35, 0.5)
    angles = _angles(number) + (np.pi / 4 if shape == "square" else -np.pi / 2)
    return radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _angles(number: int) -> np.ndarray:
    return np.arange(number) * 2 * np.pi / number


def _draw(corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    stretched = corners * [1, rng.uniform(0.7, 1)] if rng.random() < 0.5 else corners
    points = SIDE / 2 + stretched * (SIDE / 2 - 2)
    image = np.zeros((SIDE, SIDE), np.uint8)
    # Corners in 1/16 of a pixel.
    cv2.fillPoly(image, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return image / 255
