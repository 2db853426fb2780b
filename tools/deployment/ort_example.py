"""Run an exported classifier with ONNX Runtime, without torch and MM packages.

``python tools/deployment/ort_example.py model.onnx image.jpg`` needs onnxruntime, numpy and Pillow.
"""

import argparse

import numpy as np
import onnxruntime
from PIL import Image


def load_image(path: str, size: int, metadata: dict[str, str]) -> np.ndarray:
    """The normalised centre of an image, 1×3×size×size.

    Pillow resizes it; the configs resize with OpenCV, whose pixels differ slightly.

    Args:
        path: The image file.
        size: Height and width.
        metadata: ``mean``, ``std`` and ``channels`` from the ONNX file.
    """
    image = Image.open(path).convert("RGB")
    scale = size * 256 / 224 / min(image.size)
    sides = [max(size, round(side * scale)) for side in image.size]
    image = image.resize(sides, Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32)
    if metadata.get("channels") == "BGR":
        pixels = pixels[..., ::-1]
    mean, std = (
        np.array(metadata.get(key, default).split(), dtype=np.float32)
        for key, default in (("mean", "0"), ("std", "1"))
    )
    return ((pixels - mean) / std).transpose(2, 0, 1)[None]


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify an image with ONNX Runtime")
    parser.add_argument("model", help="file written by export_onnx.py")
    parser.add_argument("image", help="image file")
    parser.add_argument(
        "--size", type=int, default=224, help="height and width of the network's input"
    )
    parser.add_argument("--top", type=int, default=5, help="how many classes to print")
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    outputs = session.run(None, {"images": load_image(args.image, args.size, metadata)})
    names = [output.name for output in session.get_outputs()]
    if names != ["logits"]:
        for name, output in zip(names, outputs, strict=True):
            print(name, output.shape)
        return
    logits = outputs[0][0]
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    for index in np.argsort(-shares)[: args.top]:
        print(f"class {index}: {shares[index]:.4f}")


if __name__ == "__main__":
    main()
