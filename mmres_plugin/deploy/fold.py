"""Folding of batch norms into the convolutions before them, for deployment.

In evaluation mode, a batch norm is one factor and one offset per channel. If it is the only thing
that follows a convolution, both can move into the convolution's weights and bias, which saves the
norm's pass over the features.

The order of modules does not show which norm follows which convolution: in IResNet, a norm can
come after a sum. So each module says it, in a method ``conv_norm_pairs`` that returns pairs of
names below it. MMCV's ``ConvModule``, used in necks, heads and deep stems, says it in ``order``.
"""

import copy
import warnings
from collections import Counter
from collections.abc import Iterator

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

# The forward method decides what can be folded, not the type alone: subclasses that only construct
# differently fold as well; those that compute something else (ConvWS2d, norms with an activation
# inside) do not.
CONV_FORWARDS = (nn.Conv2d.forward, wrappers.Conv2d.forward)
TRANSPOSED_FORWARDS = (nn.ConvTranspose2d.forward, wrappers.ConvTranspose2d.forward)
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
NORM_FORWARDS = tuple(norm.forward for norm in NORMS)
# Compute with the weights of a ConvModule instead of calling it: MMDetection's TOOD.
USES_WEIGHTS = ("TaskDecomposition",)


class FoldedNorm(nn.Module):
    """Takes the place of a norm that is folded into the convolution before it.

    Args:
        offset: What is still to be added, C×1×1; None if the convolution adds it.
    """

    def __init__(self, offset: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W, the output of the convolution, to the same shape."""
        return x if self.offset is None else x + self.offset

    def train(self, mode: bool = True) -> "FoldedNorm":
        """Stay in evaluation mode.

        Raises:
            RuntimeError: If ``mode`` is True. The model cannot be trained: its norms are gone.
        """
        if mode:
            raise RuntimeError(
                "this model cannot be set to training mode: fold_norms has folded its batch "
                "norms into the convolutions; train the model that it was made from"
            )
        return super().train(mode)


def fold_norms(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in evaluation mode whose batch norms are folded into convolutions.

    Its outputs are those of ``model.eval()``, up to rounding. Norms that cannot be folded stay:
    those that do not directly follow a convolution, those without running statistics (group norm
    and others), those whose convolution is of a special kind (deformable), and those where
    convolution, weight or norm have another place in the model as well. A folded model comes back
    as it is, and refuses ``train()``. A model with norms of which none is folded is returned with
    a warning.

    Args:
        model: A backbone, a classifier, a detector, or any module that contains one. It is not
            changed.
    """
    model = copy.deepcopy(model)
    model.eval()  # returns nothing in MMDetection and MMPretrain
    norms = sum(isinstance(module, NORMS) for module in model.modules())
    modules = [module for _, module in model.named_modules(remove_duplicate=False)]
    parameters = [p for _, p in model.named_parameters(remove_duplicate=False)]
    uses = Counter(map(id, [*modules, *parameters]))  # how often each is registered
    for conv, holder, name in list(_pairs(model)):
        norm = holder.get_submodule(name)
        # Heads may share one convolution among levels that have a norm each, or call it bare.
        alone = all(uses[id(part)] == 1 for part in (conv, norm, getattr(conv, "weight", conv)))
        if alone and _foldable(conv, norm):
            parent, _, leaf = name.rpartition(".")
            setattr(holder.get_submodule(parent), leaf, FoldedNorm(_fold(conv, norm)).eval())
            if isinstance(holder, ConvModule):  # its own way to skip the norm has nothing to skip
                holder.turn_on_efficient_conv_bn_eval(False)
    left = sum(isinstance(module, NORMS) for module in model.modules())
    if norms and left == norms:
        warnings.warn(
            f"none of the {norms} norms of this {type(model).__name__} is folded: its modules do "
            "not say which norm follows which convolution (conv_norm_pairs, or MMCV's ConvModule)",
            stacklevel=2,
        )
    return model


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module, str]]:
    """Each convolution that a norm follows, with the module that holds the norm and its name."""
    users = [module for module in model.modules() if type(module).__name__ in USES_WEIGHTS]
    bare = {id(child) for module in users for child in module.children()}
    for module in model.modules():
        if id(module) in bare:
            continue
        if isinstance(module, ConvModule):
            follows = module.order.index("norm") == module.order.index("conv") + 1
            if module.with_norm and follows:
                yield module.conv, module, module.norm_name  # pyright: ignore[reportReturnType]
        elif hasattr(module, "conv_norm_pairs"):
            for conv_name, norm_name in module.conv_norm_pairs():
                yield module.get_submodule(conv_name), module, norm_name


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        type(conv).forward in CONV_FORWARDS + TRANSPOSED_FORWARDS
        and isinstance(conv.weight, nn.Parameter)  # not computed anew by a weight norm or the like
        and type(norm).forward in NORM_FORWARDS
        and norm.running_mean is not None
    )


@torch.no_grad()
def _fold(conv: nn.Module, norm: nn.Module) -> Tensor | None:
    """Give ``conv`` the weights that make ``norm`` needless, and the bias, or return that."""
    transposed = type(conv).forward in TRANSPOSED_FORWARDS
    groups = conv.groups if transposed else 1
    weight = conv.weight
    if transposed:  # in_channels × out_channels/groups × k × k
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    parts = (weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    weight, bias, mean, var, scale, shift = (p if p is None else p.double() for p in parts)
    weight, bias = fuse_conv_bn_weights(weight, bias, mean, var, norm.eps, scale, shift)
    if transposed:
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    conv.weight.copy_(weight)
    bias = bias.to(conv.weight.dtype)
    if transposed:
        # A grouped transposed convolution with a bias is up to 13 times as slow as one without
        # (oneDNN); an addition of its own costs one pass, and nothing where it is compiled.
        conv.bias = None
        return bias.view(-1, 1, 1)
    conv.bias = nn.Parameter(bias, requires_grad=conv.weight.requires_grad)
    return None
