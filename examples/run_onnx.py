#!/usr/bin/env python3
"""Run an exported model on images, without torch and without any MM package.

    python examples/run_onnx.py model.onnx photo.jpg
    python examples/run_onnx.py model.onnx frames --out drawn --backend openvino

Needs numpy, Pillow and onnxruntime or openvino. Images are resized as the file's metadata says.
Prints the best classes, or boxes in pixels of the image, which are drawn on copies as well.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def open_model(path: str, backend: str) -> tuple[Callable, dict[str, str]]:
    """What runs the file (pixels, 1×H×W×3, uint8, RGB, to outputs by name), and its metadata."""
    if backend == "openvino":
        import openvino

        model = openvino.Core().read_model(path)
        compiled = openvino.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        known = model.get_rt_info(["framework"]).value
        metadata = {key: model.get_rt_info(["framework", key]).astype(str) for key in known}
        return lambda x: {k.any_name: np.array(v) for k, v in compiled(x).items()}, metadata
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    metadata = session.get_modelmeta().custom_metadata_map
    return lambda x: dict(zip(names, session.run(names, {"images": x}), strict=True)), metadata


def open_image(path: Path) -> Image.Image:
    """The image, upright and in RGB with 8 bits; 16-bit values keep their upper eight bits."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("32 bits per pixel; only 8 and 16 are supported")
    return image.convert("RGB")


def resized(image: Image.Image, steps: list[dict]) -> Image.Image:
    """The image after the steps of the test pipeline that set its size, as MMCV does them."""
    for step in steps:
        width, height = image.size
        if step["type"] == "CenterCrop":
            down, across = np.broadcast_to(step["crop_size"], 2).tolist()
            left, top = round((width - across) / 2), round((height - down) / 2)
            image = image.crop((left, top, left + across, top + down))
            continue
        if step["type"] not in ("Resize", "ResizeEdge") or "scale" not in step:
            raise ValueError(f"the step {step} of the test pipeline is not known here")
        scale = np.broadcast_to(step["scale"], 2).tolist()
        x, y = scale[0] / width, scale[1] / height
        if step["type"] == "ResizeEdge":
            ends = {"short": min(image.size), "long": max(image.size)}
            edge = ends.get(step.get("edge", "short")) or getattr(image, step["edge"])
            x, y = (side * scale[0] // edge / side for side in image.size)
        elif step.get("keep_ratio"):
            x = y = min(max(scale) / max(image.size), min(scale) / min(image.size))
        size = (max(int(width * x + 0.5), 1), max(int(height * y + 0.5), 1))
        matrix = (width / size[0], 0, 0, 0, height / size[1], 0)  # without smoothing, as OpenCV
        image = image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return image


def show(path: Path, run: Callable, metadata: dict[str, str], args: argparse.Namespace) -> None:
    """Print what the model finds in the image at ``path``; draw boxes."""
    image = open_image(path)
    classes = json.loads(metadata.get("classes", "[]"))
    small = resized(image, json.loads(metadata.get("test_pipeline", "[]")))
    outputs = {name: value[0] for name, value in run(np.asarray(small)[None]).items()}
    scores = outputs["scores"] if "scores" in outputs else outputs["logits"]
    labels = outputs.get("labels", np.arange(len(scores)))
    names = [str(classes[i] if 0 <= i < len(classes) else i) for i in labels]
    if "boxes" not in outputs:
        if "logits" in outputs:
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = np.argsort(-scores, kind="stable")[: args.top]
        print(f"{path}: " + ", ".join(f"{names[i]} {scores[i]:.4f}" for i in best))
        return
    number = int((scores[: outputs["counts"]] >= args.score).sum())
    boxes = outputs["boxes"][:number] * np.tile(np.divide(image.size, small.size), 2)
    print(f"{path}: {number} found")
    pen = ImageDraw.Draw(image)
    for box, score, name in zip(boxes.tolist(), scores, names, strict=False):
        print(f"  {name} {score:.2f} at {', '.join(f'{side:.1f}' for side in box)}")
        pen.rectangle(box, outline="red", width=max(1, min(image.size) // 200))
        pen.text(box[:2], f"{name} {score:.2f}", fill="red")
    image.save(args.out / f"{path.name}.png")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run an exported model on images")
    parser.add_argument("model", help="file written by `mmres export`")
    parser.add_argument("images", type=Path, help="an image, or a folder of images")
    parser.add_argument("--out", type=Path, default=Path("drawn"), help="folder for the drawings")
    parser.add_argument("--backend", choices=["onnxruntime", "openvino"], default="onnxruntime")
    parser.add_argument("--score", type=float, default=0.3, help="lowest score of a box to show")
    parser.add_argument("--top", type=int, default=5, help="how many classes to print")
    args = parser.parse_args()
    paths = [args.images]
    if args.images.is_dir():
        paths = sorted(path for path in args.images.iterdir() if path.suffix.lower() in SUFFIXES)
        if args.out.resolve() == args.images.resolve():
            return fail("--out: choose another folder than that of the images")
    try:
        run, metadata = open_model(args.model, args.backend)
    except Exception as error:  # each runtime has its own
        return fail(f"{args.model} cannot be run by {args.backend}: {error}")
    if metadata.get("input") != "images":
        return fail(f"{args.model} does not take images: export it without --features or --input")
    args.out.mkdir(parents=True, exist_ok=True)
    code = 0
    for path in paths:
        try:
            show(path, run, metadata, args)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            code = fail(f"{path}: {error}")  # the others may be fine
    return code


def fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
