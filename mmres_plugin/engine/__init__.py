"""Training and testing: what the commands and configs add to MMEngine's runner."""

from .checkpoints import SafeCheckpointHook
from .finite import AverageLossHook, FiniteHook
from .signals import EndOnSignalHook
from .speed import ChannelsLastHook, CPUAmpOptimWrapper

__all__ = [
    "AverageLossHook",
    "CPUAmpOptimWrapper",
    "ChannelsLastHook",
    "EndOnSignalHook",
    "FiniteHook",
    "SafeCheckpointHook",
]
