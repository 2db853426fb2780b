#!/usr/bin/env python3
"""Run an exported model on images, without torch and without any MM package.

    python examples/run_onnx.py model.onnx photo.jpg
    python examples/run_onnx.py model.onnx frames --out drawn --backend openvino

Needs numpy, Pillow and onnxruntime or openvino. A detector's boxes are printed and drawn on copies
of the images; for a classifier, it prints the best classes. A folder's images come in the order
of the numbers in their names, like the frames of a camera.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
Outputs = dict[str, np.ndarray]


class Problem(Exception):
    """What the user can fix, in one sentence."""


class Network:
    """An exported file, opened with one of the two runtimes.

    Args:
        path: A file that export_onnx.py has written.
        backend: ``onnxruntime`` or ``openvino``.
        threads: CPU threads; 0 leaves the choice to the runtime.

    Attributes:
        metadata: What the file says about itself: ``task``, ``classes`` and others, as strings.

    Raises:
        Problem: If the file cannot be run.
    """

    def __init__(self, path: str | Path, backend: str = "onnxruntime", threads: int = 0) -> None:
        if not Path(path).is_file():
            raise Problem(f"there is no model file {path}")
        opened = {"onnxruntime": open_onnxruntime, "openvino": open_openvino}[backend]
        try:
            self.inputs, self.metadata, self.run = opened(str(path), threads)
        except ImportError as error:
            raise Problem(f"--backend {backend}: {error}; pip install {backend}") from error
        except Exception as error:  # each runtime has its own
            raise Problem(f"{path} is not a model that {backend} can run: {error}") from error
        if self.inputs != ["images"] or "task" not in self.metadata:
            raise Problem(f"{path} does not take plain images: export it with export_onnx.py")
        if self.metadata["task"] == "features":
            raise Problem(f"{path} gives features alone: export it without --features")

    def __call__(self, pixels: np.ndarray) -> Outputs:
        """The outputs by name for pixels, N×H×W×3, uint8, RGB."""
        return self.run(np.ascontiguousarray(pixels))


def open_onnxruntime(path: str, threads: int) -> tuple[list[str], dict[str, str], Callable]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(pixels: np.ndarray) -> Outputs:
        return dict(zip(names, session.run(names, {"images": pixels}), strict=True))

    inputs = [value.name for value in session.get_inputs()]
    return inputs, session.get_modelmeta().custom_metadata_map, run


def open_openvino(path: str, threads: int) -> tuple[list[str], dict[str, str], Callable]:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
    }
    model = openvino.Core().read_model(path)
    compiled = openvino.compile_model(model, "CPU", settings)

    def run(pixels: np.ndarray) -> Outputs:
        return {key.any_name: np.array(value) for key, value in compiled(pixels).items()}

    place, metadata = ["framework"], {}
    for key in model.get_rt_info(place).value if model.has_rt_info(place) else ():
        metadata[key] = model.get_rt_info([*place, key]).astype(str)
    return [value.any_name for value in model.inputs], metadata, run


def read_image(path: Path) -> Image.Image:
    """The image at ``path``, upright and in RGB with 8 bits, as OpenCV reads it for training.

    Grey values become three equal channels, transparency is dropped, and 16-bit values keep their
    upper eight bits.

    Raises:
        Problem: If it cannot be decoded or has more than 16 bits.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Problem(f"{path} cannot be read as an image: {error}") from error
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise Problem(f"{path} has 32 bits per pixel; only 8 and 16 are supported")
    return image.convert("RGB")


