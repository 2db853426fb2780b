"""What every registered backbone must do; a new one is tested by being registered."""

import copy
import functools
import pickle
from itertools import accumulate
from operator import mul

import pytest
import torch
from helpers import randomise
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from mmengine.runner import set_random_seed
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import nn

from mmres_plugin import registry
from mmres_plugin.models.shortcut import EncoderDecoder

BACKBONES = sorted(registry.BACKBONES)
BLOCKS = (2, 3, 2, 2)  # bottlenecks: a start, a middle and an end block in stage 2


def build(name, **kwargs):
    kwargs = {"depth": BLOCKS, "base_channels": 32, "out_indices": (0, 1, 2, 3), **kwargs}
    return registry.MODELS.build({"type": f"mmres_plugin.{name}", **kwargs})


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


@settings(max_examples=4, deadline=None)
@given(height=st.integers(1, 75), width=st.integers(1, 75))
@example(height=200, width=336)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_image_size(backbone, height, width):
    model = small(backbone)
    with torch.no_grad():
        features = model(torch.rand(1, 3, height, width))
    assert len(features) == 4
    for feature, stride in zip(features, strides_of(model), strict=True):
        assert feature.shape[-2:] == (-(-height // stride), -(-width // stride))
    assert features[-1].shape[1] == model.feat_dim


@pytest.mark.parametrize(
    ("tail", "dilations", "stride"), [((2, 1), (1, 1, 1, 2), 16), ((1, 1), (1, 1, 2, 4), 8)]
)
def test_output_stride(name, tail, dilations, stride):
    strides = (*small(name).strides[:2], *tail)
    model = build(name, strides=strides, dilations=dilations).eval()
    assert strides_of(model)[-1] == stride
    with torch.no_grad():
        assert model(torch.rand(1, 3, 65, 97))[-1].shape[-2:] == (
            -(-65 // stride),
            -(-97 // stride),
        )


@pytest.mark.parametrize("deep_stem", [False, True])
def test_cifar_stem(name, deep_stem):
    """The first stage sees every pixel."""
    model = randomise(build(name, cifar_stem=True, deep_stem=deep_stem))
    assert strides_of(model) == [1, 2, 4, 8]
    with torch.no_grad():
        features = model(torch.rand(1, 3, 32, 33))
    assert [f.shape[-2:] for f in features] == [(32, 33), (16, 17), (8, 9), (4, 5)]


def test_gradient_reaches_every_parameter(name):
    model = randomise(build(name)).train()
    loss_of(model(torch.rand(2, 3, 64, 64))).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


@pytest.mark.parametrize("stages", [0, 2, 4])
def test_frozen_stages_do_not_move(name, stages):
    model = build(name, frozen_stages=stages, norm_eval=False).train()
    frozen = ["conv1", "bn1", "stem"] + [f"layer{i}" for i in range(1, stages + 1)]
    before = copy.deepcopy(model.state_dict())
    if stages < 4:
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
        loss_of(model(torch.rand(2, 3, 64, 64))).backward()
        optimizer.step()
    else:
        model(torch.rand(2, 3, 64, 64))
    moved = {n.split(".")[0] for n, t in model.state_dict().items() if not t.equal(before[n])}
    assert not moved & set(frozen)
    assert moved == {f"layer{i}" for i in range(stages + 1, 5)}
    for n, p in model.named_parameters():
        assert p.requires_grad == (n.split(".")[0] not in frozen)


def test_norm_eval_keeps_statistics(name):
    model = build(name, norm_eval=True)
    assert model.train() is model
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert not any(m.training for m in norms)
    before = copy.deepcopy([m.running_mean for m in norms])
    model(torch.rand(2, 3, 64, 64))
    assert all(m.running_mean.equal(b) for m, b in zip(norms, before, strict=True))
    model.norm_eval = False
    assert all(m.training for m in model.train().modules() if isinstance(m, _BatchNorm))


@pytest.mark.parametrize(
    "with_cp",
    [pytest.param(True, marks=pytest.mark.slow), (False, True, True, False)],
    ids=["all", "some"],
)
def test_checkpointed_equals_plain(name, with_cp):
    plain = randomise(build(name, drop_path_rate=0.3)).double()
    checkpointed = build(name, drop_path_rate=0.3, with_cp=with_cp).double()
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.rand(4, 3, 64, 64, dtype=torch.double)
    results = []
    for model in (plain, checkpointed):
        torch.manual_seed(1)  # the same paths drop
        features = model.train()(x)
        loss_of(features).backward()
        results.append(features)
    for a, b in zip(*results, strict=True):
        assert a.equal(b)
    for (n, p), q in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-12, msg=n)
    for (n, p), q in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        assert p.equal(q), n


def test_checkpointed_backward_can_run_twice(name):
    """As with ``retain_graph=True``; the statistics move in the forward pass alone."""
    model = randomise(build(name, with_cp=True)).double().train()
    loss = loss_of(model(torch.rand(2, 3, 64, 64, dtype=torch.double)))
    buffers = copy.deepcopy(list(model.buffers()))
    gradients = []
    for _ in range(2):
        model.zero_grad()
        loss.backward(retain_graph=True)
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(a.equal(b) for a, b in zip(*gradients, strict=True))
    assert all(a.equal(b) for a, b in zip(model.buffers(), buffers, strict=True))


@pytest.mark.parametrize(
    "norm_cfg", [{"type": "SyncBN"}, {"type": "IN", "affine": True, "track_running_stats": True}]
)
def test_checkpointed_statistics_of_other_norms(norm_cfg):
    states = []
    for with_cp in (False, True):
        set_random_seed(0)
        model = build("EDResNet", norm_cfg=norm_cfg, with_cp=with_cp)
        loss_of(model.train()(torch.rand(2, 3, 96, 96))).backward()
        states.append(model.state_dict())
    assert all(t.equal(states[1][n]) for n, t in states[0].items())


def test_symbolic_trace(name):
    """As tools on torch.fx do; one graph serves all sizes."""
    model = small(name)
    traced = torch.fx.symbolic_trace(model)
    for size in ((64, 64), (65, 97)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            for ours, theirs in zip(traced(x), model(x), strict=True):
                assert ours.equal(theirs)


def test_symbolic_trace_keeps_checkpointing_and_drop_path(name):
    model = randomise(build(name, with_cp=True, drop_path_rate=0.5)).train()
    traced = torch.fx.symbolic_trace(model)
    x = torch.rand(4, 3, 64, 64)
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


@pytest.mark.parametrize("name", ["SReResNetV1d", "SReSEResNeXt"])
def test_efficient_norms_of_mmengine(name):
    """``efficient_conv_bn_eval``, which is for networks whose norms all follow convolutions."""
    model = randomise(build(name, norm_eval=True)).train()
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
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        passes = torch.stack([model(x)[-1] for _ in range(6)])
        assert not passes.eq(passes[0]).all()
        model.eval()
        assert model(x)[-1].equal(model(x)[-1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same(name, copied):
    model = small(name)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert all(a.equal(b) for a, b in zip(model(x), copied(model)(x), strict=True))


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


def test_initialisation_is_deterministic(name):
    states = []
    for _ in range(2):
        set_random_seed(7)
        model = build(name)
        model.init_weights()
        states.append(model.state_dict())
    assert all(t.equal(states[1][n]) for n, t in states[0].items())


def test_weights_are_drawn_once(name, monkeypatch):
    """Building is nearly all random numbers, so none is drawn to be thrown away."""
    drawn = []
    for method in ("uniform_", "normal_"):
        draw = getattr(torch.Tensor, method)
        monkeypatch.setattr(
            torch.Tensor,
            method,
            lambda self, *args, draw=draw, **kw: drawn.append(self) or draw(self, *args, **kw),
        )
    model = build(name)
    stages = [getattr(model, stage) for stage in model.res_layers]
    weights = [p for stage in stages for p in stage.parameters() if p.dim() == 4]
    assert [sum(t is p for t in drawn) for p in weights] == [1] * len(weights)


@pytest.mark.parametrize("norm_cfg", [{"type": "GN", "num_groups": 8}, {"type": "SyncBN"}])
def test_other_norms(name, norm_cfg):
    model = randomise(build(name, norm_cfg=norm_cfg))
    assert not [m for m in model.modules() if type(m) is nn.BatchNorm2d]
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features = model(x)
        if norm_cfg["type"] == "SyncBN":  # in evaluation a batch norm by another name
            plain = build(name).eval()
            plain.load_state_dict(model.state_dict())
            assert all(a.equal(b) for a, b in zip(features, plain(x), strict=True))
        else:  # of each image alone
            both = model(torch.cat([x, torch.rand(1, 3, 64, 64)]))
            for a, b in zip(features, both, strict=True):
                torch.testing.assert_close(a, b[:1], rtol=1e-4, atol=1e-4 * a.abs().max().item())


@pytest.mark.parametrize(
    "arguments",
    [
        {"recursions": 1},
        {"se_ratio": 16},
        {"encoder_decoder": {"ratio": 0.5}},
        {
            "recursions": (0, 0, 1, 2),
            "se_ratio": 8,
            "encoder_decoder": {"ratio": 0.25, "groups": 8},
        },
    ],
)
def test_ideas_combine(name, arguments):
    """Each idea changes what the network computes, and is where its argument says."""
    model = randomise(build(name, **arguments))
    x = torch.rand(1, 3, 65, 97)
    for stage, layer in enumerate(model.res_layers):
        blocks = getattr(model, layer)
        wanted = arguments.get("recursions", blocks.recursions)
        assert blocks.recursions == (wanted if isinstance(wanted, int) else wanted[stage])
        assert "se_ratio" not in arguments or all(b.se_layer is not None for b in blocks)
        if "encoder_decoder" in arguments:
            assert all(isinstance(b.downsample, EncoderDecoder) for b in blocks)
    with torch.no_grad():
        features = model(x)
        recursive = any(getattr(model, layer).recursions for layer in model.res_layers)
        for layer in model.res_layers:
            getattr(model, layer).recursions = 0
        assert features[-1].equal(model(x)[-1]) != recursive
