"""What every registered backbone must do; a new one is tested by being registered."""

import copy
import functools
import pickle
from itertools import accumulate
from operator import mul

import pytest
import torch
from helpers import randomise
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from mmengine.runner import set_random_seed
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import nn

from mmres_plugin import registry
from mmres_plugin.models.shortcut import EncoderDecoder

BACKBONES = sorted(registry.BACKBONES)
BLOCKS = (2, 3, 2)  # bottlenecks: a start, a middle and an end block in stage 2


def build(name, **kwargs):
    """A narrow backbone of three stages: the fourth would have most of the numbers."""
    defaults = dict(depth=BLOCKS, num_stages=3, base_channels=32, out_indices=(0, 1, 2))
    return registry.MODELS.build({"type": f"mmres_plugin.{name}", **defaults, **kwargs})


@pytest.fixture(params=BACKBONES)
def name(request):
    return request.param


@pytest.fixture(autouse=True)
def seed():
    set_random_seed(0)


def loss_of(features):
    return sum(f.square().mean() for f in features)


def strides_of(model):
    """Pixels of the image per pixel of each stage."""
    stem = 1 if model.cifar_stem else 2 if isinstance(model.maxpool, nn.Identity) else 4
    return [stem * factor for factor in accumulate(model.strides, mul)]


@functools.cache
def small(name):
    """A backbone in evaluation mode that tests share and leave as it is."""
    set_random_seed(0)
    return randomise(build(name))


