"""SReFPN: FPN without recursion, and what a recursion adds."""

import pytest
import torch
from helpers import randomise
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch import nn

from mmres_plugin.models.sre_fpn import SReFPN

CHANNELS = [8, 16, 24, 32]
SIZES = [(33, 41), (17, 21), (9, 11), (5, 6)]  # odd: the top-down path crops
FORMS = {
    "faster-rcnn": dict(num_outs=5),
    "retinanet": dict(num_outs=5, start_level=1, add_extra_convs="on_input"),
    "fcos": dict(
        num_outs=5, start_level=1, add_extra_convs="on_output", relu_before_extra_convs=True
    ),
    "lateral": dict(num_outs=6, add_extra_convs="on_lateral", norm_cfg=dict(type="BN")),
    "some levels": dict(num_outs=2, start_level=1, end_level=2),
}


def maps(channels=CHANNELS, **kwargs):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, c, *size, generator=generator, **kwargs)
        for c, size in zip(channels, SIZES, strict=True)
    ]


def pair(form, recursions):
    """An FPN and an SReFPN with its weights, random."""
    plain = randomise(FPN(CHANNELS, 12, **FORMS[form]))
    ours = MODELS.build(
        dict(
            type="mmres_plugin.SReFPN",
            in_channels=CHANNELS,
            out_channels=12,
            recursions=recursions,
            **FORMS[form],
        )
    ).eval()
    assert isinstance(ours, SReFPN)
    ours.load_state_dict(plain.state_dict())  # strict: the same names
    return plain, ours


@pytest.mark.parametrize("recursions", [0, 1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_recursion_is_an_fpn_on_the_sums(form, recursions):
    """An FPN with the same output convolutions says so, whose lateral ones change nothing.

    Without recursion it is FPN itself.
    """
    plain, ours = pair(form, recursions)
    levels = len(plain.lateral_convs)
    again = FPN([12] * levels, 12, num_outs=levels)
    again.lateral_convs = nn.ModuleList(nn.Identity() for _ in range(levels))
    again.fpn_convs = plain.fpn_convs[:levels]
    with torch.no_grad():
        first = outs = plain(maps())
        used = maps()[plain.start_level : plain.start_level + levels]
        laterals = [conv(x) for conv, x in zip(plain.lateral_convs, used, strict=True)]
        for _ in range(recursions):
            outs = again([a + b for a, b in zip(laterals, outs, strict=False)])
        found = ours(maps())
        assert [f.shape for f in found] == [f.shape for f in first]
        assert all(a.equal(b) for a, b in zip(found[:levels], outs[:levels], strict=True))
        assert len(found) == FORMS[form]["num_outs"]
        # Extra levels come from the last pass, but where they start from the backbone.
        same = [a.equal(b) for a, b in zip(found[levels:], first[levels:], strict=True)]
        assert all(same) if form == "retinanet" or not recursions else not any(same)


@pytest.mark.parametrize("form", FORMS)
def test_a_training_step(form):
    """Every parameter and every map that is used gets a gradient; lateral norms run once."""
    _, ours = pair(form, 1)
    inputs = [x.requires_grad_() for x in maps()]
    sum(out.square().mean() for out in ours.train()(inputs)).backward()
    assert all(p.grad.any() for p in ours.parameters())
    assert [x.grad is not None and bool(x.grad.any()) for x in inputs] == [
        i >= ours.start_level and i < ours.backbone_end_level for i in range(len(inputs))
    ]
    if form == "lateral":
        assert ours.lateral_convs[0].bn.num_batches_tracked == 1
        assert ours.fpn_convs[0].bn.num_batches_tracked == 2


def test_trace_serves_other_sizes():
    _, ours = pair("fcos", 1)
    with torch.no_grad():
        traced = torch.jit.trace(ours, (maps(),))
        inputs = [torch.rand(1, c, 64 >> i, 48 >> i) for i, c in enumerate(CHANNELS)]
        for a, b in zip(traced(inputs), ours(inputs), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("recursions", [-1, 0.5, "1"])
def test_wrong_recursions(recursions):
    with pytest.raises(ValueError, match="recursions must be a whole number from 0, got"):
        SReFPN(CHANNELS, 12, num_outs=4, recursions=recursions)
