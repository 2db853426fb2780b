"""Export to ONNX and TorchScript, for images of any number and size.

A model is exported whole, from uint8 images to boxes or classes, or by the features of its
backbone, which take images as the network sees them. docs/deployment.md describes the files.
"""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalCall=false

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..version import __version__
from ..weights.files import atomic_write
from .classifier import Classifier
from .detector import DenseDetector
from .fold import fold_norms
from .nms import onnx_nms
from .preprocess import Preprocess, Sizing, sizing_steps, takes_rgb
from .two_stage import TwoStageDetector

OLDEST_OPSET = 18  # of the exporter
# Height and width of the example, so that all maps of a pyramid have some rows.
MINIMUM = (500, 700)
LARGEST = 2**31 - 2**20  # bytes that fit into one file of protobuf, with room for the graph


@dataclass(frozen=True)
class Form:
    """Which part of a model to export, and in which form.

    Args:
        features: Export only the features of the backbone, from normalised images.
        resize: Also resize the images as the test pipeline of the model's config does.
        scores: Export a classifier's scores, not its logits.
        topk: Export this many of a classifier's best scores, with their classes; 0 for all.
    """

    features: bool = False
    resize: bool = False
    scores: bool = False
    topk: int = 0


WHOLE = Form()


class Exported(nn.Module):
    """What is exported of a model, with one tensor or a tuple of them as output.

    Args:
        model: A classifier of MMPretrain, a detector of MMDetection, or a backbone.
        form: What of it.

    Attributes:
        output_names: The names of the outputs, in their order.
        steps: Steps of the test pipeline that whoever runs the file has to do before it.
        sizing: Does the others, in the file and before the model; None if there are none.
        metadata: What a program that runs the file has to know, as texts.

    Raises:
        UserError: If this model cannot be exported in this form.
    """

    def __init__(self, model: nn.Module, form: Form = WHOLE) -> None:
        super().__init__()
        backbone = getattr(model, "backbone", model)
        steps = sizing_steps(model.cfg) if hasattr(model, "cfg") else []
        self.steps = [] if form.resize else steps
        self.sizing = self.preprocess = None
        if form.features or backbone is model:
            self.model = fold_norms(backbone)
            stages = sorted(set(getattr(backbone, "out_indices", (3,))))  # returned in their order
            self.output_names = [f"stage{i + 1}" for i in stages]
        else:
            self.model = _whole(fold_norms(model), form)
            self.output_names = self.model.output_names
            self.preprocess = Preprocess(model.data_preprocessor)
            self.sizing = Sizing(steps) if form.resize else None
        self.metadata = describe(model, self, steps)
        self.eval()

    @property
    def task(self) -> str:
        """``'detection'``, ``'classification'`` or ``'features'``."""
        return getattr(self.model, "task", "features")

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images to the outputs that ``output_names`` names; ``sizing`` is not part of it.

        Args:
            images: N×H×W×3, uint8, RGB; for features N×3×H×W, float32, normalised.
        """
        if self.preprocess is None:
            return self.model(images)
        x = self.preprocess(images)
        return self.model(x) if self.task == "classification" else self.model(x, images.shape[1:3])

    def example(self, size: tuple[int, int], number: int = 2) -> Tensor:
        """Random images of this height and width."""
        if self.preprocess is None:
            return torch.randn(number, 3, *size)
        return torch.randint(256, (number, *size, 3), dtype=torch.uint8)


def _whole(model: nn.Module, form: Form) -> nn.Module:
    """What is exported of a folded model between its input and its outputs."""
    classifier = hasattr(model, "head")
    if not classifier and (form.scores or form.topk):
        raise UserError(["scores and topk (--softmax, --topk) are outputs of classifiers"], "")
    if classifier:
        return Classifier(model, form.scores, form.topk)
    return TwoStageDetector(model) if hasattr(model, "roi_head") else DenseDetector(model)


def describe(model: nn.Module, exported: Exported, steps: list[dict[str, Any]]) -> dict[str, str]:
    """The metadata of the file: see docs/deployment.md."""
    texts = {"task": exported.task, "mmres_plugin": __version__}
    preprocessor = getattr(model, "data_preprocessor", None)
    if preprocessor is not None:
        texts["channels"] = "RGB" if takes_rgb(preprocessor) else "BGR"
    for name in ("mean", "std"):
        numbers = getattr(preprocessor, name, None)
        if numbers is not None:
            texts[name] = " ".join(map(str, numbers.flatten().tolist()))
    if exported.preprocess is None:
        return texts
    texts["test_pipeline"] = json.dumps(steps)
    texts["resize"] = "file" if exported.sizing else "caller"
    classes = (getattr(model, "dataset_meta", None) or {}).get("classes")
    if classes:
        texts["classes"] = json.dumps(list(classes))
    if exported.task == "detection":
        texts["score_threshold"] = str(exported.model.threshold)
    return texts


def export_onnx(
    exported: Exported,
    path: str | Path,
    size: tuple[int, int] = (224, 224),
    opset: int = OLDEST_OPSET,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write an ONNX file with dynamic batch, height and width, and the weights in it.

    Args:
        exported: What to export.
        path: The file to write.
        size: Height and width of the example that the export follows; others work as well.
        opset: Version of the ONNX operators, from 18, the exporter's minimum.
        check: Called with the written file before it gets its name; if it raises, no file is left.

    Raises:
        UserError: If the exporter fails, or the weights do not fit into one file.
    """
    if sum(tensor.nbytes for tensor in exported.state_dict().values()) > LARGEST:
        raise UserError(["the weights are larger than an ONNX file may be, 2 GiB"], "")
    try:
        model = _model(exported, size, opset)
    except Exception as error:  # of any kind: the exporter runs the code of the model
        reason = str(error).strip().partition("\n")[0]
        if "Constraints violated" in reason:
            reason = f"batch, height and width must stay variable, and it fixes one ({reason})"
        raise UserError(
            [f"this {type(exported.model).__name__} cannot be exported: {reason}"], ""
        ) from error
    for key, value in (exported.metadata | {"opset": str(opset)}).items():
        model.metadata_props.add(key=key, value=value)
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        if check is not None:
            check(temporary)


