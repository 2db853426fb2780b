"""The ways to run a network: each returns a function without arguments that runs it once.

A mode takes a network, which it may change, and the images. An inference mode runs the forward
pass; a training mode runs a whole step: forward, loss, backward, SGD with momentum.
"""

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn
from torch._inductor import config as inductor_config
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..deploy import fold_norms
from ..errors import UserError

Run = Callable[[], object]

# All networks of one class share a forward, and Dynamo keeps at most 8 compiled versions of it.
# Here each network in each mode needs its own version.
torch._dynamo.config.recompile_limit = 1000


def eager(network: nn.Module, images: Tensor) -> Run:
    @torch.inference_mode()
    def run():
        return network(images)

    return run


def channels_last(network: nn.Module, images: Tensor) -> Run:
    layout = torch.channels_last
    return eager(network.to(memory_format=layout), images.contiguous(memory_format=layout))


def folded(network: nn.Module, images: Tensor) -> Run:
    return channels_last(fold(network), images)


def bf16(network: nn.Module, images: Tensor) -> Run:
    return folded(network.bfloat16(), images.bfloat16())


def compiled(network: nn.Module, images: Tensor, freezing: bool = False) -> Run:
    layout = torch.channels_last
    network = fold(network).to(memory_format=layout)
    images = images.contiguous(memory_format=layout)
    options = {"freezing": freezing}
    compiled_network = torch.compile(network, fullgraph=True, options=options)

    @torch.no_grad()  # Inductor freezes weights only while no gradients are recorded
    def run():
        return compiled_network(images)

    # The option keeps frozen code apart from other compiled networks of the same class. By itself
    # it freezes nothing: it takes effect after Dynamo, which must already keep the weights in the
    # graph. Hence the patch.
    with inductor_config.patch(freezing=freezing):
        run()
    return run


def frozen(network: nn.Module, images: Tensor) -> Run:
    return compiled(network, images, freezing=True)


def frozen_bf16(network: nn.Module, images: Tensor) -> Run:
    return frozen(network.bfloat16(), images.bfloat16())


def onnxruntime(network: nn.Module, images: Tensor) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = onnx_file(network, images, folder)
        session = ort.InferenceSession(path, options, providers=ort.get_available_providers())
    array = images.cpu().numpy()
    return lambda: session.run(None, {"images": array})


def openvino(network: nn.Module, images: Tensor, precision: str = "f32") -> Run:
    import openvino as ov

    with tempfile.TemporaryDirectory() as folder:
        model = ov.Core().read_model(onnx_file(network, images, folder))
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled_model = ov.compile_model(model, "CPU", settings)
    array = images.numpy()
    return lambda: compiled_model(array)


def openvino_bf16(network: nn.Module, images: Tensor) -> Run:
    return openvino(network, images, "bf16")


def fold(network: nn.Module) -> nn.Module:
    """Fold the norms: with our function, or with MMCV's for networks of other libraries.

    MMCV's function is right only for networks whose layers come in ResNet's order.

    Raises:
        UserError: If MMCV's function has changed what the network computes.
    """
    if any(hasattr(module, "conv_norm_pairs") for module in network.modules()):
        return fold_norms(network)
    network = network.eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):  # a fresh norm does nothing, so losing it would not show
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    weight = next(network.parameters())
    images = torch.randn(2, 3, 64, 64, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        before = network(images)
        network = fuse_conv_bn(network)
        difference = (network(images) - before).abs().max() / before.abs().max()
    if not difference < 0.1:  # allows for rounding, in bfloat16 too
        raise UserError(
            [
                f"MMCV's folding changes the outputs of this {type(network).__name__} by "
                f"{difference:.0%}: measure it with --modes eager channels_last"
            ]
        )
    return network


def onnx_file(network: nn.Module, images: Tensor, folder: str) -> str:
    path = str(Path(folder) / "network.onnx")
    with torch.no_grad():
        torch.onnx.export(
            *(fold(network.cpu()), (images.cpu(),), path),
            dynamo=True,
            input_names=["images"],
            external_data=False,
            verbose=False,
        )
    return path


def train(network: nn.Module, images: Tensor, compile: bool = False, bf16: bool = False) -> Run:
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    forward = torch.compile(network, fullgraph=True) if compile else network

    def run():
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(forward(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def train_last(network: nn.Module, images: Tensor, **kwargs) -> Run:
    layout = torch.channels_last
    images = images.contiguous(memory_format=layout)
    return train(network.to(memory_format=layout), images, **kwargs)


INFERENCE: dict[str, Callable[[nn.Module, Tensor], Run]] = {
    "eager": eager,
    "channels_last": channels_last,
    "folded": folded,
    "compiled": compiled,
    "frozen": frozen,
    "bf16": bf16,
    "frozen_bf16": frozen_bf16,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "openvino_bf16": openvino_bf16,
}
TRAINING: dict[str, Callable[[nn.Module, Tensor], Run]] = {
    "eager": train,
    "channels_last": train_last,
    "compiled": lambda network, images: train_last(network, images, compile=True),
    "bf16": lambda network, images: train_last(network, images, bf16=True),
    "compiled_bf16": lambda network, images: train_last(network, images, compile=True, bf16=True),
}
TASKS = {"inference": INFERENCE, "training": TRAINING}
PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "openvino_bf16": "openvino"}
CPU_ONLY = ("openvino", "openvino_bf16")


def impossible(mode: str, device: str) -> str | None:
    """Why ``mode`` cannot run on ``device`` (``'cpu'`` or ``'cuda'``), or None if it can."""
    if mode in PACKAGES and find_spec(PACKAGES[mode]) is None:
        return "not installed"
    if device == "cuda":
        if mode == "onnxruntime":
            import onnxruntime

            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                return "this ONNX Runtime is for the CPU"
        return "CPU only" if mode in CPU_ONLY else None
    # PyTorch would emulate bfloat16, ten times slower than float32, and Inductor would refuse it.
    if "bf16" in mode and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this CPU has no instructions for bfloat16"
    return None
