"""Export to ONNX and TorchScript, for images of any number and size.

A model is exported whole, from uint8 images to boxes or classes, or by the features of its
backbone, which take images as the network sees them. docs/deployment.md describes the files.
"""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import json
from collections.abc import Callable
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
from .preprocess import Preprocess, sizing_steps, takes_rgb
from .two_stage import TwoStageDetector

OLDEST_OPSET = 18  # of the exporter
LEAST = (500, 700)  # height and width of its example, so that all maps of a pyramid have some rows
LARGEST = 2**31 - 2**20  # bytes that fit into one file of protobuf, with room for the graph


@dataclass(frozen=True)
class Form:
    """What of a model is exported.

    Args:
        features: The features of the backbone alone, from normalised images.
        resize: Also resize the images as the test pipeline of the model's config does.
        scores: Of a classifier the scores, not the logits.
        topk: Of a classifier this many of the best scores, with their classes; 0 for all of them.
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
        metadata: What a program that runs the file has to know, as texts.

    Raises:
        UserError: If this model cannot be exported in this form.
    """

    def __init__(self, model: nn.Module, form: Form = WHOLE) -> None:
        super().__init__()
        backbone = getattr(model, "backbone", model)
        steps = sizing_steps(model.cfg) if hasattr(model, "cfg") else []
        self.resized = form.resize
        self.steps = [] if form.resize else steps
        self.preprocess = None
        if form.features or backbone is model:
            self.model = fold_norms(backbone)
            stages = sorted(set(getattr(backbone, "out_indices", (3,))))  # returned in their order
            self.output_names = [f"stage{i + 1}" for i in stages]
        else:
            self.model = _whole(fold_norms(model), form)
            self.output_names = self.model.output_names
            self.preprocess = Preprocess(model.data_preprocessor, steps if form.resize else [])
        self.metadata = describe(model, self, steps)
        self.eval()

    @property
    def task(self) -> str:
        """``'detection'``, ``'classification'`` or ``'features'``."""
        return getattr(self.model, "task", "features")

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images to the outputs that ``output_names`` names.

        Args:
            images: N×H×W×3, uint8, RGB; for features N×3×H×W, float32, normalised.
        """
        if self.preprocess is None:
            return self.model(images)
        x, (height, width) = self.preprocess(images)
        if self.task == "classification":
            return self.model(x)
        boxes, *others = self.model(x, (height, width))
        if self.resized:
            down, across = images.shape[1] / height, images.shape[2] / width
            x1, y1, x2, y2 = boxes.unbind(-1)
            boxes = torch.stack((x1 * across, y1 * down, x2 * across, y2 * down), -1)
        return boxes, *others

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
    texts["resize"] = "file" if exported.resized else "caller"
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
        opset: Version of the ONNX operators, from 18, the exporter's least.
        check: Called with the written file before it gets its name; if it raises, no file is left.

    Raises:
        UserError: If the exporter fails, or the weights do not fit into one file.
    """
    if sum(tensor.nbytes for tensor in exported.state_dict().values()) > LARGEST:
        raise UserError(["the weights are larger than an ONNX file may be, 2 GiB"], "")
    # Nothing is computed on it, so it may be large. If a map has a single row, the exporter takes
    # that 1 for a constant.
    images = exported.example((max(size[0], LEAST[0]), max(size[1], LEAST[1])))
    sides = (2, 3) if exported.preprocess is None else (1, 2)
    dynamic = dict.fromkeys((0, *sides), torch.export.Dim.DYNAMIC)
    try:
        program = _program(exported, images, dynamic, opset)
    except Exception as error:  # of any kind: the exporter runs the code of the model
        reason = str(error).strip().partition("\n")[0]
        if "Constraints violated" in reason:
            reason = f"batch, height and width must stay free, and it fixes one ({reason})"
        raise UserError(
            [f"this {type(exported.model).__name__} cannot be exported: {reason}"], ""
        ) from error
    program.model.metadata_props.update(exported.metadata | {"opset": str(opset)})
    with atomic_write(path) as temporary:
        program.save(temporary, external_data=False)
        if check is not None:
            check(temporary)


def _program(exported: Exported, images: Tensor, dynamic: dict, opset: int):
    with torch.no_grad():  # so that blocks with activation checkpointing run plainly
        # For torch first: within torch.onnx.export, MMDetection takes outdated paths of its own.
        graph = torch.export.export(exported, (images,), dynamic_shapes=(dynamic,))
        program = torch.onnx.export(
            graph,
            dynamo=True,
            opset_version=opset,
            input_names=["images"],
            output_names=list(exported.output_names),
            custom_translation_table={torch.ops.mmres_plugin.nms.default: onnx_nms},
            verbose=False,
        )
    assert program is not None  # as with every `dynamo=True`
    return program


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
        raise UserError(["a whole detector cannot be exported to TorchScript; to .onnx it can"], "")
    with torch.no_grad(), atomic_write(path) as temporary:
        trace = torch.jit.trace(exported, exported.example(size))
        trace.save(str(temporary))  # pyright: ignore[reportAttributeAccessIssue]
        if check is not None:
            check(temporary)
