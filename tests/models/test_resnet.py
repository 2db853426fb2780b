"""The shell: equality with the upstream networks, its arguments, and what it refuses."""

import copy
import functools
import itertools
import re

import mmpretrain.models.backbones as upstream
import pytest
import timm
import torch
from helpers import randomise
from mmcv.cnn import fuse_conv_bn
from mmdet.models.backbones import ResNet as MMDetResNet
from test_backbones import BACKBONES, build
from torch import nn

from mmres_plugin.models import (
    EDResNet,
    EDResNeXt,
    EDSEResNeXt,
    IResGroup,
    IResNet,
    ResNeXt,
    SEResNet,
    SEResNeXt,
    SReResNet,
    SReResNetV1d,
)
from mmres_plugin.models.block import ResidualBlock
from mmres_plugin.weights import convert_state_dict
from mmres_plugin.weights.fit import OnMeta

NARROW = {"out_indices": (0, 1, 2, 3), "stem_channels": 16, "base_channels": 16}
ECA = {"cfg": {"type": "mmres_plugin.ECA"}, "position": "after_conv3"}


def step(model, x):
    """Features and gradients of one training step, in float64."""
    model.double().train()
    features = model(x.double())
    sum(f.square().mean() for f in features).backward()
    return features, {n: p.grad for n, p in model.named_parameters()}


plain = functools.partial(functools.partial, recursions=0)


@pytest.mark.parametrize(
    ("ours", "theirs", "depth", "kwargs"),
    [
        (plain(SReResNet), upstream.ResNet, 18, {}),
        (plain(SReResNet), upstream.ResNet, 50, {}),
        (plain(SReResNet), upstream.ResNet, 50, {"style": "caffe", "base_channels": 32}),
        (plain(SReResNetV1d), upstream.ResNetV1d, 50, {}),
        (plain(SReResNet, cifar_stem=True), upstream.ResNet_CIFAR, 18, {}),
        (plain(SReResNet, cifar_stem=True), upstream.ResNet_CIFAR, 50, {}),
        (ResNeXt, upstream.ResNeXt, 50, {}),
        (ResNeXt, upstream.ResNeXt, 50, {"groups": 8, "width_per_group": 8}),
        (ResNeXt, upstream.ResNeXt, 50, {"groups": 1}),
        (SEResNet, upstream.SEResNet, 50, {}),
        (SEResNeXt, upstream.SEResNeXt, 50, {}),
    ],
)
def test_equals_mmpretrain(ours, theirs, depth, kwargs):
    """Narrow: the networks of full width are compared with timm's."""
    kwargs = {**NARROW, **kwargs}
    theirs = randomise(theirs(depth=depth, **kwargs))
    ours = ours(depth, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, *((17, 23) if ours.cifar_stem else (33, 49)))
    (a, grads), (b, their_grads) = step(ours, x), step(theirs, x)
    assert all(i.equal(j) for i, j in zip(a, b, strict=True))
    assert all(grads[n].equal(g) for n, g in their_grads.items())


@pytest.mark.parametrize("cifar_stem", [False, True])
def test_iresnet_has_a_stem_without_pool(cifar_stem):
    with OnMeta():
        model = IResNet(50, cifar_stem=cifar_stem)
    assert isinstance(model.maxpool, nn.Identity)
    assert model.strides == ((1, 2, 2, 2) if cifar_stem else (2, 2, 2, 2))
    # A max-pool stands where a projection strides.
    pools = [isinstance(stage[0].downsample[0], nn.MaxPool2d) for stage in stages(model)]
    assert pools == [not cifar_stem, True, True, True]


@pytest.mark.slow
def test_any_depth_for_cifar():
    """3002 layers, as the IResNet paper trains: with bottlenecks, 1000 of them."""
    with OnMeta():
        model = IResNet(
            (333, 334, 333),
            num_stages=3,
            out_indices=(2,),
            stem_channels=16,
            base_channels=16,
            cifar_stem=True,
        )
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 3002 - 1 + 3  # projections


@pytest.mark.parametrize(
    ("timm_name", "ours"),
    [
        pytest.param("resnet50", lambda: SReResNet(50, recursions=0), marks=pytest.mark.slow),
        pytest.param("resnext50_32x4d", lambda: ResNeXt(50), marks=pytest.mark.slow),
        ("seresnet50", lambda: SEResNet(50)),
        ("seresnext50_32x4d", lambda: SEResNeXt(50)),
        ("ecaresnet50d", lambda: SReResNetV1d(50, recursions=0, plugins=[ECA])),
        (
            "ecaresnetlight",
            lambda: SReResNet((1, 1, 11, 3), recursions=0, avg_down=True, plugins=[ECA]),
        ),
    ],
)
def test_equals_timm(timm_name, ours):
    theirs = randomise(timm.create_model(timm_name)).double()
    with OnMeta():
        ours = ours().eval()
    converted = convert_state_dict(theirs.state_dict())
    prefix = "backbone."
    ours.load_state_dict(
        {n.removeprefix(prefix): t for n, t in converted.items() if n.startswith(prefix)},
        assign=True,
    )
    x = torch.rand(1, 3, 64, 64, dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], theirs.forward_features(x), rtol=1e-9, atol=1e-12)


