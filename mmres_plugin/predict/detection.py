"""MMDetection's inferencer around a model that is built already."""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from copy import deepcopy

from mmdet.apis import DetInferencer
from mmengine.config import Config
from torch import nn


class LoadedDetector(DetInferencer):
    """A ``DetInferencer`` that does not open the checkpoint itself, which it would do unsafely.

    Args:
        network: The detector with its weights and its ``cfg``.
        device: Where to run it.
        classes: Names of the classes; None where they have none.
    """

    def __init__(self, network: nn.Module, device: str, classes: list[str] | None) -> None:
        self.network = network
        palette = network.dataset_meta.get("palette") or ()  # pyright: ignore[reportCallIssue]
        enough = isinstance(palette, str) or len(palette) >= len(classes or ())
        network.dataset_meta = {
            "classes": classes,
            "palette": palette if palette and enough else "random",
        }
        cfg: Config = deepcopy(network.cfg)  # pyright: ignore[reportAssignmentType]
        cfg.setdefault("visualizer", dict(type="mmdet.DetLocalVisualizer"))
        super().__init__(model=cfg, device=device, show_progress=False)

    def _init_model(self, cfg: Config, weights: str | None, device: str = "cpu") -> nn.Module:
        return self.network.to(device)
