"""Smaller files: the layers of an ONNX file in 8-bit integers or in half precision.

Both are done by ONNX Runtime's tools. In 8 bits, weights get a scale per output channel, and
activations a range per tensor, from images of the training set. The file stays plain ONNX:
``QuantizeLinear`` and ``DequantizeLinear`` mark what a runtime may compute in integers, and both
ONNX Runtime and OpenVINO do.

The last layers stay in float, because 256 values are too few for the coordinates that are decoded
from them.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.transformers.float16 import convert_float_to_float16

LAYERS = ("Conv", "ConvTranspose", "Gemm")


def quantize_onnx(path: str | Path, images: Sequence[np.ndarray]) -> str:
    """Turn an ONNX file into an 8-bit one; returns what became of it, in a line.

    Args:
        path: The file, with the one input ``images``; it is replaced.
        images: What to calibrate with, H×W×3 each, uint8, RGB.
    """
    metadata = onnx.load(path).metadata_props
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Folds constants and fuses what can be fused; the shapes are the exporter's.
        quantization.quant_pre_process(path, prepared, skip_symbolic_shape=True)
        layers, last = find_layers(onnx.load(prepared).graph)
        quantization.quantize_static(
            prepared,
            path,
            Images(images),
            op_types_to_quantize=[*LAYERS, "Relu"],
            nodes_to_exclude=last,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    model = onnx.load(path)
    del model.metadata_props[:]
    model.metadata_props.extend(metadata)
    onnx.save(model, path)
    return f"8 bits: {len(layers) - len(last)} of {len(layers)} layers; the last stay in float"


def to_half(path: str | Path) -> None:
    """Turn weights and features of an ONNX file into float16; inputs and outputs stay as they are.

    Args:
        path: The file, which is replaced.
    """
    model = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    onnx.save(model, path)


def find_layers(graph: onnx.GraphProto) -> tuple[list[str], list[str]]:
    """The names of the layers with weights, and of those on which no other layer depends."""
    weights = {initializer.name for initializer in graph.initializer}
    layers, last = [], []
    wanted: set[str] = set()  # tensors that reach a layer
    for node in reversed(graph.node):
        layer = node.op_type in LAYERS and node.input[1] in weights
        if layer:
            layers.append(node.name)
            if not wanted & set(node.output):
                last.append(node.name)
        if layer or wanted & set(node.output):
            wanted.update(node.input)
    return layers, last


class Images(quantization.CalibrationDataReader):
    """The images in the way that ONNX Runtime asks for them."""

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict | None:
        image = next(self.images, None)
        return None if image is None else {"images": image[None]}
