"""Folding of norms: exact for every family, only where it is right, and never trained again."""

import copy
from importlib import import_module

import cv2
import pytest
import torch
from helpers import ROOT, randomise
from helpers.configs import detector_config
from helpers.data import make_coco
from mmcv.cnn import ConvModule
from mmdet.apis import inference_detector
from mmdet.models.dense_heads.tood_head import TaskDecomposition
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

import mmres_plugin.models as families
from mmres_plugin.config import build_model, load_config
from mmres_plugin.deploy import fold_norms, load_model
from mmres_plugin.deploy.export import Exported
from mmres_plugin.errors import UserError
from mmres_plugin.models.shortcut import EncoderDecoder
from mmres_plugin.registry import BACKBONES

DEPTH = (4, 2)  # every position of a block in its stage occurs
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
    small = dict(depth=DEPTH, num_stages=2, out_indices=(0, 1), base_channels=32)
    model = getattr(families, name)(**{**small, **kwargs})
    return randomise(model).double().eval()


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_family(name):
    model = backbone(name)
    before = copy.deepcopy(model.state_dict())
    folded = fold_norms(model)
    assert_same(model, folded, images(2, 3, 43, 32))
    if not name.startswith("IRes"):
        assert not norms(folded)
    for module in folded.modules():
        if isinstance(module, EncoderDecoder):
            # With a bias, oneDNN computes grouped transposed convolutions by slow reference code.
            assert module.decoder_conv.bias is None and module.decoder_norm.offset.any()
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
        dict(name="ResNeXt", style="caffe", dilations=(1, 2), strides=(1, 1)),
        dict(name="IResNet", depth=18),
        dict(name="IResNet", staged_blocks=False),
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
    assert_same(model, folded, images(1, 3, 32, 32))
    assert len(norms(folded)) < len(norms(model)) / 2


def test_detector_with_norms_in_the_neck_and_group_norms_in_the_head():
    cfg = Config.fromfile(ROOT / "configs/edresnet/fcos_edresnet50_1x.py")
    cfg.model.backbone.update(depth=(1, 1, 1, 1), init_cfg=None)
    cfg.model.neck.update(norm_cfg=dict(type="BN"))
    init_default_scope("mmdet")
    model = randomise(MODELS.build(cfg.model)).double()
    folded = fold_norms(model)
    assert_same(model, folded, images(1, 3, 96, 64))
    assert not norms(folded)
    kept = [m for m in folded.modules() if isinstance(m, nn.GroupNorm)]
    assert len(kept) == sum(isinstance(m, nn.GroupNorm) for m in model.modules()) > 0


class Branch(nn.Module):
    """A ConvModule and another module that has its convolution, its weight or its norm too."""

    def __init__(self, shared: str) -> None:
        super().__init__()
        self.first = ConvModule(8, 8, 3, padding=1, norm_cfg={"type": "BN"}, act_cfg=None)
        self.other = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.Identity()
        if shared == "convolution":
            self.other = self.first.conv
        elif shared == "weight":
            self.other.weight = self.first.conv.weight
        else:
            self.norm = self.first.bn

    def forward(self, x):
        return self.first(x) + self.norm(self.other(x))


def test_weights_that_another_module_multiplies_are_left_alone():
    """MMDetection's TOOD does not call its ConvModule: it takes the weights and the norm."""
    model = TaskDecomposition(8, 2, la_down_rate=2, norm_cfg=dict(type="BN"))
    model = nn.ModuleList([ConvModule(16, 16, 1, norm_cfg=dict(type="BN")), model])
    model = randomise(model).double()
    folded = fold_norms(model)
    assert norms(folded) == {"1.reduction_conv.bn"}
    assert_same(model[1], folded[1], images(1, 16, 8, 8))


@pytest.mark.parametrize("shared", ["convolution", "weight", "norm"])
def test_what_has_another_user_is_left_alone(shared):
    model = randomise(Branch(shared)).double()
    with pytest.warns(UserWarning, match="none of the 1 norms of this Branch is folded"):
        folded = fold_norms(model)
    assert_same(model, folded, images(2, 8, 16, 16))
    assert len(norms(folded)) == 1


@pytest.mark.parametrize("package", ["mmpretrain", "mmdet"])
def test_backbones_of_the_packages(package):
    """Their ``train`` returns nothing, and they do not say which norms follow which convolution."""
    one = dict(depth=18, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    theirs = import_module(f"{package}.models.backbones").ResNet(**one)
    with pytest.warns(UserWarning, match="none of the 5 norms of this ResNet is folded"):
        folded = fold_norms(theirs)
        exported = Exported(theirs)
    theirs.eval()
    x = images(1, 3, 64, 64).float()
    with torch.no_grad():
        assert torch.equal(folded(x)[0], theirs(x)[0])
        assert torch.equal(exported(x)[0], theirs(x)[0])


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
    model = families.SEResNet((2, 2), num_stages=2, out_indices=(1,), **kwargs).double().eval()
    folded = fold_norms(model)
    assert_same(model, folded, images(1, 3, 32, 32))
    assert folded.state_dict().keys() == model.state_dict().keys()


def test_a_folded_model():
    """It stays as it is when it is folded again, passes gradients, and cannot be trained."""
    folded = fold_norms(backbone("EDSEResNeXt"))
    twice = fold_norms(folded)
    assert [*map(str, folded.modules())] == [*map(str, twice.modules())]
    assert all(map(torch.equal, folded.state_dict().values(), twice.state_dict().values()))
    x = images(1, 3, 64, 64).requires_grad_()
    folded(x)[-1].square().mean().backward()
    assert x.grad.abs().sum() > 0
    with pytest.raises(RuntimeError, match="fold_norms has folded its batch norms"):
        folded.train()
    assert not folded.eval().training


def test_a_loaded_detector_finds_with_mmdet(tmp_path):
    """``inference_detector`` takes a loaded model, folded or not."""
    config = detector_config(tmp_path / "det.py", make_coco(tmp_path / "coco"))
    model = randomise(build_model(load_config(config)))
    meta = {"dataset_meta": {"classes": ("cat", "dog")}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, tmp_path / "det.pth")
    model = load_model(config, tmp_path / "det.pth")
    assert model.dataset_meta["classes"] == ("cat", "dog")
    picture = cv2.imread(str(next((tmp_path / "coco/val2017").iterdir())))
    found = [
        inference_detector(network, picture).pred_instances
        for network in (model, fold_norms(model))
    ]
    assert len(found[0]) > 0
    torch.testing.assert_close(found[0].scores, found[1].scores, rtol=1e-3, atol=1e-5)
    torch.save({"state_dict": {"w": torch.ones(1)}}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"checkpoint: .*other\.pth does not fit the model"):
        load_model(config, tmp_path / "other.pth")
