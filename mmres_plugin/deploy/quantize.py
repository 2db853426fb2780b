"""8-bit files: the layers of an ONNX file in integers, by ONNX Runtime's quantisation.

Weights get a scale per output channel; activations get a range per tensor, from images of the
training set. The file stays plain ONNX: ``QuantizeLinear`` and ``DequantizeLinear`` mark what a
runtime may compute in integers, and both ONNX Runtime and OpenVINO do.

The last layers stay in float, because 256 values are too few for the coordinates that are decoded
from them. At their outputs the error of the others is measured. If it is too large, each layer is
measured alone, and those that add most stay in float as well.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization

from ..errors import UserError
from ..weights.files import atomic_write
from .onnx_graph import BETWEEN, LAYERS, feeding, layer_names, nodes_before_layers, nodes_between

MOST_ERROR = 0.1
ALONE = 4  # images with which each layer is measured alone
ROUNDS = 9  # of the timing
PAYS = 0.95  # of the float file's time; below it, 8 bits are worth it


@dataclass
class Quantized:
    """What became of a file.

    Attributes:
        layers: How many convolutions and matrix products it has.
        last: Names of the last ones, which stay in float.
        kept: Names of those that stay in float because they add too much error, with the error
            that each adds alone.
        error: Root of the mean square of what the others change at the outputs of the last layers,
            relative to that of the values.
        time: Of one image, relative to the float file on this machine.
    """

    layers: int
    last: list[str]
    kept: dict[str, float] = field(default_factory=dict)
    error: float = 0.0
    time: float = 1.0

    def summary(self) -> str:
        """What the user should know, in a few lines."""
        quantized = self.layers - len(self.last) - len(self.kept)
        lines = [
            f"8 bits: {quantized} of {self.layers} layers; the outputs of the last layers change "
            f"by {self.error:.1%} (root of the mean square)"
        ]
        if self.kept:
            kept = "".join(f"\n  {name} (alone {error:.1%})" for name, error in self.kept.items())
            lines.append(f"in float, because they would add most of the error:{kept}")
        last = dict.fromkeys(name.partition(", run ")[0] for name in self.last)
        lines.append(f"in float, because they are the last: {', '.join(last)}")
        cpu = {True: "with VNNI", False: "without VNNI", None: "of unknown kind"}[has_vnni()]
        verdict = "8 bits are worth it" if self.time < PAYS else "8 bits are not worth it"
        lines.append(
            f"{verdict} on this CPU ({cpu}): an image takes {self.time:.2f} of the float time"
        )
        return "\n".join(lines)


def quantize_onnx(
    source: str | Path,
    out: str | Path,
    images: Sequence[np.ndarray],
    most_error: float = MOST_ERROR,
) -> Quantized:
    """Write an 8-bit copy of an ONNX file.

    Args:
        source: The file, with the one input ``images``.
        out: The file to write; it may be ``source``.
        images: What to calibrate with, each as the file takes it.
        most_error: How large :attr:`Quantized.error` may be.

    Raises:
        UserError: If there are no images, or the file's results for them are not finite.
    """
    if not images:
        raise UserError(["--calibrate: there are no images to calibrate with"], "")
    network = Network(source, images)
    result = Quantized(len(network.layers) + len(network.last), list(network.last))
    alone: dict[str, float] = {}
    allowed = most_error
    while True:
        model = network.quantized(network.layers.keys() - result.kept.keys())
        result.error = network.error(model, images)
        if result.error <= most_error:
            break
        alone = alone or dict(network.errors_alone())
        result.kept = {name: alone[name] for name in worst(alone, allowed)}
        allowed *= 0.8  # if these were not enough
    result.time = relative_time(network.source, model, images[0])
    with atomic_write(out) as temporary:
        onnx.save(model, temporary)
    return result


def worst(errors: dict[str, float], allowed: float) -> list[str]:
    """The fewest layers without which the others' errors together stay within ``allowed``.

    The errors of layers are nearly independent, so their squares add up.
    """
    chosen, rest = [], sum(error**2 for error in errors.values())
    for name in sorted(errors, key=errors.__getitem__, reverse=True):
        if rest <= allowed**2:
            break
        chosen.append(name)
        rest -= errors[name] ** 2
    return chosen


class Network:
    """An ONNX file on the way to 8 bits.

    Args:
        path: The file.
        images: What to calibrate with.

    Attributes:
        layers: The names of the layers, with those of their nodes; without the last ones.
        last: The same of the last layers.

    Raises:
        UserError: If the results for the images are not finite.
    """

    def __init__(self, path: str | Path, images: Sequence[np.ndarray]) -> None:
        self.source, self.images = onnx.load(path), images
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            # Folds constants and fuses what can be fused; the shapes are the exporter's.
            quantization.quant_pre_process(path, prepared, skip_symbolic_shape=True)
            self.model = onnx.load(prepared)
            before = nodes_before_layers(self.model.graph)
            named = layer_names(self.model.graph)
            self.layers = {name: node.name for name, node in named.items() if node.name in before}
            self.last = {n: node.name for n, node in named.items() if node.name not in before}
            self.ends = [node.output[0] for n, node in named.items() if n in self.last]
            self.between = nodes_between(self.model.graph, before)
            self.ranges = self._calibrate(prepared)
        self.reference = self.results(self.model, images)
        if not all(np.isfinite(end).all() for ends in self.reference for end in ends):
            raise UserError(["the model's results for the calibration images are not finite"], "")

    def _calibrate(self, path: Path) -> quantization.TensorsData:
        """The range of every activation."""
        calibrator = quantization.create_calibrator(
            path, [*LAYERS, *BETWEEN], str(path.with_name("augmented.onnx"))
        )
        for image in self.images:  # one by one, because it keeps what it has not yet computed
            calibrator.collect_data(Reader([image]))
        return calibrator.compute_data()

    def quantized(self, layers: Set[str], between: bool = True) -> onnx.ModelProto:
        """The model with these layers in 8 bits, by default with what stands between them.

        What feeds a float layer also stays in float; otherwise that layer would get 8-bit values.
        """
        nodes = [self.layers[name] for name in layers]
        if between and nodes:
            floats = {node for name, node in self.layers.items() if name not in layers}
            left = feeding(self.model.graph, self.between, floats)
            nodes += [node for node in self.between if node not in left]
        quantizer = quantization.QDQQuantizer(
            copy.deepcopy(self.model),
            per_channel=True,
            reduce_range=False,
            weight_qType=quantization.QuantType.QInt8,
            activation_qType=quantization.QuantType.QUInt8,
            tensors_range=self.ranges,
            nodes_to_quantize=nodes or ["none"],  # an empty list would mean all
            nodes_to_exclude=[],
            op_types_to_quantize=[*LAYERS, *BETWEEN],
            extra_options={},
        )
        quantizer.quantize_model()
        model = quantizer.model.model
        del model.metadata_props[:]
        model.metadata_props.extend(self.source.metadata_props)
        return model

    def results(self, model: onnx.ModelProto, images: Sequence[np.ndarray]) -> list[list]:
        """The outputs of the last layers for each image."""
        extended = copy.deepcopy(model)
        known = {output.name for output in model.graph.output}
        extended.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in self.ends if name not in known
        )
        session = open_session(extended)
        return [list(session.run(self.ends, {"images": image})) for image in images]

    def error(self, model: onnx.ModelProto, images: Sequence[np.ndarray]) -> float:
        """:attr:`Quantized.error` of a model made from this one."""
        shares = []
        for ours, reference in zip(self.results(model, images), self.reference, strict=False):
            for end, wanted in zip(ours, reference, strict=True):
                noise, signal = np.square(end - wanted).mean(), np.square(wanted).mean()
                shares.append(noise / signal if signal else noise)
        return float(np.mean(shares) ** 0.5)

    def errors_alone(self) -> Iterator[tuple[str, float]]:
        """Name and error of each layer, when only it is in 8 bits."""
        for name in self.layers:
            yield name, self.error(self.quantized({name}, between=False), self.images[:ALONE])


class Reader(quantization.CalibrationDataReader):
    """The images in the way that ONNX Runtime asks for them."""

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict | None:
        image = next(self.images, None)
        return None if image is None else {"images": image}


def relative_time(before: onnx.ModelProto, after: onnx.ModelProto, image: np.ndarray) -> float:
    """The time of ``after`` for one image, relative to that of ``before``."""
    sessions = [open_session(model) for model in (before, after)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS + 1):
        for session, measured in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(None, {"images": image})
            measured.append(time.perf_counter() - start)
    ours, theirs = (statistics.median(measured[1:]) for measured in reversed(times))
    return ours / theirs


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Threads that wait actively would slow each other down on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def has_vnni() -> bool | None:
    """Whether this CPU multiplies 8-bit integers four at a time; None if unknown."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    return "_vnni" in flags
