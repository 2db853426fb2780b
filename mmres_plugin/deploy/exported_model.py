"""Exported files: run on tensors, and in the place of a model, for MMEngine's runner."""

from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..errors import UserError, user_error


class Session:
    """An ONNX file in ONNX Runtime, on the CPU.

    Args:
        path: The file.
        threads: How many compute; 0 for as many as ONNX Runtime likes.

    Attributes:
        output_names: The names of its outputs, in their order.
        takes_pixels: Whether it takes images, uint8, and not normalised numbers.

    Raises:
        UserError: If ONNX Runtime is not installed, or cannot open the file.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        with user_error(f"{path}: it needs ONNX Runtime: pip install onnxruntime"):
            import onnxruntime
        if not Path(path).is_file():
            raise UserError(f"there is no file {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, ["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has a class for each reason, without a base
            reason = str(error).partition("\n")[0]
            raise UserError(f"{path} cannot be opened by ONNX Runtime: {reason}") from error
        self.output_names = [output.name for output in self._session.get_outputs()]
        first = self._session.get_inputs()[0]
        self.takes_pixels = (first.name, first.type) == ("images", "tensor(uint8)")
        self._input = first.name

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Run the file on ``images`` and return its outputs by name."""
        outputs = self._session.run(None, {self._input: images.contiguous().numpy()})
        tensors = map(torch.from_numpy, outputs)
        return dict(zip(self.output_names, tensors, strict=True))


class ExportedModel(BaseModel):
    """What ``runner.model`` can be set to before ``runner.test()``.

    Args:
        path: An ONNX file of a detector or a classifier.

    Raises:
        UserError: If the file cannot be run or has no results to evaluate.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.session = Session(path)
        # Hooks ask the first parameter of a model for its device.
        self.nothing = nn.Parameter(torch.empty(0), requires_grad=False)
        names = self.session.output_names
        self.fill = _add_detections if "boxes" in names else _add_scores
        if "boxes" not in names and names not in (["scores"], ["logits"]):
            said = "You can evaluate detectors, and classifiers exported without --topk"
            outputs = ", ".join(names)
            raise UserError(f"{path} has the outputs {outputs}, which no metric takes. {said}")
        if not self.session.takes_pixels:
            said = "takes normalised images of one size: export it without --input"
            raise UserError(f"{path} {said}")

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "predict") -> list:
        """Images as the data loader gives them (uint8, BGR, 3×H×W each) to filled samples."""
        for pixels, sample in zip(inputs, data_samples, strict=True):
            images = pixels[[2, 1, 0]].permute(1, 2, 0).unsqueeze(0)
            self.fill(sample, self.session(images))
        return list(data_samples)

    def test_step(self, data: dict[str, Any]) -> list:
        """As every model's; there is no preprocessor, since the file has its own."""
        return self(**data)


def _add_detections(sample: DetDataSample, outputs: dict[str, Tensor]) -> None:
    count = outputs["counts"][0]
    boxes, scores, labels = (outputs[name][0, :count] for name in ("boxes", "scores", "labels"))
    across, down = sample.metainfo.get("scale_factor", (1.0, 1.0))
    boxes = boxes / torch.tensor([across, down, across, down])
    sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=labels)


def _add_scores(sample: DataSample, outputs: dict[str, Tensor]) -> None:
    scores = outputs["scores"][0] if "scores" in outputs else outputs["logits"][0].softmax(-1)
    sample.set_pred_score(scores).set_pred_label(scores.argmax())