def test_recursion_runs_the_later_blocks_again():
    model = randomise(SReResNet(50, recursions=(0, 1, 2, 0), **NARROW))
    plain = SReResNet(50, recursions=0, **NARROW).eval()
    plain.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        y = plain.maxpool(plain.relu(plain.norm1(plain.conv1(x))))
        expected = []
        for layer, passes in zip(stages(plain), (0, 1, 2, 0), strict=True):
            y = layer(y)
            for _ in range(passes):
                y = layer[1:](y)
            expected.append(y)
        assert all(a.equal(b) for a, b in zip(model(x), expected, strict=True))
        # A slice of a stage is a plain stage.
        y = torch.rand(1, 64, 8, 8)
        first, second = model.layer2[0], model.layer2[1]
        assert model.layer2[:2](y).equal(second(first(y)))
        assert model.layer2[:0](y).equal(y)
    model.train()(torch.rand(2, 3, 64, 64))
    passes = [block.bn1.num_batches_tracked.item() for block in model.layer3]
    assert passes == [1, 3, 3, 3, 3, 3]  # norms see all passes


def test_re_entry_is_a_matter_of_shape():
    assert [stage.reentry for stage in stages(SReResNet(50, **NARROW))] == [1, 1, 1, 1]
    # Stage 1 of a basic-block net keeps size and channels: all of its blocks run again.
    assert [stage.reentry for stage in stages(SReResNet(18, **NARROW))] == [0, 1, 1, 1]
    # An encoder-decoder on every shortcut makes no difference.
    assert [stage.reentry for stage in stages(build("EDResNet", recursions=1))] == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 51}, r"depth must be one of \[18, 34, .*got 51"),
        ({"depth": (3, 4)}, "depth must be a number, or 4 numbers of blocks"),
        ({"depth": "50"}, "depth must be .*got '50'"),
        ({"depth": (3, 4, 0, 3)}, "depth must be a whole number from 1"),
        ({"out_indices": (0, 4)}, r"out_indices must be .*\[0, 1, 2, 3\], got \(0, 4\)"),
        ({"out_indices": 3}, "out_indices must be a tuple of stages"),
        ({"out_indices": ()}, "out_indices"),
        ({"recursions": (1, 1)}, r"recursions must be one value, or 4.*got \(1, 1\)"),
        ({"depth": (2, 1, 2, 2)}, "recursions=1 is impossible for a stage whose only block"),
        ({"recursions": -1}, "recursions must be a whole number from 0, got -1"),
        ({"style": "tensorflow"}, "style must be 'pytorch' or 'caffe', got 'tensorflow'"),
        ({"frozen_stages": 5}, "frozen_stages must be a whole number from -1 to 4, got 5"),
        ({"num_stages": 5}, "num_stages must be 1, 2, 3 or 4, got 5"),
        ({"strides": (1, 2, 2)}, "strides must be one value, or 4"),
        ({"dilations": (1, 1)}, "dilations"),
        ({"groups": 0}, "groups must be a whole number from 1, got 0"),
        ({"encoder_decoder": True}, "encoder_decoder must be a dict, or None, got True"),
        ({"groups": 3}, "groups must divide the 64 channels .*got 3"),
        ({"width_per_group": 0}, "width_per_group must be a whole number from 1, got 0"),
        ({"se_ratio": 1 / 16}, "se_ratio must be a whole number from 1, or None, got 0.0625"),
        ({"se_ratio": (16,)}, r"se_ratio must be one value, or 4 \(num_stages\), got \(16,\)"),
        ({"se_ratio": (16, 16, 0, None)}, "se_ratio must be a whole number from 1, or None"),
        ({"drop_path_rate": 1.0}, "drop_path_rate must be a number from 0 to below 1, got 1.0"),
        ({"plugins": {"cfg": {"type": "ContextBlock"}}}, "plugins must be a list of dicts"),
        ({"plugins": [{"position": "after_conv3"}]}, "a plugin must be dict"),
        (
            {"avg_down": True, "max_pool_shortcut": True},
            "avg_down=True needs max_pool_shortcut=False",
        ),
        ({"depth": 18, "groups": 32}, "groups=32 needs a bottleneck"),
        ({"depth": 18, "dcn": {"type": "DCNv2"}, "stage_with_dcn": True}, "dcn needs a bottleneck"),
        ({"encoder_decoder": {"ratio": 0.3}}, "encoder_decoder: .*ratio=0.3"),
        ({"encoder_decoder": {"groups": 0}}, "encoder_decoder: groups must divide 64.*groups=0"),
        (
            {"plugins": [{"cfg": {"type": "ContextBlock", "ratio": 0.25}, "position": "end"}]},
            "position must be one of .*'after_conv3'.*got 'end'",
        ),
        ({"stage_with_dcn": (True,)}, "stage_with_dcn"),
        ({"dcn": {"type": "DCNv2"}}, "stage_with_dcn must be true for a stage"),
    ],
)
def test_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        SReResNet(**{"depth": 50, **arguments})


