"""All backbones and necks of the plugin; importing this module registers them."""

from ..registry import register_lazily
from .edresnet import EDResNet, EDResNeXt, EDSEResNet, EDSEResNeXt
from .features import Feature, feature_info
from .iresnet import IResGroup, IResNet
from .resnext import ResNeXt
from .seresnet import SEResNet, SEResNeXt
from .sreresnet import SReResNet, SReResNetV1d, SReResNeXt, SReSEResNet, SReSEResNeXt

register_lazily("SReFPN", "mmres_plugin.models.sre_fpn")

__all__ = [
    "EDResNeXt",
    "EDResNet",
    "EDSEResNeXt",
    "EDSEResNet",
    "Feature",
    "IResGroup",
    "IResNet",
    "ResNeXt",
    "SEResNeXt",
    "SEResNet",
    "SReResNeXt",
    "SReResNet",
    "SReResNetV1d",
    "SReSEResNeXt",
    "SReSEResNet",
    "feature_info",
]
