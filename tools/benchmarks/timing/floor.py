"""The convolutions and matrix products of a network alone, in PyTorch.

Each distinct shape is timed in every layout that PyTorch has for it, on data already in that
layout; the fastest times are added up. Norms, activations, pools, sums and layout changes cost
nothing here, so PyTorch cannot run the whole network faster with these kernels. Other libraries
have kernels of their own and sometimes do.
"""

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .measure import Clock, Run, interleaved

ROUNDS = 5


class Shape(NamedTuple):
    """One convolution or matrix product, with the shape of its input."""

    transposed: bool
    input: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


def shapes(network: nn.Module, images: Tensor) -> Counter[Shape]:
    """The shapes in a network, with how often each one runs."""
    found: Counter[Shape] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        size, weight = tuple(inputs[0].shape), tuple(module.weight.shape)
        if isinstance(module, nn.Linear):
            found[Shape(False, size, weight)] += 1
            return
        transposed = isinstance(module, nn.ConvTranspose2d)
        spatial = [module.stride, module.padding, module.output_padding, module.dilation]
        found[Shape(transposed, size, weight, *spatial, module.groups)] += 1

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return found


def candidates(shape: Shape, device: str, dtype: torch.dtype) -> dict[str, Run]:
    """The ways to compute ``shape`` by name."""
    x = torch.randn(shape.input, device=device, dtype=dtype)
    weight = torch.randn(shape.weight, device=device, dtype=dtype)
    if len(shape.input) == 2:
        return {"linear": lambda: F.linear(x, weight)}

    spatial = (shape.stride, shape.padding)

    def conv(x, weight):
        if shape.transposed:
            return F.conv_transpose2d(
                x, weight, None, *spatial, shape.output_padding, shape.groups, shape.dilation
            )
        return F.conv2d(x, weight, None, *spatial, shape.dilation, shape.groups)

    last, last_weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    ways = {
        "channels_first": lambda: conv(x, weight),
        "channels_last": lambda: conv(last, last_weight),
    }
    if weight.shape[2:] == (1, 1) and shape.groups == 1 and set(shape.stride) == {1}:
        rows, matrix = last.permute(0, 2, 3, 1).flatten(0, 2), weight.flatten(1)
        ways["matrix"] = lambda: F.linear(rows, matrix)
    if device == "cpu" and torch.backends.mkldnn.is_available() and not shape.transposed:
        arguments = (shape.padding, shape.stride, shape.dilation, shape.groups)
        packed = torch._C._nn.mkldnn_reorder_conv2d_weight(
            last_weight.to_mkldnn(), *arguments, shape.input
        )
        ways["packed"] = lambda: torch.ops.mkldnn._convolution_pointwise(
            last, packed, None, *arguments, "none", [], ""
        )
    return ways


@torch.no_grad()
def convolutions_alone(network: nn.Module, images: Tensor, clock: Clock) -> float:
    """Milliseconds that the convolutions of ``network`` take for ``images``.

    Args:
        network: On the device and in the type of ``images``.
        images: N×3×H×W.
        clock: Tells the time in seconds.
    """
    total = 0.0
    for shape, count in shapes(network, images).items():
        ways = candidates(shape, images.device.type, images.dtype)
        total += count * min(times.median for times in interleaved(ways, ROUNDS, clock).values())
    return total