@pytest.mark.parametrize("network", [SReResNet, IResNet, IResGroup, ResNeXt, EDSEResNeXt])
def test_errors_name_the_class(network):
    with pytest.raises(TypeError, match=rf"^{network.__name__}: missing .*'depth'"):
        network()
    with pytest.raises(TypeError, match=rf"^{network.__name__}: .*'depht'. Did you mean 'depth'"):
        network(depht=18)
    with pytest.raises(TypeError, match=rf"^{network.__name__}: .*'recursion'.*'recursions'"):
        network(50, recursion=1)
    with pytest.raises(TypeError, match=r"^\w+\.__init__\(\) takes from 1 to 2 positional"):
        network(50, 3)  # three recursions? three stages?


def test_networks_of_ones_own():
    """A subclass may have a constructor with arguments of its own, or none."""

    class Own(SEResNet):
        def __init__(self, depth=18, gates=3, **kwargs):
            super().__init__(depth, se_ratio=8, **kwargs)
            self.gates = gates

    class Heir(Own):
        pass

    model = Heir(gates=5, base_channels=32)
    assert (model.depth, model.gates) == (18, 5)
    assert model.layer1[0].conv1.out_channels == 32
    with pytest.raises(TypeError, match=r"^Heir: .*'gate'\. Did you mean 'gates'"):
        Heir(gate=5)


def test_initialisation_without_settings():
    """As after ``init_cfg = None`` on a network that was built with weights to load."""
    model = build("SReResNet")
    model.init_cfg = None
    model.init_weights()
    assert model.is_init


@pytest.mark.parametrize("network", [IResNet, IResGroup])
@pytest.mark.parametrize(
    ("strides", "ours"),
    [
        ((1, 2, 1, 1), (2, 2, 1, 1)),  # output stride 8
        ((1, 2, 2, 1), (2, 2, 2, 1)),  # DC5 of Faster R-CNN and DETR
        ((1, 2, 2), (2, 2, 2)),  # C4
    ],
)
def test_warning_where_strides_give_other_maps_than_in_resnet(network, strides, ours):
    """IResNet's stem has no pool: configs that were written for ResNet stride half as much."""
    arguments = dict(depth=50, num_stages=len(strides), out_indices=(len(strides) - 1,))
    message = re.escape(f"{network.__name__}: strides={strides} makes")
    with OnMeta():
        with pytest.warns(UserWarning, match=rf"{message}.* write {re.escape(f'strides={ours}')}"):
            half = network(strides=strides, **arguments)
        same = network(strides=ours, **arguments)
        resnet = SReResNet(strides=strides, **arguments)
        # Without a stride in the stem, or with a pool there, nothing is said.
        network(strides=strides, cifar_stem=True, **arguments)
        network(strides=strides, max_pool_shortcut=False, **arguments)
    maps = [model.out_strides for model in (half, same, resnet)]
    assert maps[1] == maps[2] == tuple(2 * stride for stride in maps[0])


@pytest.mark.parametrize(
    ("network", "plain", "channels"),
    [
        (EDResNet, functools.partial(SReResNet, recursions=0), 64),
        (EDResNeXt, ResNeXt, 128),
        (EDSEResNeXt, SEResNeXt, 128),
    ],
)
def test_width_of_the_path_and_networks_without(network, plain, channels):
    """The inner width of the plain network: 1/4 of the block's, 1/2 with grouped convolutions."""
    with OnMeta():
        for arguments in ({}, {"encoder_decoder": {"groups": 16}}):
            shortcut = network(50, **arguments).layer1[0].downsample
            assert shortcut.decoder_conv.in_channels == channels
        assert list(network(50, encoder_decoder=None).state_dict()) == list(plain(50).state_dict())


