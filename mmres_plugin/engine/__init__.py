"""Training and testing: what the commands and configs add to MMEngine's runner."""

from .amp import CPUAmpOptimWrapper
from .checkpoints import SafeCheckpointHook
from .finite import AverageLossHook, FiniteHook
from .signals import EndOnSignalHook
from .speed import ChannelsLastHook

__all__ = [
    "AverageLossHook",
    "CPUAmpOptimWrapper",
    "ChannelsLastHook",
    "EndOnSignalHook",
    "FiniteHook",
    "SafeCheckpointHook",
]
