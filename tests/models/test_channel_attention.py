"""Channel attention: equality with timm, and its place in our blocks and in MMDetection's."""

import copy

import pytest
import torch
from helpers import randomise
from mmdet.models.backbones import ResNet as MMDetResNet
from mmengine.registry import DefaultScope
from test_backbones import BACKBONES, build, loss_of
from timm.layers import EcaModule
from timm.layers.cbam import CbamModule
from torch import nn

from mmres_plugin.deploy import fold_norms
from mmres_plugin.models import CBAM, ECA, SReResNet
from mmres_plugin.models.channel_attention import SELayer


def plugins(name: str, position: str = "after_conv3", **arguments) -> list[dict]:
    return [dict(cfg=dict(type=f"mmres_plugin.{name}", **arguments), position=position)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        *((ECA(channels), EcaModule(channels)) for channels in (8, 96, 256, 2048)),
        *((CBAM(channels), CbamModule(channels)) for channels in (8, 96, 256, 2048)),
        (ECA(64, kernel_size=9), EcaModule(kernel_size=9)),
        (CBAM(64, ratio=4, kernel_size=3), CbamModule(64, rd_ratio=1 / 4, spatial_kernel_size=3)),
    ],
)
def test_equals_timm(ours, theirs):
    randomise(theirs).double()
    ours.double().eval().load_state_dict(theirs.state_dict())  # strict: the same names
    channels = ours.channel.fc1.in_channels if isinstance(ours, CBAM) else 64
    x = torch.randn(2, channels, 7, 5, dtype=torch.double)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", [ECA, CBAM])
@pytest.mark.parametrize("kernel_size", [4, 0, 3.0])
def test_wrong_kernel(layer, kernel_size):
    with pytest.raises(ValueError, match=f"kernel_size must be an odd number, got {kernel_size}"):
        layer(64, kernel_size=kernel_size)


@pytest.mark.parametrize("name", BACKBONES)
def test_in_every_family(name):
    both = [*plugins("ECA", "after_conv2"), *plugins("CBAM")]
    model = randomise(build(name, plugins=both)).double()
    x = torch.rand(2, 3, 48, 47, dtype=torch.double)
    with torch.no_grad():
        expected = model(x)
        for traced in (fold_norms(copy.deepcopy(model)), torch.fx.symbolic_trace(model)):
            for a, b in zip(traced(x), expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    loss_of(model.train()(x)).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("scope", ["mmdet", None])
def test_in_mmdetections_resnet(scope):
    """As plugins of some stages; a plugin of no stage is not even built."""
    middle = dict(stages=(False, True, True, False))
    chosen = [
        *plugins("ECA", "after_conv2", postfix="2"),
        *({**p, **middle} for p in plugins("CBAM")),
    ]
    narrow = dict(plugins=chosen, out_indices=(0, 1, 2, 3), stem_channels=16, base_channels=16)
    before = copy.deepcopy(chosen)
    if scope:
        DefaultScope.get_instance("test", scope_name=scope)
    theirs = MMDetResNet(50, **narrow)
    assert chosen == before
    theirs.init_weights()
    theirs.train()
    loss_of(theirs(torch.rand(2, 3, 32, 32))).backward()
    attention = [p for n, p in theirs.named_parameters() if "eca" in n or "cbam" in n]
    assert attention and all(p.grad is not None for p in attention)
    randomise(theirs)
    narrow["plugins"] = [*chosen, dict(cfg=dict(type="Gone"), position="after_conv1", stages=False)]
    ours = SReResNet(50, recursions=0, **narrow).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        for a, b in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(a, b)


def test_in_basic_blocks_and_twice_in_a_block():
    both = [*plugins("ECA", "after_conv1"), *plugins("ECA", "after_conv2", postfix=2)]
    block = SReResNet(18, plugins=both).layer1[0]
    assert block.layers == ["conv1", "bn1", "relu", "eca", "conv2", "bn2", "eca2"]


@pytest.mark.parametrize("layer", [SELayer, ECA, CBAM])
def test_the_input_stays(layer):
    """A hook on the norm before it sees what the norm put out, with gradients and without."""
    layer, x = layer(32), nn.Parameter(torch.randn(2, 32, 5, 5))
    before = x.detach().clone()
    layer(x)
    with torch.no_grad():
        layer(x)
    assert torch.equal(x, before)
