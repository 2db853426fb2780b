"""Training and testing with errors that help: what the tools do around mmengine's runner."""

from .amp import CPUAmpOptimWrapper
from .errors import UnreadableImage, UserError
from .preflight import check

__all__ = ["CPUAmpOptimWrapper", "UnreadableImage", "UserError", "check"]
