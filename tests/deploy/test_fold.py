"""Folding of norms: exact for every family, only where it is right, and never trained again."""

import copy

import pytest
import torch
from helpers import ROOT, complete, randomise
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

import mmres_plugin.models as families
from mmres_plugin.deploy import fold_norms, load_folded
from mmres_plugin.engine import UserError
from mmres_plugin.models.shortcut import EncoderDecoder

DEPTH = (4, 2, 2, 3)  # every position of a block in its stage occurs
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def tensors(outputs) -> list[torch.Tensor]:
    """All tensors in nested outputs, in order."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for part in outputs for tensor in tensors(part)]


@torch.no_grad()
def assert_same(model, folded, x) -> None:
    expected, got = tensors(model(x)), tensors(folded(x))
    assert len(expected) == len(got) > 0
    for theirs, ours in zip(expected, got, strict=True):
        scale = theirs.abs().max()
        assert scale > 0
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-10)


def norms(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, NORMS)}


def backbone(name: str, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    model = getattr(families, name)(**{"depth": DEPTH, "out_indices": (0, 1, 2, 3), **kwargs})
    return randomise(model).double().eval()


@pytest.mark.parametrize("name", families.__all__)
def test_every_family(name):
    model = backbone(name)
    before = copy.deepcopy(model.state_dict())
    folded = fold_norms(model)
    assert_same(model, folded, images(2, 3, 75, 64))
    if not name.startswith("IRes"):
        assert not norms(folded)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before), "the model was changed"


def test_iresnet_keeps_the_norms_that_follow_no_convolution():
    kept = norms(fold_norms(backbone("IResNet")))
    before = {f"layer{s}.{i}.before.0" for s, n in enumerate(DEPTH, 1) for i in range(2, n)}
    after = {f"layer{s}.{n - 1}.after.0" for s, n in enumerate(DEPTH, 1)}
    assert kept == before | after


@pytest.mark.parametrize(
    "kwargs",
    [
        dict(name="ResNeXt", style="caffe", dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1)),
        dict(name="SReResNet", depth=18),
        dict(name="IResNet", depth=18),
        dict(name="IResNet", staged_blocks=False),
        dict(name="IResGroup", fixed_groups=True),
        dict(name="EDResNet", norm_cfg=dict(type="SyncBN")),
        dict(name="EDResNet", norm_cfg=dict(type="BN", affine=False), zero_init_residual=False),
        dict(name="SEResNet", frozen_stages=2, norm_eval=True, with_cp=True),
        dict(name="SEResNet", conv_cfg=dict(type="Conv")),
    ],
    ids=str,
)
def test_arguments(kwargs):
    model = backbone(**kwargs)
    folded = fold_norms(model)
    assert_same(model, folded, images(1, 3, 64, 64))
    assert len(norms(folded)) < len(norms(model)) / 2


@pytest.mark.parametrize("path", ["sreresnet/sreresnetv1d50", "iresnet/iresnet50"])
def test_classifiers(path):
    cfg = Config.fromfile(ROOT / f"configs/{path}_8xb32_in1k.py")
    cfg.model.backbone.update(depth=DEPTH)
    model = randomise(MODELS.build(cfg.model)).double().eval()
    assert_same(model, fold_norms(model), images(2, 3, 64, 64))


def detector(backbone: str, **neck) -> nn.Module:
    cfg = Config.fromfile(ROOT / f"configs/{backbone}_1x.py")
    cfg.model.backbone.update(depth=DEPTH, init_cfg=None)
    cfg.model.neck.update(neck)
    init_default_scope("mmdet")
    return randomise(MODELS.build(cfg.model)).double().eval()


def test_detector_with_norms_in_the_neck_and_group_norms_in_the_head():
    model = detector("edresnet/fcos_edresnet50", norm_cfg=dict(type="BN"))
    folded = fold_norms(model)
    assert_same(model, folded, images(1, 3, 96, 64))
    assert not norms(folded)
    kept = [m for m in folded.modules() if isinstance(m, nn.GroupNorm)]
    assert len(kept) == sum(isinstance(m, nn.GroupNorm) for m in model.modules()) > 0


def test_convolution_shared_by_several_norms_is_left_alone():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.levels = nn.ModuleList(ConvModule(8, 8, 3, norm_cfg={"type": "BN"}) for _ in "12")
            self.levels[1].conv = self.levels[0].conv

        def forward(self, x):
            return [level(x) for level in self.levels]

    model = randomise(Head()).double().eval()
    folded = fold_norms(model)
    assert_same(model, folded, images(2, 8, 16, 16))
    assert len(norms(folded)) == 2


@pytest.mark.parametrize(
    "kwargs",
    [
        dict(norm_cfg=dict(type="GN", num_groups=32)),
        dict(norm_cfg=dict(type="BN", track_running_stats=False)),
        dict(conv_cfg=dict(type="ConvWS")),
    ],
    ids=str,
)
def test_what_cannot_fold_stays(kwargs):
    torch.manual_seed(0)
    model = families.SEResNet(depth=DEPTH, **kwargs).double().eval()
    folded = fold_norms(model)
    assert_same(model, folded, images(1, 3, 64, 64))
    assert folded.state_dict().keys() == model.state_dict().keys()


def test_second_fold_does_nothing():
    once = fold_norms(backbone("IResNet"))
    twice = fold_norms(once)
    assert [*map(str, once.modules())] == [*map(str, twice.modules())]
    for (name, first), second in zip(
        once.state_dict().items(), twice.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second), name


def test_training_is_refused():
    folded = fold_norms(backbone("EDSEResNeXt"))
    with pytest.raises(RuntimeError, match="fold_norms has folded its batch norms"):
        folded.train()
    assert not folded.eval().training


def test_folded_model_is_still_differentiable():
    folded = fold_norms(backbone("SEResNet"))
    x = images(1, 3, 64, 64).requires_grad_()
    folded(x)[-1].square().mean().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None for p in folded.layer1.parameters())


def test_transposed_convolutions_get_no_bias():
    """With one, oneDNN computes grouped ones by its slow reference code."""
    folded = fold_norms(backbone("EDResNet"))
    decoders = [m for m in folded.modules() if isinstance(m, EncoderDecoder)]
    assert len(decoders) == sum(DEPTH)
    for module in decoders:
        assert module.decoder_conv.bias is None
        assert module.decoder_norm.offset.abs().sum() > 0


CONFIG = """
_base_ = '{root}/configs/digits/sreresnet18_digits.py'
model = dict(backbone=dict(depth={depth}), head=dict(in_channels=1024))
"""


def fold_checkpoint(*args):
    return complete(ROOT / "tools/model_converters/fold_checkpoint.py", *args)


def test_fold_checkpoint(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(root=ROOT, depth=DEPTH))
    cfg = Config.fromfile(config)
    init_default_scope("mmpretrain")
    model = randomise(MODELS.build(cfg.model)).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "trained.pth")

    run = fold_checkpoint(config, tmp_path / "trained.pth", tmp_path / "new/folded.pth")
    assert run.returncode == 0, run.stderr
    assert "folded 38 of 38 norms" in run.stdout
    folded = load_folded(tmp_path / "new/folded.pth")
    x = images(2, 3, 64, 64).float()
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)

    # The config in the file is data. As the text of a config file it would be run.
    content = torch.load(tmp_path / "new/folded.pth")
    (mark,) = content["meta"]
    content["meta"][mark] = f"import os; os.mkdir({str(tmp_path / 'ran')!r}); model = None"
    torch.save(content, tmp_path / "hostile.pth")
    with pytest.raises(UserError, match="is not folded"):
        load_folded(tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()

    run = fold_checkpoint(config, tmp_path / "new/folded.pth", tmp_path / "again.pth")
    assert run.returncode != 0
    assert "already folded" in run.stderr

    state = {name: 1e30 * value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "diverged.pth")
    run = fold_checkpoint(config, tmp_path / "diverged.pth", tmp_path / "again.pth")
    assert run.returncode != 0
    assert "nothing is written: the features of the folded model differ by nan" in run.stderr
    assert not (tmp_path / "again.pth").exists()