def _model(exported: Exported, size: tuple[int, int], opset: int):
    """The ONNX model of what is exported, with the resizing of its images."""
    # Nothing is computed on it, so it may be large. If a map has a single row, the exporter takes
    # that 1 for a constant.
    images = exported.example((max(size[0], MINIMUM[0]), max(size[1], MINIMUM[1])))
    if exported.sizing is None:
        return _graph(exported, images, "images", exported.output_names, opset)
    from .onnx_graph import put_in_front  # which needs the onnx package

    # Each is exported by itself: with the resizing before them, the maps would be as small as the
    # test pipeline makes them, and their shapes long formulas, which slow the exporter down.
    front = _graph(exported.sizing, images, "images", ("sized", "factors"), opset)
    return put_in_front(front, _graph(exported, images, "sized", exported.output_names, opset))


def _graph(module: nn.Module, images: Tensor, name: str, outputs: Sequence[str], opset: int):
    """The ONNX model of ``module``, whose input gets ``name``, with free batch and sides."""
    sides = (2, 3) if images.dtype.is_floating_point else (1, 2)
    dynamic = dict.fromkeys((0, *sides), torch.export.Dim.DYNAMIC)
    with torch.no_grad():  # so that blocks with activation checkpointing run plainly
        # For torch first: within torch.onnx.export, MMDetection takes outdated paths of its own.
        graph = torch.export.export(module, (images,), dynamic_shapes=(dynamic,))
        program = torch.onnx.export(
            graph,
            dynamo=True,
            opset_version=opset,
            input_names=[name],
            output_names=list(outputs),
            custom_translation_table={torch.ops.mmres_plugin.nms.default: onnx_nms},
            verbose=False,
        )
    assert program is not None  # as with every `dynamo=True`
    return program.model_proto


def export_torchscript(
    exported: Exported,
    path: str | Path,
    size: tuple[int, int] = (224, 224),
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write a TorchScript trace; arguments as in :func:`export_onnx`.

    Raises:
        UserError: For a detector, whose suppression TorchScript has no operator for.
    """
    if exported.task == "detection":
        raise UserError(["a whole detector cannot be exported to TorchScript: use .onnx"], "")
    with torch.no_grad(), atomic_write(path) as temporary:
        module = exported if exported.sizing is None else _SizedFirst(exported)
        trace = torch.jit.trace(module, exported.example(size))
        trace.save(str(temporary))  # pyright: ignore[reportAttributeAccessIssue]
        if check is not None:
            check(temporary)


class _SizedFirst(nn.Module):
    """A classifier after the resizing of its images."""

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        self.exported = exported

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        sized, _ = self.exported.sizing(images)
        return self.exported(sized)
