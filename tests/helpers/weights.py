"""Checkpoint files of every kind, for the tests of what opens them."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision

from mmres_plugin.config import build_model, load_config
from mmres_plugin.models import SReResNet

from . import randomise
from .configs import NARROW, NARROW_DETECTOR, classifier_config, detector_config

# Arguments of a backbone with an eighth of the usual channels.
SMALL = dict(stem_channels=8, base_channels=8)


def resnet50() -> dict[str, torch.Tensor]:
    """A state dict with torchvision's names, as in the file behind torchvision://resnet50."""
    return randomise(torchvision.models.resnet50(weights=None)).state_dict()


def small_resnet50() -> dict[str, torch.Tensor]:
    """The names of :func:`resnet50`, with the channels of :data:`SMALL`."""
    model = SReResNet(50, **SMALL)
    model.fc = torch.nn.Linear(256, 1000)
    return randomise(model).state_dict()


def caffe_resnet50() -> dict[str, torch.Tensor]:
    """The names of open-mmlab://detectron2/resnet50_caffe: no classifier, no counters."""
    return {
        name: tensor
        for name, tensor in small_resnet50().items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }


def maskrcnn_benchmark() -> dict:
    """A checkpoint of maskrcnn-benchmark: a whole detector, with frozen batch norms."""
    tensors = {}
    for name, tensor in caffe_resnet50().items():
        stem = "stem." if name.startswith(("conv1", "bn1")) else ""
        tensors[f"module.backbone.body.{stem}{name}"] = tensor
    tensors["module.backbone.fpn.fpn_inner4.weight"] = torch.ones(256, 256, 1, 1)
    tensors["module.rpn.head.cls_logits.bias"] = torch.ones(80)
    return {"model": tensors, "optimizer": {"state": {}}, "scheduler": {}, "iteration": 720000}


def write_trained(folder: Path, classes: Sequence[str]) -> None:
    """Write ``det.py`` and ``cls.py``, and checkpoints of these names with random weights."""
    number = f"num_classes={len(classes)}"
    head = f"model['bbox_head'].update({number})\n"
    detector_config(folder / "det.py", folder, NARROW_DETECTOR + head)
    classifier_config(folder / "cls.py", folder, f"{NARROW}model['head'].update({number})\n")
    for name in ("det", "cls"):
        model = randomise(build_model(load_config(folder / f"{name}.py")))
        meta = {"dataset_meta": {"classes": classes}, "config": "import os", "time": "now"}
        torch.save({"state_dict": model.state_dict(), "meta": meta}, folder / f"{name}.pth")


class Hostile:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def hostile_files(folder: Path, mark: Path) -> list[Path]:
    """Files that would make ``mark`` if they were run, in every format that torch reads."""
    paths = [folder / f"{name}.pth" for name in ("zip", "legacy", "pickle", "hidden")]
    content = {"state_dict": {"conv1.weight": Hostile(mark)}}
    torch.save(content, paths[0])
    torch.save(content, paths[1], _use_new_zipfile_serialization=False)
    paths[2].write_bytes(pickle.dumps(content, protocol=2))
    torch.save({"state_dict": small_resnet50(), "meta": {"note": Hostile(mark)}}, paths[3])
    return paths