def test_arguments_per_stage():
    with OnMeta():
        model, fixed = IResGroup(50), IResGroup(50, fixed_groups=True)
        assert IResGroup(50, groups=16).layer1[1].conv2.groups == 16
        for groups in (1, (1, 1, 1, 1)):
            assert ResNeXt(50, groups=groups).layer1[1].conv2.out_channels == 64
        # The authors of SENet found that the last stage does without.
        gated = stages(SEResNeXt(50, se_ratio=(16, 8, 16, None)))
    assert [s[0].conv2.groups for s in stages(model)] == [8, 16, 32, 64]
    assert [s[0].conv2.groups for s in stages(fixed)] == [64] * 4
    for network in (model, fixed):
        assert [s[0].conv2.in_channels for s in stages(network)] == [256, 512, 1024, 2048]
    hidden = [s[0].se_layer and s[0].se_layer.conv1.conv.out_channels for s in gated]
    assert hidden == [16, 64, 64, None]


def stages(model):
    return [getattr(model, name) for name in model.res_layers]


def test_dcn_as_in_mmdet():
    dcn = {"type": "DCNv2", "deform_groups": 1, "fallback_on_stride": False}
    kwargs = {"dcn": dcn, "stage_with_dcn": (False, True, True, True), **NARROW}
    before = copy.deepcopy(kwargs)
    ours = SReResNet(50, recursions=0, **kwargs)
    assert kwargs == before
    theirs = MMDetResNet(50, **copy.deepcopy(kwargs))
    theirs.init_weights()
    theirs.eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(ours.eval()(x), theirs(x), strict=True):
            torch.testing.assert_close(a, b)
    ours.init_weights()  # offsets start at zero, whatever init_cfg says of convolutions
    assert not ours.layer2[0].conv2.conv_offset.weight.any()


@pytest.mark.parametrize("style", ["pytorch", "caffe"])
def test_dcn_falls_back_where_a_block_strides(style):
    dcn = {"type": "DCNv2", "fallback_on_stride": True}
    model = SReResNet(50, style=style, dcn=dcn, stage_with_dcn=(False, True, True, True), **NARROW)
    kinds = [type(block.conv2).__name__ for block in model.layer2]
    assert kinds == ["Conv2d", *["ModulatedDeformConv2dPack"] * 3]


@pytest.mark.parametrize("name", BACKBONES)
def test_zero_init_of_the_last_norms(name):
    model = build(name, zero_init_residual=True)
    model.init_weights()
    blocks = [m for m in model.modules() if isinstance(m, ResidualBlock)]
    last = [b.norm_of.get("conv3") for b in blocks]
    assert any(last)
    for block, norm in zip(blocks, last, strict=True):
        if norm is not None:
            assert not getattr(block, norm).weight.any()
    others = [n for n, p in model.named_parameters() if not p.any() and n.endswith("weight")]
    assert len(others) == sum(n is not None for n in last)


def test_pretrained_norms_are_not_zeroed(tmp_path):
    source = randomise(build("SReResNet"))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "w.pth")}
    for cfg in (init_cfg, [init_cfg]):
        model = build("SReResNet", init_cfg=cfg, zero_init_residual=True)
        model.init_weights()
        assert all(t.equal(source.state_dict()[n]) for n, t in model.state_dict().items())


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_learning_rate_layers_are_mmpretrains(depth):
    with OnMeta():
        theirs, ours = upstream.ResNet(depth), SReResNet(depth)
    names = [f"backbone.{name}" for name, _ in theirs.named_parameters()]
    for name in [*names, "head.fc.weight"]:
        expected = theirs.get_layer_depth(name, "backbone.")
        assert ours.get_layer_depth(name, "backbone.") == expected


@pytest.mark.parametrize("depth", [200, (1, 2, 40, 1)])
def test_learning_rate_layers_of_any_depth(depth):
    with OnMeta():
        network = SReResNet(depth, recursions=0)
    layers = [network.get_layer_depth(name) for name, _ in network.named_parameters()]
    assert all(next_ - this in (0, 1) for (this, _), (next_, _) in itertools.pairwise(layers))
    assert layers[-1] == (layers[-1][1] - 2, layers[-1][1])
    assert layers[-1][1] <= 2 + 1 + 6 + 9 + 1


@pytest.mark.parametrize("name", BACKBONES)
def test_mmcv_folds_the_right_norms(name):
    """mmcv pairs a convolution with the next norm among its siblings; ours must stand so."""
    model = randomise(build(name)).double()
    x = torch.rand(1, 3, 33, 32, dtype=torch.double)
    with torch.no_grad():
        expected = model(x)
        for a, b in zip(fuse_conv_bn(copy.deepcopy(model))(x), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
