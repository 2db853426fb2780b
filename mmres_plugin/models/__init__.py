"""All backbones of the plugin; importing this module registers them."""

from .edresnet import EDResNet, EDResNeXt, EDSEResNet, EDSEResNeXt
from .features import Feature, feature_info
from .iresnet import IResGroup, IResNet
from .resnext import ResNeXt
from .seresnet import SEResNet, SEResNeXt
from .sreresnet import SReResNet, SReResNetV1d, SReResNeXt, SReSEResNet, SReSEResNeXt

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
