"""Export to ONNX and TorchScript, for images of any number and size.

A classifier is exported up to its logits; of any model the backbone's features can be exported,
which is what a detector's post-processing elsewhere starts from. Images go in as the network
sees them: N×3×H×W, float32, normalised. How to normalise them is written into the ONNX file's
metadata (``mean``, ``std``, ``channels``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..weights.files import atomic_write
from .fold import fold_norms

TOLERANCE = 1e-4  # of the largest value of an output


class Exported(nn.Module):
    """What is exported of a model, with one tensor or a tuple of them as output.

    Args:
        model: A classifier of MMPretrain, a detector of MMDetection, or a backbone.
        features: Export the features of the backbone, where the model is more than that.

    Raises:
        UserError: If a detector is to be exported as a whole.
    """

    def __init__(self, model: nn.Module, features: bool = False) -> None:
        super().__init__()
        backbone = getattr(model, "backbone", model)
        self.whole = not features and backbone is not model
        if self.whole and not hasattr(model, "head"):
            raise UserError(
                [
                    f"a {type(model).__name__} ends in post-processing that is not part of the "
                    "network: export the features of its backbone (features=True, --features)"
                ],
                "",
            )
        self.model = fold_norms(model if self.whole else backbone)
        self.preprocessor = getattr(model, "data_preprocessor", None)
        stages = sorted(set(getattr(backbone, "out_indices", (3,))))  # returned in their order
        self.output_names = ["logits"] if self.whole else [f"stage{i + 1}" for i in stages]
        self.eval()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """N×3×H×W to the logits, N×classes, or to the feature maps of the backbone's stages."""
        return self.model(images)

    def metadata(self) -> dict[str, str]:
        """How the images are normalised, as texts; empty if the model does not know."""
        if self.preprocessor is None:
            return {}
        rgb = getattr(self.preprocessor, "to_rgb", None)  # MMPretrain
        if rgb is None:  # MMDetection, whose images are read as BGR
            rgb = getattr(self.preprocessor, "_channel_conversion", False)
        texts = {"channels": "RGB" if rgb else "BGR"}
        for name in ("mean", "std"):
            numbers = getattr(self.preprocessor, name, None)
            if numbers is not None:
                texts[name] = " ".join(map(str, numbers.flatten().tolist()))
        return texts


def export_onnx(
    exported: Exported, path: str | Path, size: tuple[int, int] = (224, 224), opset: int = 18
) -> None:
    """Write an ONNX file with dynamic batch, height and width, and the weights in it.

    Args:
        exported: What to export.
        path: The file to write.
        size: Height and width of the example that the export runs; others work as well.
        opset: Version of the ONNX operators, from 18, the exporter's least.
    """
    dynamic = torch.export.Dim.DYNAMIC
    with torch.no_grad():  # so that blocks with activation checkpointing run plainly
        program = torch.onnx.export(
            exported,
            (torch.randn(2, 3, *size),),
            dynamo=True,
            opset_version=opset,
            input_names=["images"],
            output_names=exported.output_names,
            dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
            verbose=False,
        )
    assert program is not None  # as with every `dynamo=True`
    program.model.metadata_props.update(exported.metadata())
    with atomic_write(path) as temporary:
        program.save(temporary, external_data=False)


def export_torchscript(
    exported: Exported, path: str | Path, size: tuple[int, int] = (224, 224)
) -> None:
    """Write a TorchScript trace; arguments as in :func:`export_onnx`."""
    with torch.no_grad(), atomic_write(path) as temporary:
        torch.jit.trace(exported, torch.randn(2, 3, *size)).save(str(temporary))  # pyright: ignore[reportAttributeAccessIssue]


def verify(exported: Exported, path: str | Path, sizes: list[tuple[int, int]]) -> float:
    """Run the file at ``path`` and compare it with the model.

    Args:
        exported: What the file was made from.
        path: An ``.onnx`` file, or a TorchScript file.
        sizes: Heights and widths to compare at, each with a batch of its own size.

    Returns:
        The largest difference, relative to the largest value of each output.

    Raises:
        RuntimeError: If it is above :data:`TOLERANCE`.
        UserError: If ONNX Runtime is needed and not installed.
    """
    run = _runner(path)
    differences = []
    for batch, size in enumerate(sizes, 1):
        images = torch.randn(batch, 3, *size)
        with torch.no_grad():
            expected = exported(images)
        if isinstance(expected, Tensor):
            expected = (expected,)
        for ours, theirs in zip(run(images), expected, strict=True):
            differences.append(np.abs(ours - theirs.numpy()).max() / theirs.abs().max().item())
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:  # also for not-a-number
        raise RuntimeError(
            f"{path} differs from the model by {largest:.1e} of the largest value at one of the "
            f"sizes {sizes}; allowed is {TOLERANCE:.0e}"
        )
    return largest


def _runner(path: str | Path) -> Callable[[Tensor], list[Any]]:
    if Path(path).suffix != ".onnx":
        module = torch.jit.load(str(path))

        def run_torchscript(images):
            with torch.no_grad():
                outputs = module(images)
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            return [output.numpy() for output in outputs]

        return run_torchscript
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            [
                "the check of the file needs ONNX Runtime: pip install onnxruntime, or export "
                "with --no-verify"
            ],
            "",
        ) from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images.numpy()})  # pyright: ignore[reportReturnType]
