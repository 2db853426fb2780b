"""Folding of norms: exact for every family, only where it is right, and never trained again."""

import copy
from importlib import import_module

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, complete, randomise
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco
from mmcv.cnn import ConvModule
from mmdet.apis import inference_detector
from mmdet.models.dense_heads.tood_head import TaskDecomposition
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import MODELS
from mmres_plugin.weights.repository import kept_settings
from PIL import Image
from torch import nn

import mmres_plugin.models as families
from mmres_plugin.checks import build_model
from mmres_plugin.config import load_config
from mmres_plugin.deploy import fold_norms, load_folded, load_model, save_folded
from mmres_plugin.deploy.export import Exported
from mmres_plugin.errors import UserError
from mmres_plugin.models.shortcut import EncoderDecoder
from mmres_plugin.registry import BACKBONES
from mmres_plugin.weights.files import find_state_dict, read_checkpoint
from mmres_plugin.weights.stored_config import check_types

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


@pytest.mark.parametrize("name", sorted(BACKBONES))
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
    return randomise(MODELS.build(cfg.model)).double()


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
    theirs = import_module(f"{package}.models.backbones").ResNet(depth=18, out_indices=(3,))
    with pytest.warns(UserWarning, match="none of the 20 norms of this ResNet is folded"):
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


NAMES = [f"digit {number}" for number in range(10)]
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
    meta = {"dataset_meta": {"classes": NAMES}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, tmp_path / "trained.pth")

    run = fold_checkpoint(config, tmp_path / "trained.pth", tmp_path / "new/folded.pth")
    assert run.returncode == 0, run.stderr
    assert "folded 38 of 38 norms" in run.stdout
    folded = load_folded(tmp_path / "new/folded.pth")
    x = images(2, 3, 64, 64).float()
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)

    # What MMPretrain's inferencer looks for; the pipeline of the test set comes along.
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "image.png")
    assert folded.dataset_meta["classes"] == NAMES
    assert (
        ImageClassificationInferencer(folded)(str(tmp_path / "image.png"))[0]["pred_class"] in NAMES
    )

    # Elsewhere the file would load in part and compute something else.
    for load in (read_state_dict, lambda path: load_checkpoint(model, path)):
        with pytest.raises(ValueError, match=r"mmres_plugin\.deploy\.load_folded\("):
            load(str(tmp_path / "new/folded.pth"))


def read_state_dict(path: str) -> dict:
    return find_state_dict(read_checkpoint(path), path)


def test_folded_detector_finds_with_mmdet(tmp_path):
    """``inference_detector`` takes the model as it comes from the file."""
    config = detector_config(tmp_path / "det.py", make_coco(tmp_path / "coco"))
    model = randomise(build_model(load_config(config)))
    meta = {"dataset_meta": {"classes": ("cat", "dog")}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, tmp_path / "det.pth")
    model = load_model(config, tmp_path / "det.pth")
    save_folded(fold_norms(model), config, tmp_path / "folded.pth")
    picture = cv2.imread(str(next((tmp_path / "coco/val2017").iterdir())))
    found = [
        inference_detector(network, picture).pred_instances
        for network in (model, load_folded(tmp_path / "folded.pth"))
    ]
    assert len(found[0]) > 0
    torch.testing.assert_close(found[0].scores, found[1].scores, rtol=1e-3, atol=1e-5)


def test_wrapped_data_and_types_as_classes(tmp_path):
    """Inferencers look for the pipeline in the data set, not in what it wraps."""
    config = classifier_config(tmp_path / "cls.py", tmp_path)
    wrapped = tmp_path / "wrapped.py"
    wrapped.write_text(
        f"_base_ = {str(config)!r}\n"
        "test_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[\n"
        "    dict(type='RepeatDataset', times=2, dataset=_base_.val_dataloader.dataset)]))\n"
    )
    save_folded(fold_norms(load_model(wrapped)), wrapped, tmp_path / "folded.pth")
    for model in (load_model(wrapped), load_folded(tmp_path / "folded.pth")):
        assert model.cfg.test_dataloader.dataset.pipeline[0].type == "LoadImageFromFile"
    classes = tmp_path / "classes.py"
    classes.write_text(
        "from mmengine.config import read_base\nfrom mmpretrain.models import ImageClassifier\n"
        "model = dict(type=ImageClassifier, backbone=dict(type='ResNet', depth=18))\n"
        "default_scope = 'mmpretrain'\n"
    )
    with pytest.raises(UserError, match=r"was refused: .*config.model.type"):
        save_folded(fold_norms(load_model(classes)), classes, tmp_path / "no.pth")
    assert not (tmp_path / "no.pth").exists()


