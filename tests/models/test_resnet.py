"""The shell: equality with the upstream networks, its arguments, and what it refuses."""

import copy
import functools
import inspect
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
from mmres_plugin.models.block import BasicBlock, ResidualBlock
from mmres_plugin.models.layer_decay import LayerDecay
from mmres_plugin.models.resnet import DEPTHS
from mmres_plugin.models.stage import Stage
from mmres_plugin.weights import convert_state_dict
from mmres_plugin.weights.fit import OnMeta

ALL = {"out_indices": (0, 1, 2, 3)}
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
    theirs = randomise(theirs(depth=depth, **ALL, **kwargs))
    ours = ours(depth, **ALL, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, *((17, 23) if ours.cifar_stem else (65, 97)))
    (a, grads), (b, their_grads) = step(ours, x), step(theirs, x)
    assert all(i.equal(j) for i, j in zip(a, b, strict=True))
    assert all(grads[n].equal(g) for n, g in their_grads.items())


@pytest.mark.parametrize("cifar_stem", [False, True])
def test_iresnet_has_a_stem_without_pool(cifar_stem):
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
        ("resnet50", lambda: SReResNet(50, recursions=0)),
        ("resnext50_32x4d", lambda: ResNeXt(50)),
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
    theirs = randomise(timm.create_model(timm_name)).double().eval()
    ours = ours().double().eval()
    converted = convert_state_dict(theirs.state_dict())
    prefix = "backbone."
    ours.load_state_dict(
        {n.removeprefix(prefix): t for n, t in converted.items() if n.startswith(prefix)}
    )
    x = torch.rand(1, 3, 96, 96, dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], theirs.forward_features(x), rtol=1e-9, atol=1e-12)


def test_recursion_runs_the_later_blocks_again():
    model = randomise(SReResNet(50, recursions=(0, 1, 2, 0), **ALL)).eval()
    plain = SReResNet(50, recursions=0, **ALL).eval()
    plain.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        y = plain.maxpool(plain.relu(plain.norm1(plain.conv1(x))))
        expected = []
        for i, passes in enumerate((0, 1, 2, 0), 1):
            layer = getattr(plain, f"layer{i}")
            y = layer(y)
            for _ in range(passes):
                y = nn.Sequential(*list(layer)[1:])(y)
            expected.append(y)
        assert all(a.equal(b) for a, b in zip(model(x), expected, strict=True))


def test_re_entry_is_a_matter_of_shape():
    assert [getattr(SReResNet(50), f"layer{i}").reentry for i in range(1, 5)] == [1, 1, 1, 1]
    # Stage 1 of a basic-block net keeps size and channels: all of its blocks run again.
    assert [getattr(SReResNet(18), f"layer{i}").reentry for i in range(1, 5)] == [0, 1, 1, 1]
    # An encoder-decoder on every shortcut makes no difference.
    ed = build("EDResNet", recursions=1)
    assert [getattr(ed, f"layer{i}").reentry for i in range(1, 5)] == [1, 1, 1, 1]


def test_shared_norms_see_both_passes():
    model = SReResNet((2, 2, 2, 2)).train()
    model(torch.rand(2, 3, 64, 64))
    assert model.layer1[0].bn1.num_batches_tracked == 1
    assert model.layer1[1].bn1.num_batches_tracked == 2


