"""All networks of the plugin and their parts; importing this module registers them."""

from contextlib import suppress

from .channel_attention import CBAM, ECA
from .edresnet import EDResNet, EDResNeXt, EDSEResNet, EDSEResNeXt
from .features import Feature, feature_info
from .iresnet import IResGroup, IResNet
from .resnext import ResNeXt
from .seresnet import SEResNet, SEResNeXt
from .sreresnet import SReResNet, SReResNetV1d, SReResNeXt, SReSEResNet, SReSEResNeXt

# Classifiers do without MMDetection, MMCV's operators, and an MMDetection that fits this MMCV.
with suppress(ImportError, AssertionError):
    from . import sre_fpn  # noqa: F401

__all__ = [
    "CBAM",
    "ECA",
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
