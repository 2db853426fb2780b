"""Training and testing: what the tools and configs add to MMEngine's runner."""

from .amp import CPUAmpOptimWrapper
from .channels_last import ChannelsLastHook

__all__ = ["CPUAmpOptimWrapper", "ChannelsLastHook"]
