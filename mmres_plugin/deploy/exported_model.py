"""An exported file in the place of a model, so that MMEngine's runner can evaluate it."""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..errors import UserError
from .preprocess import sizing_steps, test_dataset
from .session import Session


class ExportedModel(BaseModel):
    """What ``runner.model`` can be set to before ``runner.test()``.

    Args:
        path: An ONNX file of a detector or a classifier.
        cfg: The config to test with. If the file resizes the images itself, the steps that do so
            are taken out of its test pipeline, so build the runner after this.

    Raises:
        UserError: If the file cannot be run or has no results to evaluate.
    """

    def __init__(self, path: str | Path, cfg: Config) -> None:
        super().__init__()
        self.session = Session(path)
        # Hooks ask the first parameter of a model for its device.
        self.nothing = nn.Parameter(torch.empty(0), requires_grad=False)
        names = self.session.output_names
        self.fill = _add_detections if "boxes" in names else _add_scores
        if "boxes" not in names and names not in (["scores"], ["logits"]):
            raise UserError(
                [
                    f"{path} has the outputs {', '.join(names)}, which no metric takes. You can "
                    "evaluate detectors, and classifiers exported without --topk"
                ]
            )
        if self.session.metadata.get("resize") == "file":
            steps = sizing_steps(cfg)
            dataset = test_dataset(cfg)
            dataset["pipeline"] = [step for step in dataset["pipeline"] if step not in steps]

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
