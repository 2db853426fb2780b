"""ONNX files and TorchScript files, run on tensors."""

from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError


class Session:
    """An ONNX file in ONNX Runtime, on the CPU.

    Args:
        path: The file.

    Attributes:
        output_names: The names of its outputs, in their order.
        metadata: Its metadata, as docs/deployment.md lists it.

    Raises:
        UserError: If ONNX Runtime is not installed, or cannot open the file.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                [f"{path}: running it needs ONNX Runtime: pip install onnxruntime"]
            ) from error
        if not Path(path).is_file():
            raise UserError([f"there is no file {path}"])
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has a class for each reason, without a base
            reason = str(error).partition("\n")[0]
            raise UserError([f"{path} cannot be opened by ONNX Runtime: {reason}"]) from error
        self.output_names = [output.name for output in self._session.get_outputs()]
        self.metadata = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Run the file on ``images`` and return its outputs by name."""
        outputs = self._session.run(None, {"images": images.contiguous().numpy()})
        return {
            name: torch.from_numpy(output)
            for name, output in zip(self.output_names, outputs, strict=True)
        }


def open_torchscript(path: str | Path, names: list[str]):
    """A function that runs a TorchScript file like a :class:`Session`, and names its outputs."""
    module = torch.jit.load(str(path))

    def run(images: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = module(images)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        return dict(zip(names, outputs, strict=True))

    return run