def test_nothing_to_repeat_is_an_error():
    block = BasicBlock(8, 16, 16)
    with pytest.raises(ValueError, match="recursions=1"):
        Stage([block], recursions=1)
    Stage([BasicBlock(8, 8, 8)], recursions=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 51}, r"depth must be one of \[18, 34, .*got 51"),
        ({"depth": (3, 4)}, "depth must be a number, or 4 numbers of blocks"),
        ({"depth": "50"}, "depth must be .*got '50'"),
        ({"depth": (3, 4, 0, 3)}, "depth must be a whole number from 1"),
        ({"out_indices": (0, 4)}, r"out_indices must be .*\[0, 1, 2, 3\], got \(0, 4\)"),
        ({"out_indices": 3}, "out_indices must be a tuple of stages"),
        ({"out_indices": (-1,)}, "out_indices"),
        ({"out_indices": ()}, "out_indices"),
        ({"recursions": (1, 1)}, r"recursions must be one value, or 4.*got \(1, 1\)"),
        ({"recursions": -1}, "recursions must be a whole number from 0, got -1"),
        ({"recursions": 1.5}, "recursions must be a whole number from 0, got 1.5"),
        ({"style": "tensorflow"}, "style must be 'pytorch' or 'caffe', got 'tensorflow'"),
        ({"frozen_stages": 5}, "frozen_stages must be a whole number from -1 to 4, got 5"),
        ({"num_stages": 5}, "num_stages must be 1, 2, 3 or 4, got 5"),
        ({"strides": (1, 2, 2)}, "strides must be one value, or 4"),
        ({"dilations": (1, 1)}, "dilations"),
        ({"dilations": 0}, "dilations must be a whole number from 1, got 0"),
        ({"groups": 0}, "groups must be a whole number from 1, got 0"),
        ({"groups": (32, 32)}, "groups must be one value, or 4"),
        ({"groups": (32, 32, 32, 0)}, "groups must be a whole number"),
        ({"width_per_group": (32, 32)}, "width_per_group must be one value, or 4"),
        ({"encoder_decoder": True}, "encoder_decoder must be a dict, or None, got True"),
        ({"groups": 3}, "groups must divide the 64 channels .*got 3"),
        ({"width_per_group": 0}, "width_per_group must be a whole number from 1, got 0"),
        ({"se_ratio": 1 / 16}, "se_ratio must be a whole number from 1, or None, got 0.0625"),
        ({"se_ratio": (16,)}, r"se_ratio must be one value, or 4 \(num_stages\), got \(16,\)"),
        ({"se_ratio": (16, 16, 0, None)}, "se_ratio must be a whole number from 1, or None"),
        ({"drop_path_rate": 1.0}, "drop_path_rate must be a number from 0 to below 1, got 1.0"),
        ({"plugins": {"cfg": {"type": "ContextBlock"}}}, "plugins must be a list of dicts"),
        ({"plugins": [{"position": "after_conv3"}]}, "a plugin must be dict"),
        ({"depth": 18, "groups": 32}, "groups=32 needs a bottleneck"),
        ({"depth": 18, "dcn": {"type": "DCNv2"}, "stage_with_dcn": True}, "dcn needs a bottleneck"),
        ({"encoder_decoder": {"ratio": 0.3}}, "encoder_decoder: .*ratio=0.3"),
        ({"encoder_decoder": {"groups": 0}}, "encoder_decoder: groups must divide 64.*groups=0"),
        (
            {"plugins": [{"cfg": {"type": "ContextBlock", "ratio": 0.25}, "position": "end"}]},
            "position must be one of .*'after_conv3'.*got 'end'",
        ),
        ({"drop_path_rate": None}, "drop_path_rate must be a number from 0 .*, got None"),
        ({"frozen_stages": 1.0}, "frozen_stages must be a whole number .*, got 1.0"),
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


def test_groups_that_are_set():
    assert IResGroup(50, groups=16, num_stages=1, out_indices=(0,)).layer1[1].conv2.groups == 16
    for groups in (1, (1, 1, 1, 1)):
        assert ResNeXt(50, groups=groups).layer1[1].conv2.out_channels == 64


def test_initialisation_without_settings():
    """As after ``init_cfg = None`` on a network that was built with weights to load."""
    model = build("SReResNet")
    model.init_cfg = None
    model.init_weights()
    assert model.is_init


@pytest.mark.parametrize("network", [SEResNet, SEResNeXt])
def test_a_stage_without_se(network):
    """The authors of SENet found that the last stage does without."""
    model = network(50, se_ratio=(16, 8, 16, None))
    hidden = [
        stage[0].se_layer and stage[0].se_layer.conv1.conv.out_channels for stage in stages(model)
    ]
    assert hidden == [16, 64, 64, None]


