"""Classifiers, from images to logits, scores or the best classes."""

from mmpretrain.models.heads import MultiLabelClsHead
from torch import Tensor, nn

from ..errors import UserError


class Classifier(nn.Module):
    """From the network's input to the requested outputs.

    Args:
        model: A classifier of MMPretrain.
        scores: Whether to return scores instead of logits.
        topk: How many of the best scores to return, with their classes; 0 for all, in order of
            the classes.

    Raises:
        UserError: If there are fewer classes, or if the head is for several labels per image.
    """

    task = "classification"

    def __init__(self, model: nn.Module, scores: bool, topk: int) -> None:
        super().__init__()
        if (scores or topk) and isinstance(model.head, MultiLabelClsHead):
            raise UserError(["a head for several labels gives no such scores: export logits"], "")
        classes = getattr(model.head, "num_classes", topk)
        if not 0 <= topk <= classes:
            raise UserError(
                [f"topk={topk}: must be from 0 to {classes}, the number of classes"], ""
            )
        self.model, self.topk = model, topk
        self.output_names = ["scores", "labels"] if topk else ["scores" if scores else "logits"]
        self.activation = nn.Softmax(-1) if scores or topk else nn.Identity()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """N×3×H×W to N×classes, or to scores and labels, N×topk each."""
        outputs = self.activation(self.model(x))
        return tuple(outputs.topk(self.topk)) if self.topk else outputs