@pytest.mark.parametrize("size", [(1, 1), (2, 31), (33, 64), (97, 47)])
def test_any_image_size(name, size):
    model = small(name)
    with torch.no_grad():
        features = model(torch.rand(1, 3, *size))
    assert len(features) == 3
    for feature, stride in zip(features, strides_of(model), strict=True):
        assert feature.shape[-2:] == (-(-size[0] // stride), -(-size[1] // stride))
    assert features[-1].shape[1] == model.feat_dim


@pytest.mark.parametrize(("tail", "dilations", "stride"), [((2, 1), 1, 8), ((1, 1), (1, 2, 4), 4)])
def test_output_stride(name, tail, dilations, stride):
    model = build(name, strides=(small(name).strides[0], *tail), dilations=dilations).eval()
    assert strides_of(model)[-1] == stride
    with torch.no_grad():
        assert model(torch.rand(1, 3, 33, 49))[-1].shape[-2:] == (
            -(-33 // stride),
            -(-49 // stride),
        )


@pytest.mark.parametrize("deep_stem", [False, True])
def test_cifar_stem(name, deep_stem):
    """The first stage sees every pixel."""
    model = randomise(build(name, cifar_stem=True, deep_stem=deep_stem))
    assert strides_of(model) == [1, 2, 4]
    with torch.no_grad():
        features = model(torch.rand(1, 3, 16, 17))
    assert [f.shape[-2:] for f in features] == [(16, 17), (8, 9), (4, 5)]


def test_gradient_reaches_every_parameter(name):
    model = randomise(build(name)).train()
    loss_of(model(torch.rand(2, 3, 48, 48))).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


@pytest.mark.parametrize("stages", [0, 2, 3])
def test_frozen_stages_do_not_move(name, stages):
    model = build(name, frozen_stages=stages, norm_eval=False).train()
    frozen = ["conv1", "bn1", "stem"] + [f"layer{i}" for i in range(1, stages + 1)]
    before = copy.deepcopy(model.state_dict())
    features = model(torch.rand(2, 3, 32, 32))
    if stages < 3:
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
        loss_of(features).backward()
        optimizer.step()
    moved = {n.split(".")[0] for n, t in model.state_dict().items() if not t.equal(before[n])}
    assert moved == {f"layer{i}" for i in range(stages + 1, 4)}
    for n, p in model.named_parameters():
        assert p.requires_grad == (n.split(".")[0] not in frozen)


def test_norm_eval_keeps_statistics(name):
    model = build(name, norm_eval=True)
    assert model.train() is model
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert not any(m.training for m in norms)
    before = copy.deepcopy([m.running_mean for m in norms])
    model(torch.rand(2, 3, 32, 32))
    assert all(m.running_mean.equal(b) for m, b in zip(norms, before, strict=True))
    model.norm_eval = False
    assert all(m.training for m in model.train().modules() if isinstance(m, _BatchNorm))


def test_checkpointed_equals_plain(name):
    """Backward may run again, as with ``retain_graph=True``; statistics move in forward alone."""
    plain = randomise(build(name, drop_path_rate=0.3)).double()
    checkpointed = build(name, drop_path_rate=0.3, with_cp=(False, True, True)).double()
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 32, 32, dtype=torch.double)
    results = []
    for model, passes in ((plain, 1), (checkpointed, 2)):
        torch.manual_seed(1)  # the same paths drop
        features = model.train()(x)
        for _ in range(passes):
            model.zero_grad()
            loss_of(features).backward(retain_graph=True)
        results.append(features)
    for a, b in zip(*results, strict=True):
        assert a.equal(b)
    for (n, p), q in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-12, msg=n)
    for (n, p), q in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        assert p.equal(q), n


def test_copies_compute_the_same(name):
    """Also one by torch.fx, whose graph serves all sizes."""
    model = small(name)
    copies = [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), torch.fx.symbolic_trace]
    copies = [make(model) for make in copies]
    for size in ((32, 32), (33, 49)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            expected = model(x)
            for copied in copies:
                assert all(a.equal(b) for a, b in zip(copied(x), expected, strict=True))


def test_symbolic_trace_keeps_checkpointing_and_drop_path(name):
    model = randomise(build(name, with_cp=True, drop_path_rate=0.5)).train()
    traced = torch.fx.symbolic_trace(model)
    x = torch.rand(4, 3, 32, 32)
    features, kept = zip(
        *(run_counting_what_backward_keeps(m, x) for m in (model, traced)), strict=True
    )
    assert all(a.equal(b) for a, b in zip(*features, strict=True))
    assert kept[0] == kept[1]


def run_counting_what_backward_keeps(model, x):
    """Features, and how many numbers autograd keeps for backward."""
    kept = []
    torch.manual_seed(3)  # the same branches drop
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        return model(x), sum(kept)


def test_efficient_norms_of_mmengine():
    """``efficient_conv_bn_eval``, which is for networks whose norms all follow convolutions."""
    model = randomise(build("SReResNetV1d", norm_eval=True)).train()
    x = torch.rand(2, 3, 65, 97)
    expected = model(x)
    turn_on_efficient_conv_bn_eval(nn.ModuleDict({"backbone": model}), "backbone")
    features = model(x)
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    loss_of(features).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_drop_path_drops(name):
    model = randomise(build(name, drop_path_rate=0.9, norm_eval=True)).train()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert len({model(x)[-1].sum().item() for _ in range(4)}) > 1
        model.eval()
        assert model(x)[-1].equal(model(x)[-1])


@pytest.mark.slow
def test_bf16_autocast(name):
    """Eight bits of precision per operation: features and gradients point the same way."""
    model = randomise(build(name, norm_eval=True)).train()
    x = torch.rand(2, 3, 64, 64)
    results = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            features = [feature.float() for feature in model(x)]
        loss_of(features).backward()
        results.append([*features, torch.cat([p.grad.flatten() for p in model.parameters()])])
    for exact, rounded in zip(*results, strict=True):
        assert torch.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("norm_cfg", [{"type": "GN", "num_groups": 8}, {"type": "SyncBN"}])
def test_other_norms(name, norm_cfg):
    model = randomise(build(name, norm_cfg=norm_cfg))
    assert not [m for m in model.modules() if type(m) is nn.BatchNorm2d]
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        features = model(x)
        if norm_cfg["type"] == "SyncBN":  # in evaluation a batch norm by another name
            plain = build(name).eval()
            plain.load_state_dict(model.state_dict())
            assert all(a.equal(b) for a, b in zip(features, plain(x), strict=True))
        else:  # of each image alone
            both = model(torch.cat([x, torch.rand(1, 3, 32, 32)]))
            for a, b in zip(features, both, strict=True):
                torch.testing.assert_close(a, b[:1], rtol=1e-4, atol=1e-4 * a.abs().max().item())


def test_ideas_combine(name):
    """Each idea is where its argument says; the recursion changes what is computed."""
    recursions = (0, 1, 2)
    path = {"ratio": 0.25, "groups": 8}
    model = randomise(build(name, recursions=recursions, se_ratio=8, encoder_decoder=path))
    stages = [getattr(model, layer) for layer in model.res_layers]
    assert tuple(stage.recursions for stage in stages) == recursions
    blocks = [block for stage in stages for block in stage]
    assert all(block.se_layer is not None for block in blocks)
    assert all(isinstance(block.downsample, EncoderDecoder) for block in blocks)
    x = torch.rand(1, 3, 33, 49)
    with torch.no_grad():
        features = model(x)
        for stage in stages:
            stage.recursions = 0
        for once, again, passes in zip(model(x), features, recursions, strict=True):
            assert again.equal(once) == (passes == 0)
