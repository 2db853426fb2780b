"""Graphs of exported files: put one before another, and find what can run in 8 bits.

The second depends on which nodes are layers, which of them are the last, and what lies between.
"""

import re
from collections import Counter

import onnx

LAYERS = ("Conv", "ConvTranspose", "Gemm")
# What may stand between two layers and would otherwise turn integers into floats and back.
BETWEEN = ("Add", "Mul", "Concat", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize")


def put_in_front(front: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with ``front`` resizing its images, and boxes in the images as they came.

    Args:
        front: From ``images`` to ``sized`` and ``factors``, by which boxes are multiplied.
        model: From ``sized`` to its outputs.
    """
    del front.graph.value_info[:]  # both name free sides alike, and these are other ones
    for dim in front.graph.input[0].type.tensor_type.shape.dim:
        if dim.dim_param:
            dim.dim_param = f"images_{dim.dim_param}"
    front = onnx.compose.add_prefix(front, "front/", rename_inputs=False, rename_outputs=False)
    del front.opset_import[:]  # merging would list them twice
    names = [output.name for output in model.graph.output]
    if "boxes" not in names:
        return onnx.compose.merge_models(front, model, [("sized", "sized")], outputs=names)
    joined = onnx.compose.merge_models(front, model, [("sized", "sized")])
    for node in joined.graph.node:
        node.output[:] = ["sized_boxes" if name == "boxes" else name for name in node.output]
    joined.graph.node.add(
        op_type="Mul", name="boxes", input=["sized_boxes", "factors"], output=["boxes"]
    )
    del joined.graph.output[[output.name for output in joined.graph.output].index("factors")]
    return joined


def layer_names(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The layers by their names in the model; further runs of a layer also have a number."""
    weights = {initializer.name for initializer in graph.initializer}
    runs: Counter[str] = Counter()
    named = {}
    for node in graph.node:
        if node.op_type in LAYERS and node.input[1] in weights:
            # ONNX Runtime renames weights into which it has multiplied something.
            weight = node.input[1].removeprefix("ConvMulFusion_W_").partition(".weight")[0]
            name = re.sub(r"^(model\.)+", "", weight)
            runs[name] += 1
            named[name if runs[name] == 1 else f"{name}, run {runs[name]}"] = node
    return named


def nodes_before_layers(graph: onnx.GraphProto) -> set[str]:
    """The names of all nodes on whose output a layer depends."""
    wanted: set[str] = set()  # tensors that reach a layer
    found = set()
    for node in reversed(graph.node):
        if wanted & set(node.output):
            found.add(node.name)
            wanted.update(node.input)
        elif node.op_type in LAYERS:
            wanted.update(node.input)
    return found


def nodes_between(graph: onnx.GraphProto, before: set[str]) -> list[str]:
    """The names of the nodes between layers that can pass on integers: only those of feature maps.

    Boxes are decoded between layers too, in two-stage detectors, but not in tensors of rank 4.
    """
    ranks = {info.name: len(info.type.tensor_type.shape.dim) for info in graph.value_info}
    reached: set[str] = set()  # tensors that depend on a layer
    found = []
    for node in graph.node:
        if node.op_type not in LAYERS and not reached & set(node.input):
            continue
        reached.update(node.output)
        if node.op_type in BETWEEN and node.name in before and ranks.get(node.output[0]) == 4:
            found.append(node.name)
    return found


def feeding(graph: onnx.GraphProto, between: list[str], layers: set[str]) -> set[str]:
    """Those of the nodes between layers that directly feed one of ``layers``.

    A node before an activation counts as well, because the two have one output for a runtime.
    """
    producers = {output: node for node in graph.node for output in node.output}
    found = set()
    for layer in graph.node:
        node = producers.get(layer.input[0]) if layer.name in layers else None
        while node is not None and node.name in between:
            found.add(node.name)
            node = producers.get(node.input[0]) if node.op_type == "Relu" else None
    return found