HOSTILE = {
    "a function": {"type": "subprocess.check_call", "args": "true"},
    "in a list": [{"type": "ConvModule"}, {"type": "os.mkdir", "path": "ran"}],
    "a class by its module": {"type": "torch.nn.modules.linear.Identity"},
    "an operator by eval": {"type": "__import__('os').getpid"},
    "a scope": {"type": "Conv2d", "_scope_": "os"},
    "a list": {"type": ["ConvModule"]},
    # What some registered class evaluates, reads as a config, or fetches and runs.
    "a text": {"type": "CameraMotionCompensation", "warp_mode": "__import__('os').mkdir('ran')"},
    "a config": {"type": "LAD", "teacher_config": "teacher.py"},
    "remote code": {"type": "HuggingFaceClassifier", "trust_remote_code": True},
}


@pytest.mark.parametrize("part", HOSTILE.values(), ids=HOSTILE)
def test_a_file_names_registered_types_alone(tmp_path, monkeypatch, part):
    monkeypatch.chdir(tmp_path)
    model = {"type": "ImageClassifier", "backbone": {"type": "ResNet", "depth": 18}, "neck": part}
    meta = {"mmres_plugin_folded": {"default_scope": "mmpretrain", "model": model}}
    torch.save({"meta": meta, "state_dict": {"w": torch.zeros(1)}}, tmp_path / "hostile.pth")
    monkeypatch.setattr(MODELS, "build", lambda cfg: pytest.fail("the model was built"))
    with pytest.raises(UserError, match=r"hostile.pth was refused: .*\(config\.model\.neck\."):
        load_folded(tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "sreresnet/sreresnet50_8xb256-rsb-a2-300e_in1k",
        "sreresnet/fcos_sreresnet50-srefpn_1x",
        "sreresnet/mask-rcnn_sreresnet50_1x",
        "sreresnet/dino_sreresnet50_1x",
        "cub/iresnet50_8xb8_cub",
    ],
)
def test_shipped_configs_are_not_refused(name):
    check_types(kept_settings(load_config(ROOT / f"configs/{name}.py")), name)


def test_a_detector_of_two_stages_is_not_refused(tmp_path):
    """Its RoI layers are operators of MMCV, which are in no registry."""
    backbone = "backbone=dict(depth=18, init_cfg=None), neck=dict(in_channels=[64, 128, 256, 512])"
    base = ROOT / "configs/iresnet/faster-rcnn_iresnet50_1x.py"
    config = tmp_path / "det.py"
    config.write_text(f"_base_ = {str(base)!r}\nmodel = dict({backbone})\n")
    model = randomise(load_model(config))
    save_folded(fold_norms(model), config, tmp_path / "folded.pth")
    loaded = load_folded(tmp_path / "folded.pth")
    x = torch.rand(1, 3, 64, 64)
    for ours, theirs in zip(loaded.extract_feat(x), model.extract_feat(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())


def test_a_config_in_the_file_is_data(tmp_path):
    """As the text of a config file it would be run."""
    text = f"import os; os.mkdir({str(tmp_path / 'ran')!r}); model = None"
    content = {"meta": {"mmres_plugin_folded": text}, "state_dict": {"w": torch.zeros(1)}}
    torch.save(content, tmp_path / "hostile.pth")
    with pytest.raises(UserError, match="is not folded"):
        load_folded(tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()