def test_warning_where_strides_give_other_maps_than_in_resnet():
    """IResNet's stem has no pool: configs that were written for ResNet stride half as much."""
    for strides, ours in [
        ((1, 2, 1, 1), (2, 2, 1, 1)),  # output stride 8
        ((1, 2, 2, 1), (2, 2, 2, 1)),  # DC5 of Faster R-CNN and DETR
        ((1, 2, 2), (2, 2, 2)),  # C4
    ]:
        arguments = dict(num_stages=len(strides), out_indices=(len(strides) - 1,))
        for network in (IResNet, IResGroup):
            message = f"{network.__name__}: strides={strides} .* write strides={ours}"
            with pytest.warns(UserWarning, match=re.escape(message).replace(r"\ \.\*\ ", " .* ")):
                half = network(50, strides=strides, **arguments)
            same, resnet = (
                model(50, strides=s, **arguments)
                for model, s in ((network, ours), (SReResNet, strides))
            )
            x = torch.rand(1, 3, 64, 96)
            with torch.no_grad():
                maps = [tuple(model.eval()(x)[0].shape[2:]) for model in (half, same, resnet)]
            assert maps[1] == maps[2] == tuple(size // 2 for size in maps[0])
    IResNet(18, strides=(1, 2, 2, 2), cifar_stem=True)  # whose stem has no stride: no warning
    IResNet(18, strides=(1, 2, 2, 2), max_pool_shortcut=False)


def test_one_pool_per_shortcut():
    with pytest.raises(ValueError, match="avg_down=True needs max_pool_shortcut=False"):
        IResNet(50, avg_down=True)
    IResNet(50, avg_down=True, max_pool_shortcut=False)


@pytest.mark.parametrize(
    ("network", "plain"), [(EDResNet, SReResNet), (EDResNeXt, ResNeXt), (EDSEResNeXt, SEResNeXt)]
)
def test_the_path_can_be_switched_off(network, plain):
    plain = plain(50, **({"recursions": 0} if plain is SReResNet else {}))
    assert list(network(50, encoder_decoder=None).state_dict()) == list(plain.state_dict())


def test_width_of_the_path_follows_the_published_networks():
    """The inner width of the plain network: 1/4 of the block's, 1/2 with grouped convolutions."""
    for network, channels in ((EDResNet, 64), (EDResNeXt, 128), (EDSEResNeXt, 128)):
        for arguments in ({}, {"encoder_decoder": {"groups": 16}}):
            assert (
                network(50, **arguments).layer1[0].downsample.decoder_conv.in_channels == channels
            )


def test_groups_and_widths_per_stage():
    model = IResGroup(50)
    assert [s[0].conv2.groups for s in stages(model)] == [8, 16, 32, 64]
    assert [s[0].conv2.in_channels for s in stages(model)] == [256, 512, 1024, 2048]
    fixed = IResGroup(50, fixed_groups=True)
    assert [s[0].conv2.groups for s in stages(fixed)] == [64] * 4
    assert [s[0].conv2.in_channels for s in stages(fixed)] == [256, 512, 1024, 2048]


def stages(model):
    return [getattr(model, name) for name in model.res_layers]


def test_a_slice_of_a_stage_runs_its_blocks():
    model = randomise(SReResNet(50)).eval()
    x = torch.rand(1, 64, 16, 16)
    with torch.no_grad():
        assert model.layer1[:2](x).equal(model.layer1[1](model.layer1[0](x)))
        assert model.layer1[:0](x).equal(x)


def test_init_weights_that_fails_leaves_the_settings(monkeypatch):
    model = SReResNet(18)
    before = model.init_cfg, model.zero_init_residual

    def fail(self):
        raise RuntimeError("no weights today")

    with monkeypatch.context() as context:
        context.setattr(upstream.ResNet, "init_weights", fail)
        with pytest.raises(RuntimeError, match="no weights today"):
            model.init_weights()
    assert (model.init_cfg, model.zero_init_residual) == before


def test_plugin_in_no_stage():
    plugin = {"cfg": {"type": "ContextBlock", "ratio": 0.25}, "position": "after_conv3"}
    plain, without = (
        SReResNet(50, plugins=plugins) for plugins in (None, [{**plugin, "stages": False}])
    )
    assert list(without.state_dict()) == list(plain.state_dict())


def test_dcn_as_in_mmdet():
    dcn = {"type": "DCNv2", "deform_groups": 1, "fallback_on_stride": False}
    kwargs = {"dcn": dcn, "stage_with_dcn": (False, True, True, True), **ALL}
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
    model = SReResNet(50, style=style, dcn=dcn, stage_with_dcn=(False, True, True, True))
    kinds = [type(block.conv2).__name__ for block in model.layer2]
    assert kinds == ["Conv2d", *["ModulatedDeformConv2dPack"] * 3]


def test_plugins_as_in_mmdet():
    plugins = [
        {
            "cfg": {"type": "ContextBlock", "ratio": 1 / 16},
            "stages": (False, True, True, False),
            "position": "after_conv3",
        },
        {
            "cfg": {"type": "ContextBlock", "ratio": 1 / 4, "postfix": "2"},
            "position": "after_conv2",
        },
    ]
    before = copy.deepcopy(plugins)
    ours = SReResNet(50, recursions=0, plugins=plugins, **ALL).eval()
    assert plugins == before
    theirs = MMDetResNet(50, plugins=copy.deepcopy(plugins), **ALL)
    theirs.eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(a, b)


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


def test_zero_init_with_a_convolution_after_the_last():
    plugin = dict(cfg=dict(type="ConvModule", out_channels=256, kernel_size=1))
    plugins = [dict(**plugin, position="after_conv3", stages=(True, False, False, False))]
    model = build("SReResNet", zero_init_residual=True, plugins=plugins)
    model.init_weights()
    assert "conv_block" in model.layer1[0].layers
    assert not model.layer1[0].bn3.weight.any()


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
    theirs, ours = upstream.ResNet(depth), SReResNet(depth)
    names = [f"backbone.{name}" for name, _ in theirs.named_parameters()]
    for name in [*names, "head.fc.weight"]:
        expected = theirs.get_layer_depth(name, "backbone.")
        assert ours.get_layer_depth(name, "backbone.") == expected


@pytest.mark.parametrize("stage_blocks", [blocks for _, blocks in DEPTHS.values()] + [(1, 2, 40)])
def test_learning_rate_layers_of_any_depth(stage_blocks):
    network, seen = LayerDecay(), [0]
    network.stage_blocks = stage_blocks
    for stage, blocks in enumerate(stage_blocks, 1):
        for block in range(blocks):
            depth, total = network.get_layer_depth(f"layer{stage}.{block}.conv1.weight")
            assert depth in (seen[-1], seen[-1] + 1)
            seen.append(depth)
    assert seen[-1] == total - 2
    assert total <= 2 + 1 + 6 + 9 + 1


@pytest.mark.parametrize("name", BACKBONES)
def test_mmcv_folds_the_right_norms(name):
    """mmcv pairs a convolution with the next norm among its siblings; ours must stand so."""
    model = randomise(build(name)).double().eval()
    x = torch.rand(1, 3, 65, 64, dtype=torch.double)
    with torch.no_grad():
        expected = model(x)
        for a, b in zip(fuse_conv_bn(copy.deepcopy(model))(x), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_upstream_still_has_what_we_build_on():
    """Fails when a release of MMPretrain changes what the shell overrides or relies on."""
    calls = []

    class Probe(upstream.ResNet):
        def make_res_layer(self, **kwargs):
            calls.append((len(self.res_layers), set(kwargs)))
            return super().make_res_layer(**kwargs)

    Probe(18)
    seam = inspect.signature(SReResNet.make_res_layer).parameters
    named = {n for n in seam if n not in ("self", "block_kwargs")}
    assert [stage for stage, _ in calls] == [0, 1, 2, 3]
    for _, passed in calls:
        assert named <= passed
        assert passed - named == {"dilation", "style", "conv_cfg", "norm_cfg"}
    for method in ("_make_stem_layer", "_freeze_stages", "init_weights", "train", "forward"):
        assert method in vars(upstream.ResNet)
    assert "_make_stem_layer" in vars(upstream.ResNet_CIFAR)