def centre(image: Image.Image, side: int) -> Image.Image:
    """The middle of the image, ``side`` × ``side``, at the scale that ImageNet is tested with."""
    scale = side * 256 / 224 / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def find_images(path: Path) -> list[Path]:
    """The image at ``path``, or those in the folder, ``frame2`` before ``frame10``."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise Problem(f"there is no image or folder {path}")

    def order(file: Path) -> list:
        parts = re.split(r"(\d+)", file.name)
        return [int(part) if part.isdecimal() else part for part in parts]

    found = sorted((file for file in path.iterdir() if file.suffix.lower() in IMAGES), key=order)
    if not found:
        raise Problem(f"{path} has no images ({', '.join(sorted(IMAGES))})")
    return found


def detections(outputs: Outputs, threshold: float) -> Iterator[tuple[int, float, list[float]]]:
    """Label, score and box (x1, y1, x2, y2) of what was found in the first image."""
    for index in range(int(outputs["counts"][0])):
        score = float(outputs["scores"][0, index])
        if score >= threshold:
            yield int(outputs["labels"][0, index]), score, outputs["boxes"][0, index].tolist()


def best_classes(outputs: Outputs, top: int) -> list[tuple[int, float]]:
    """Label and share of the best classes of the first image."""
    if "labels" in outputs:  # already chosen in the graph
        return list(zip(outputs["labels"][0].tolist(), outputs["scores"][0].tolist(), strict=True))[
            :top
        ]
    if "scores" in outputs:
        shares = outputs["scores"][0]
    else:
        logits = outputs["logits"][0].astype(np.float64)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
    return [(int(label), float(shares[label])) for label in np.argsort(-shares)[:top]]


def draw(image: Image.Image, found: list[tuple[str, float, list[float]]]) -> None:
    """Draw names, scores and boxes into the image."""
    pen = ImageDraw.Draw(image)
    width = max(1, min(image.size) // 200)
    colours = {
        name: COLOURS[index % len(COLOURS)]
        for index, name in enumerate(sorted({name for name, *_ in found}))
    }
    for name, score, box in found:
        pen.rectangle(box, outline=colours[name], width=width)
        text, corner = f"{name} {score:.2f}", (box[0] + width, box[1] + width)
        pen.rectangle(pen.textbbox(corner, text), fill=colours[name])
        pen.text(corner, text, fill="white")


def show(path: Path, network: Network, args: argparse.Namespace) -> float:
    """Print what the network finds in the image at ``path``; draw boxes. Returns the seconds."""
    image = read_image(path)
    if args.size:
        image = centre(image, args.size)
    start = time.perf_counter()
    outputs = network(np.asarray(image)[None])
    seconds = time.perf_counter() - start
    classes = json.loads(network.metadata.get("classes", "[]"))

    def name(label: int) -> str:
        return classes[label] if label < len(classes) else f"class {label}"

    if "boxes" not in outputs:
        best = ", ".join(
            f"{name(label)} {share:.4f}" for label, share in best_classes(outputs, args.top)
        )
        print(f"{path}: {best}")
        return seconds
    found = [(name(label), score, box) for label, score, box in detections(outputs, args.score)]
    print(f"{path}: {len(found)} found")
    for label, score, box in found:
        print(f"  {label} {score:.2f} at {', '.join(f'{side:.1f}' for side in box)}")
    draw(image, found)
    image.save(args.out / f"{path.stem}.png")
    return seconds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run an exported model on images")
    parser.add_argument("model", help="file written by export_onnx.py")
    parser.add_argument("images", type=Path, help="an image, or a folder of images or frames")
    parser.add_argument(
        "--out", type=Path, default=Path("drawn"), help="folder for the images with boxes"
    )
    parser.add_argument("--backend", choices=["onnxruntime", "openvino"], default="onnxruntime")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--score", type=float, default=0.3, help="lowest score of a box to show")
    parser.add_argument(
        "--size", type=int, help="first cut out the middle, with this height and width"
    )
    parser.add_argument("--top", type=int, default=5, help="how many classes to print")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    failed, seconds = 0, []
    try:
        paths = find_images(args.images)
        network = Network(args.model, args.backend, args.threads)
        steps = network.metadata.get("test_pipeline", "[]")
        if network.metadata.get("resize") == "caller" and steps != "[]" and not args.size:
            print(f"The file does not resize images; it was made for {steps}", file=sys.stderr)
        args.out.mkdir(parents=True, exist_ok=True)
        for path in paths:
            try:
                seconds.append(show(path, network, args))
            except Problem as problem:  # the other frames may be fine
                print(problem, file=sys.stderr)
                failed += 1
    except (Problem, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    if len(seconds) > 1:
        print(f"{len(seconds)} images, {1000 * np.median(seconds):.1f} ms each (median)")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
