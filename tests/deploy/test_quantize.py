"""8-bit files, made from small ONNX files whose weak points are known."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import ROOT, call
from helpers import run as run_command
from helpers.configs import detector_config
from helpers.data import make_coco
from onnx import numpy_helper

from mmres_plugin.deploy.onnx_graph import layer_names, nodes_before_layers, nodes_between
from mmres_plugin.deploy.quantize import Quantized, quantize_onnx, worst
from mmres_plugin.errors import UserError

# A stem, a residual block that runs twice with the same weights, a layer whose input has one
# channel a thousand times as large as the others, and a last layer with boxes decoded behind it.
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
  spread = Mul (x8, factors)
  x9 = Conv <pads = [1, 1, 1, 1]> (spread, weak)
  x10 = Relu (x9)
  x11 = Conv (x10, last)
  boxes = Add (x11, offsets)
}"""
CHANNELS = 16


def network(path: Path, spread: float = 1.0) -> Path:
    """Write the network; ``spread`` is by how much the one channel is larger."""
    rng = np.random.default_rng(0)
    shapes = {"stem": (3, 3), "block": (CHANNELS, 3), "weak": (CHANNELS, 3), "last": (CHANNELS, 1)}
    arrays = {}
    for name, (inputs, side) in shapes.items():
        shape = (4 if name == "last" else CHANNELS, inputs, side, side)
        arrays[name] = rng.normal(0, (inputs * side * side) ** -0.5, shape)
    arrays["factors"] = np.ones((1, CHANNELS, 1, 1))
    arrays["factors"][:, 0] *= spread
    arrays["weak"][:, 0] /= spread  # the result stays of one size
    arrays["offsets"] = np.full((1, 1, 1, 1), 7.0)
    model = onnx.parser.parse_model(NETWORK)
    for index, node in enumerate(model.graph.node):
        node.name = f"node{index}"
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    model = onnx.shape_inference.infer_shapes(model)
    onnx.helper.set_model_props(model, {"task": "detection"})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 255, (1, 24, 32, 3), dtype=np.uint8) for _ in range(4)]


def run(path: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": image})[0]


def test_what_is_quantized(tmp_path, images):
    """Weights once per layer with a scale per channel, ranges of activations once per run."""
    source, out = network(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    result = quantize_onnx(source, out, images)
    assert (result.layers, result.last, result.kept) == (5, ["last"], {})
    assert 0 < result.error < 0.08
    graph = onnx.load(out).graph
    arrays = {array.name: numpy_helper.to_array(array) for array in graph.initializer}
    weights = {name: array for name, array in arrays.items() if array.dtype == np.int8}
    assert sorted(len(array) for array in weights.values() if array.ndim == 4) == [CHANNELS] * 3
    assert arrays["last"].dtype == np.float32
    assert arrays["block_scale"].shape == (CHANNELS,)
    scales = {
        node.output[0]: float(arrays[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and arrays[node.input[1]].ndim == 0
    }
    inputs = [
        scales[node.input[0]]
        for node in graph.node
        if node.op_type == "Conv" and node.input[1].startswith("block")
    ]
    assert len(set(inputs)) == 2
    assert {prop.key: prop.value for prop in onnx.load(out).metadata_props} == {"task": "detection"}
    difference = run(out, images[0]) - run(source, images[0])
    assert 0 < np.abs(difference).max() < 0.2 * np.abs(run(source, images[0]) - 7).max()


def test_layer_that_hurts_stays_in_float(tmp_path, images):
    """It is found although it computes the same as in the network above."""
    source, out = network(tmp_path / "float.onnx", spread=1000), tmp_path / "int8.onnx"
    loose = quantize_onnx(source, out, images, most_error=10)
    assert loose.error > 0.2
    assert not loose.kept
    result = quantize_onnx(source, out, images, most_error=0.08)
    assert list(result.kept) == ["weak"]
    assert result.kept["weak"] > 0.2
    assert result.error <= 0.08
    assert "weak (alone" in result.summary()


def test_file_may_be_replaced_by_its_copy(tmp_path, images):
    path = network(tmp_path / "model.onnx")
    quantize_onnx(path, path, images)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_what_stands_between_layers(tmp_path):
    """Neither the image before the first layer nor the boxes behind the last one."""
    graph = onnx.load(network(tmp_path / "model.onnx")).graph
    before = nodes_before_layers(graph)
    assert list(layer_names(graph)) == ["stem", "block", "block, run 2", "weak", "last"]
    kinds = [node.op_type for node in graph.node if node.name in nodes_between(graph, before)]
    assert kinds == ["Relu", "Add", "Relu", "Add", "Relu", "Mul", "Relu"]


def test_worst_layers():
    errors = {"a": 0.03, "b": 0.4, "c": 0.04, "d": 0.3}
    assert worst(errors, 0.51) == []
    assert worst(errors, 0.31) == ["b"]
    assert worst(errors, 0.051) == ["b", "d"]
    assert worst(errors, 0) == ["b", "d", "c", "a"]


@pytest.mark.parametrize(
    ("time", "vnni", "text"),
    [
        (0.4, True, "8 bits are worth it on this CPU (with VNNI): an image takes 0.40"),
        (1.1, False, "8 bits are not worth it on this CPU (without VNNI): an image takes 1.10"),
    ],
)
def test_summary_says_whether_it_pays(monkeypatch, time, vnni, text):
    monkeypatch.setattr("mmres_plugin.deploy.quantize.has_vnni", lambda: vnni)
    assert text in Quantized(9, ["head"], time=time).summary()


def test_bad_input(tmp_path, images):
    path = network(tmp_path / "float.onnx", spread=float("nan"))
    with pytest.raises(UserError, match="no images to calibrate with"):
        quantize_onnx(path, tmp_path / "out.onnx", [])
    with pytest.raises(UserError, match="results for the calibration images are not finite"):
        quantize_onnx(path, tmp_path / "out.onnx", images)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.slow
def test_command(tmp_path, capsys):
    """A detector from its config to boxes, in 8 bits, and what the command refuses."""
    tool = ROOT / "tools/deployment/export_onnx.py"
    coco = make_coco(tmp_path / "coco")
    small = dict(depth=(1, 1, 1, 1), recursions=0, stem_channels=16, base_channels=16)
    extra = f"model['backbone'].update({small})"
    config, out = detector_config(tmp_path / "config.py", coco, extra), tmp_path / "model.onnx"
    words = [tool, config, "none", out, "--size", 64, 96, "--no-verify", "--int8"]
    printed = run_command(*words, "--calibrate", 4)
    assert "calibrating with 4 images of the training set" in printed
    assert "in float, because they are the last: " in printed
    for branch in ("conv_cls", "conv_reg", "conv_centerness"):
        assert f"bbox_head.{branch}" in printed
    assert "an image takes" in printed
    kinds = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "NonMaxSuppression"} <= kinds
    image = next((coco / "val2017").glob("*.jpg"))
    shown = run_command(
        ROOT / "examples/run_onnx.py", out, image, "--out", tmp_path, "--score", 0, cwd=tmp_path
    )
    assert "10 found" in shown
    out.unlink()
    for extra, message in (
        (["--calibrate", 9], "the training set has only 4, and 9 are wanted"),
        (["--calibrate", 0], "--calibrate: 0 must be above 0"),
        (["--features"], "--int8: only whole models"),
    ):
        assert call(*words, *extra) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()
