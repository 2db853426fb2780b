"""Export to ONNX, for images of any number and size.

A model is exported whole, from uint8 images to boxes or classes, or by the features of its
backbone, which take images as the network sees them. docs/deployment.md describes the files.
"""

import json
from pathlib import Path

import torch
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d
from mmpretrain.models.heads import MultiLabelClsHead
from torch import Tensor, nn

from ..errors import UserError
from ..version import __version__
from .detector import DenseDetector
from .fold import fold_norms
from .nms import onnx_nms
from .preprocess import Preprocess, sizing_steps, takes_rgb
from .two_stage import TwoStageDetector

# Height and width of the example, so that all maps of a pyramid have some rows.
MINIMUM = (500, 700)


class Exported(nn.Module):
    """What is exported of a model, with one tensor or a tuple of them as output.

    Args:
        model: A classifier of MMPretrain, a detector of MMDetection, or a backbone.
        features: Export only the features of the backbone, from normalised images.
        floats: Also export a whole model from normalised images: 1×3×H×W, of one size.
        scores: Export a classifier's scores, not its logits.
        topk: Export this many of a classifier's best scores, with their classes; 0 for all.

    Attributes:
        output_names: The names of the outputs, in their order.
        task: ``'detection'``, ``'classification'`` or ``'features'``.
        steps: Steps of the test pipeline that whoever runs the file has to do before it.
        preprocess: From images to the input of the network; None for features.
        metadata: What a program that runs the file has to know, as texts: docs/deployment.md.

    Raises:
        UserError: If this model cannot be exported in this form.
    """

    def __init__(
        self,
        model: nn.Module,
        features: bool = False,
        floats: bool = False,
        scores: bool = False,
        topk: int = 0,
    ) -> None:
        super().__init__()
        refuse_deformable(model)
        backbone = getattr(model, "backbone", model)
        self.floats, self.steps, self.preprocess = floats, [], None
        if features or backbone is model:
            self.task, self.model = "features", fold_norms(backbone)
            stages = sorted(set(getattr(backbone, "out_indices", (3,))))  # returned in their order
            self.output_names: list[str] = [f"stage{i + 1}" for i in stages]
        else:
            self.steps = sizing_steps(model.cfg) if hasattr(model, "cfg") else []
            folded = fold_norms(model)
            if hasattr(model, "head"):
                self.model = Classifier(folded, scores, topk)
            elif scores or topk:
                raise UserError("--softmax and --topk are for classifiers, and this is a detector")
            else:
                two_stages = hasattr(model, "roi_head")
                self.model = TwoStageDetector(folded) if two_stages else DenseDetector(folded)
            self.task, self.output_names = self.model.task, list(self.model.output_names)
            self.preprocess = Preprocess(model.data_preprocessor)
        self.takes_pixels = self.preprocess is not None and not floats
        self.metadata = self._describe(model)
        self.eval()

    def _describe(self, model: nn.Module) -> dict[str, str]:
        kind = "images" if self.takes_pixels else "nchw-float"
        texts = {"task": self.task, "input": kind, "mmres_plugin": __version__}
        preprocessor = getattr(model, "data_preprocessor", None)
        if preprocessor is not None:
            texts["channels"] = "RGB" if takes_rgb(preprocessor) else "BGR"
        for name in ("mean", "std"):
            numbers = getattr(preprocessor, name, None)
            if numbers is not None:
                texts[name] = " ".join(map(str, numbers.flatten().tolist()))
        if self.task == "features":
            return texts
        texts |= {"resize": "caller", "test_pipeline": json.dumps(self.steps)}
        if classes := (getattr(model, "dataset_meta", None) or {}).get("classes"):
            texts["classes"] = json.dumps(list(classes))
        if self.task == "detection":
            texts["score_threshold"] = str(self.model.threshold)
        return texts

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images to the outputs that ``output_names`` names.

        Args:
            images: N×H×W×3, uint8, RGB; for features and ``floats`` N×3×H×W, float32, normalised.
        """
        x, shape = images, images.shape[2:]
        if self.takes_pixels:
            x, shape = self.preprocess(images), images.shape[1:3]
        return self.model(x, shape) if self.task == "detection" else self.model(x)

    def example(self, size: tuple[int, int], number: int = 2) -> Tensor:
        """Random images of this height and width."""
        if self.takes_pixels:
            return torch.randint(256, (number, *size, 3), dtype=torch.uint8)
        return torch.randn(number, 3, *size)


class Classifier(nn.Module):
    """From the network's input to logits, N×classes, to scores, or to the best and their labels.

    Args:
        model: A classifier of MMPretrain.
        scores: Whether to return scores instead of logits.
        topk: How many of the best scores to return, with their labels; 0 for all.

    Raises:
        UserError: If there are fewer classes, or if the head is for several labels per image.
    """

    task = "classification"

    def __init__(self, model: nn.Module, scores: bool, topk: int) -> None:
        super().__init__()
        classes = getattr(model.head, "num_classes", topk)
        scores = scores or topk > 0
        if scores and isinstance(model.head, MultiLabelClsHead):
            raise UserError("a head for several labels gives no such scores: export logits")
        if not 0 <= topk <= classes:
            raise UserError(f"--topk {topk}: must be from 0 to {classes}, the number of classes")
        self.model, self.topk = model, topk
        self.output_names = ["scores", "labels"] if topk else ["scores" if scores else "logits"]
        self.activation = nn.Softmax(-1) if scores else nn.Identity()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """N×3×H×W to N×classes, or to scores and labels, N×topk each."""
        outputs = self.activation(self.model(x))
        return tuple(outputs.topk(self.topk)) if self.topk else outputs


def refuse_deformable(model: nn.Module) -> None:
    """Raise UserError for a deformable convolution, which ONNX has no operator for before 19."""
    for name, module in model.named_modules():
        if isinstance(module, DeformConv2d | ModulatedDeformConv2d):
            said = "train without dcn (dcn=None, stage_with_dcn) in the config"
            what = f"the layer {name} is a deformable convolution, which cannot be exported"
            raise UserError(f"{what}: {said}")


def export_onnx(
    exported: Exported, path: str | Path, size: tuple[int, int] = (224, 224), opset: int = 18
) -> None:
    """Write an ONNX file with the weights in it; batch, height and width are free.

    With ``floats``, the file takes one image of ``size``.

    Args:
        exported: What to export.
        path: The file to write.
        size: Height and width of the example that the export follows.
        opset: Version of the ONNX operators, from 18, the exporter's minimum.

    Raises:
        UserError: If the exporter fails.
    """
    if exported.floats:
        divisor = exported.preprocess.divisor if exported.preprocess else 1
        if any(side % divisor for side in size):
            raise UserError(f"--size {size}: this model takes multiples of {divisor}")
        images, dynamic = exported.example(size, 1), None
    else:
        # Nothing is computed on it, so it may be large. If a map has a single row, the exporter
        # takes that 1 for a constant.
        images = exported.example((max(size[0], MINIMUM[0]), max(size[1], MINIMUM[1])))
        sides = (1, 2) if exported.takes_pixels else (2, 3)
        dynamic = (dict.fromkeys((0, *sides), torch.export.Dim.DYNAMIC),)
    try:
        with torch.no_grad():  # so that blocks with activation checkpointing run plainly
            # For torch first: within torch.onnx.export, MMDetection takes outdated paths.
            graph = torch.export.export(exported, (images,), dynamic_shapes=dynamic)
            program = torch.onnx.export(
                graph,
                dynamo=True,
                opset_version=opset,
                input_names=["images"],
                output_names=list(exported.output_names),
                custom_translation_table={torch.ops.mmres_plugin.nms.default: onnx_nms},
                verbose=False,
            )
    except Exception as error:  # of any kind: the exporter runs the code of the model
        reason = str(error).strip().partition("\n")[0]
        if "Constraints violated" in reason:
            reason = f"batch, height and width must stay variable, and it fixes one ({reason})"
        kind = type(exported.model).__name__
        raise UserError(f"this {kind} cannot be exported: {reason}") from error
    model = program.model_proto
    for key, value in (exported.metadata | {"opset": str(opset)}).items():
        model.metadata_props.add(key=key, value=value)
    Path(path).write_bytes(model.SerializeToString())
