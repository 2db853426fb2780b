"""8-bit files, made from a small ONNX file whose layers are known."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import ROOT, run
from helpers.configs import detector_config
from helpers.data import make_coco
from onnx import numpy_helper

from mmres_plugin.deploy.quantize import quantize_onnx

# A stem, a residual block that runs twice with the same weights, and a last layer with boxes
# decoded behind it.
NETWORK = """<ir_version: 9, opset_import: ["" : 18]>
network (uint8[n, h, w, 3] images) => (float[n, 4, a, b] boxes) {
  floats = Cast <to = 1> (images)
  x = Transpose <perm = [0, 3, 1, 2]> (floats)
  x1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, stem)
  x2 = Relu (x1)
  x3 = Conv <pads = [1, 1, 1, 1]> (x2, block)
  x4 = Add (x3, x2)
  x5 = Relu (x4)
  x6 = Conv <pads = [1, 1, 1, 1]> (x5, block)
  x7 = Add (x6, x5)
  x8 = Relu (x7)
  x9 = Conv (x8, last)
  boxes = Add (x9, offsets)
}"""
CHANNELS = 16


@pytest.fixture
def network(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    shapes = {"stem": (16, 3, 3, 3), "block": (16, 16, 3, 3), "last": (4, 16, 1, 1)}
    arrays = {
        name: rng.normal(0, np.prod(shape[1:]) ** -0.5, shape) for name, shape in shapes.items()
    }
    arrays["offsets"] = np.full((1, 1, 1, 1), 7.0)
    model = onnx.parser.parse_model(NETWORK)
    for index, node in enumerate(model.graph.node):
        node.name = f"node{index}"
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    model = onnx.shape_inference.infer_shapes(model)
    onnx.helper.set_model_props(model, {"task": "detection"})
    onnx.save(model, tmp_path / "float.onnx")
    return tmp_path / "float.onnx"


def outputs(path: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": image[None]})[0]


def test_what_is_quantized(network, tmp_path):
    """Weights once per layer with a scale per channel, ranges of activations once per run."""
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(4)]
    out = tmp_path / "int8.onnx"
    shutil.copy(network, out)
    said = quantize_onnx(out, images)
    assert said == "8 bits: 3 of 4 layers; the last stay in float"
    graph = onnx.load(out).graph
    arrays = {array.name: numpy_helper.to_array(array) for array in graph.initializer}
    weights = [a for a in arrays.values() if a.dtype == np.int8 and a.ndim == 4]
    assert sorted(map(len, weights)) == [CHANNELS] * 2
    assert arrays["last"].dtype == np.float32
    assert arrays["block_scale"].shape == (CHANNELS,)
    scales = {
        node.output[0]: float(arrays[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and arrays[node.input[1]].ndim == 0
    }
    layers = [n for n in graph.node if n.op_type == "Conv" and n.input[1].startswith("block")]
    assert len({scales[node.input[0]] for node in layers}) == 2
    assert {prop.key: prop.value for prop in onnx.load(out).metadata_props} == {"task": "detection"}
    exact = outputs(network, images[0])
    difference = outputs(out, images[0]) - exact
    assert 0 < np.abs(difference).max() < 0.2 * np.abs(exact - 7).max()


@pytest.mark.slow
def test_command(tmp_path):
    """A detector from its config to boxes, in 8 bits."""
    coco = make_coco(tmp_path / "coco")
    small = dict(depth=(1, 1, 1, 1), recursions=0, stem_channels=16, base_channels=16)
    extra = f"model['backbone'].update({small})"
    config, out = detector_config(tmp_path / "config.py", coco, extra), tmp_path / "model.onnx"
    words = ["mmres", "export", config, "none", out, "--no-verify", "--int8", "--calibrate"]
    printed = run(*words, 4)
    assert "calibrating with 4 images of the training set" in printed
    kinds = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "NonMaxSuppression"} <= kinds
    image = next((coco / "val2017").glob("*.jpg"))
    script = ROOT / "examples/run_onnx.py"
    assert "10 found" in run(script, out, image, "--out", tmp_path, "--score", 0)
    out.unlink()
    assert "there are only 4, and 9 are wanted" in run(*words, 9, code=2)
    assert not out.exists()
