"""Training and testing: what the tools and configs add to MMEngine's runner."""

from .amp import CPUAmpOptimWrapper
from .speed import ChannelsLastHook, KeepMemoryHook

__all__ = ["CPUAmpOptimWrapper", "ChannelsLastHook", "KeepMemoryHook"]
