"""The networks to compare: ours, and the same architectures from other libraries.

Every network maps N×3×H×W images to N×1000 logits and has random weights.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from mmpretrain.models.backbones import ResNet as MMResNet
from mmpretrain.models.backbones import SEResNeXt as MMSEResNeXt
from mmpretrain.models.backbones.resnet import ResLayer
from torch import Tensor, nn

from mmres_plugin import models

from ..checks import build_model
from ..config import load_config
from ..errors import UserError, did_you_mean
from ..models.shortcut import EncoderDecoder


class Classifier(nn.Module):
    """A backbone, global average pooling and a linear layer.

    Args:
        backbone: Returns a tuple of feature maps, of which the last is classified.
        channels: Channels of the last feature map.
    """

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(channels, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W to N×1000."""
        return self.head(self.backbone(images)[-1].mean((2, 3)))


class ProjectsTwice(EncoderDecoder):
    """The encoder-decoder as the authors' code runs it: it computes the projection twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(x) + self.encode_decode(self.projection(x))


class RunsTwice(ResLayer):
    """A stage of MMPretrain's blocks that runs twice, as in SReResNet."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        for block in list(self)[1:]:
            x = block(x)
        return x


class MMRecursive(MMResNet):
    """SReResNet built from MMPretrain's parts."""

    def make_res_layer(self, **kwargs):
        return RunsTwice(**kwargs)


def classifier(network: Callable[..., nn.Module], depth: int = 50, **kwargs) -> nn.Module:
    backbone = network(depth, **kwargs)
    return Classifier(backbone, backbone.feat_dim)


def ours(name: str, **kwargs) -> Callable[[], nn.Module]:
    return lambda: classifier(getattr(models, name), **kwargs)


@torch.no_grad()
def from_config(path: str) -> nn.Module:
    backbone = getattr(build_model(load_config(path)), "backbone", None)
    if backbone is None:
        raise UserError([f"--networks: the config {path} has no model with a backbone."])
    backbone.eval()  # not chained: MMPretrain's returns None
    maps = backbone(torch.zeros(1, 3, 64, 64))
    last = maps[-1] if isinstance(maps, tuple | list) else None
    if getattr(last, "ndim", 0) != 4:
        got = (
            type(maps).__name__ if last is None else f"one whose last has shape {tuple(last.shape)}"
        )
        raise UserError(
            [
                f"--networks: the backbone of {path} must return a tuple of N×C×H×W feature maps, "
                f"but returns {got}."
            ]
        )
    return Classifier(backbone, last.shape[1])


def from_file(path: str, function: str) -> nn.Module:
    module = import_file(path)
    if not callable(getattr(module, function, None)):
        known = [
            name
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        raise UserError(
            [
                f"--networks: {path} has no function {function!r}; it has "
                f"{', '.join(known) or 'none'}.{did_you_mean(function, known)}"
            ]
        )
    return getattr(module, function)()


def torchvision(name: str) -> Callable[[], nn.Module]:
    def build():
        import torchvision

        return getattr(torchvision.models, name)()

    return build


def timm(name: str) -> Callable[[], nn.Module]:
    def build():
        import timm

        return timm.create_model(name)

    return build


def official_edresnet() -> nn.Module:
    network = classifier(models.EDResNet)
    for module in network.modules():
        if isinstance(module, EncoderDecoder):
            module.__class__ = ProjectsTwice
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "sreresnet50": ours("SReResNet"),
    "iresnet50": ours("IResNet"),
    "iresgroupfix50": ours("IResGroup", fixed_groups=True),
    "edresnet50": ours("EDResNet"),
    "edseresnext50": ours("EDSEResNeXt"),
    "seresnet50": ours("SEResNet"),
    "seresnext50": ours("SEResNeXt"),
    "resnext50": ours("ResNeXt"),
    "resnet50": ours("SReResNet", recursions=0),
    "torchvision-resnet50": torchvision("resnet50"),
    "torchvision-resnext50": torchvision("resnext50_32x4d"),
    "timm-resnet50": timm("resnet50"),
    "timm-seresnet50": timm("seresnet50"),
    "timm-seresnext50": timm("seresnext50_32x4d"),
    "mmpretrain-resnet50": lambda: classifier(MMResNet),
    "mmpretrain-seresnext50": lambda: classifier(MMSEResNeXt, groups=32, width_per_group=4),
    "mmpretrain-sreresnet50": lambda: classifier(MMRecursive),
    "official-edresnet50": official_edresnet,
}


def import_file(path: str) -> ModuleType:
    """Import a Python file as a module that torch.compile can import again."""
    spec = importlib.util.spec_from_file_location(f"networks_of_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def build(name: str) -> nn.Module:
    """Build a network with random weights, the same ones at each call.

    Args:
        name: A key of :data:`NETWORKS`; the path of a config, of which the backbone is built; or
            ``file.py:function``, a function without arguments that returns a network.

    Raises:
        UserError: If ``name`` is none of these, or the backbone returns no feature maps.
    """
    torch.manual_seed(0)
    path, _, function = name.partition(":")
    if name in NETWORKS:
        return NETWORKS[name]()
    if not Path(path).is_file():
        raise UserError(
            [
                f"--networks: {name!r} is neither a config file nor one of {', '.join(NETWORKS)}."
                + did_you_mean(name, NETWORKS)
            ]
        )
    return from_file(path, function) if function else from_config(path)
