"""Every shipped config: it says what it is, and builds; one of each recipe trains for real."""

import re
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from helpers.configs import shrink
from helpers.data import make_cifar, make_coco, make_cub, make_imagenet
from helpers.weights import resnet50
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import (
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from mmpretrain.datasets import CIFAR10, CIFAR100

import mmres_plugin
from mmres_plugin.checks import Setup
from mmres_plugin.checks.names import unknown_names
from mmres_plugin.models.resnet import ResNet
from mmres_plugin.weights.fit import OnMeta

CONFIG_FOLDER = ROOT / "configs"
FOLDERS = ["sreresnet", "iresnet", "edresnet", "seresnet", "resnext", "cifar", "cub"]
CONFIGS = sorted(
    str(path.relative_to(CONFIG_FOLDER))
    for f in FOLDERS
    for path in (CONFIG_FOLDER / f).glob("*.py")
)
QUICK = {"sreresnet/fcos_sreresnet50_1x.py", "iresnet/iresnet50_8xb32_in1k.py"}
HUBS = {
    "mmcls": get_mmcls_models(),
    "open-mmlab": get_external_models(),
    "torchvision": get_torchvision_models(),
}
# The learning rate, the images a step that it is made for, and the images of one GPU.
RECIPES = {
    "8xb32_in1k": (0.1, 256, 32),
    "8xb256-rsb-a2-300e_in1k": (0.005, 2048, 256),
    "8xb256-rsb-a3-100e_in1k": (0.008, 2048, 256),
    "1xb128_cifar10": (0.1, 128, 128),
    "1xb128_cifar100": (0.1, 128, 128),
    "cifar10": (0.2, 128, 128),
    "8xb8_cub": (0.01, 64, 8),
    "fcos_1x": (0.01, 16, 2),
    "fcos-plain_ms-2x": (0.01, 16, 2),
    "fcos-plain_1xb2-720k": (0.0025, 2, 2),
    "fcos-plain_1xb2-1440k": (0.0025, 2, 2),
    "retinanet_1x": (0.01, 16, 2),
    "atss_1x": (0.01, 8, 2),
    "atss-dyhead_1x": (0.01, 8, 2),
    "faster-rcnn_1x": (0.02, 16, 2),
    "mask-rcnn_1x": (0.02, 16, 2),
    "cascade-rcnn_1x": (0.02, 16, 2),
    "dino_1x": (1e-4, 16, 2),
}
# What a name says of a network apart from its family and depth.
VARIANTS = re.compile(r"-(a|b|32x4d|lrp|dcn|srefpn|in1k-pre|rsb-pre|v2-pre)\b")


def parts(config: str) -> tuple[str, str, str]:
    """Detector (empty for a classifier), network and recipe that a config's name speaks of."""
    words = Path(config).stem.split("_")
    is_classifier = words[-1] in ("in1k", "cifar10", "cifar100", "cub")
    detector = "" if is_classifier else words.pop(0)
    return detector, words[0], "_".join(words[1:])


def one_of_each() -> set[str]:
    """A config of each recipe and each kind of layers and weights."""
    chosen = {}
    for config in (*sorted(QUICK), *CONFIGS):
        detector, network, recipe = parts(config)
        kinds = {*VARIANTS.findall(network)} - {"a", "b", "32x4d"}
        chosen.setdefault((detector, recipe, *sorted(kinds)), config)
    return {*chosen.values()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Where a data set of each type lies."""
    root = tmp_path_factory.mktemp("data")
    cifar = make_cifar(root / "cifar")
    with pytest.MonkeyPatch.context() as patch:
        for dataset in (CIFAR10, CIFAR100):  # ours have other checksums
            for name in ("train_list", "test_list"):
                files = [[file, None] for file, _ in getattr(dataset, name)]
                patch.setattr(dataset, name, files)
        yield {
            "CocoDataset": make_coco(root / "coco", train=2, val=1),
            "ImageNet": make_imagenet(root / "imagenet", train=2, val=2),
            "CIFAR10": cifar,
            "CIFAR100": cifar,
            "CUB": make_cub(root / "cub"),
        }


@pytest.mark.parametrize("config", [c for c in CONFIGS if "study_" not in c])
def test_says_what_it_is(config):
    """The name of a file agrees with what it configures, and nothing is left to a default."""
    cfg = Config.fromfile(CONFIG_FOLDER / config)
    backbone = dict(cfg.model.backbone)
    detector, network, recipe = parts(config)
    assert backbone["type"].startswith("mmres_plugin.")
    kind = backbone["type"].split(".")[1].lower() + ("fix" if "fixed_groups" in backbone else "")
    if backbone.get("recursions") == 0 or backbone.get("encoder_decoder", {}) is None:
        kind = "resnet"
    depth = backbone["depth"]
    layers = depth if isinstance(depth, int) else 3 * sum(depth) + 2
    assert VARIANTS.sub("", network) == f"{kind}{layers}"
    rate = (
        cfg.optim_wrapper.optimizer.lr,
        cfg.auto_scale_lr.base_batch_size,
        cfg.train_dataloader.batch_size,
    )
    initialised = backbone.get("init_cfg") or {}
    checkpoint = initialised.get("checkpoint", "")
    if detector:
        assert cfg.default_scope == "mmdet"
        authors = ("sreresnet50", "sreresnet101", "sreresnet50-srefpn")  # theirs: 8 images a step
        if detector == "fcos" and network in authors:
            assert rate == (0.01, 8, 2)
        elif network.endswith(("rsb-pre", "v2-pre")):
            assert (cfg.optim_wrapper.optimizer.type, *rate) == ("AdamW", 2e-4, 16, 2)
        else:
            assert rate == RECIPES[f"{detector}_{recipe}"]
        assert backbone["out_indices"] == ((1, 2, 3) if detector == "dino" else (0, 1, 2, 3))
        assert backbone["norm_eval"] is True and backbone["frozen_stages"] == 1
        assert checkpoint
    else:
        assert cfg.default_scope == "mmpretrain"
        assert rate == RECIPES[recipe]
        assert bool(checkpoint) == (recipe.endswith("cub") or network.endswith("in1k-pre"))
        assert backbone.get("cifar_stem", False) == ("cifar" in recipe)
    scheme, _, name = checkpoint.partition("://")
    assert scheme not in HUBS or name in HUBS[scheme]
    if checkpoint.startswith("checkpoints/"):
        # A recursive network starts from the weights of the plain one.
        plain = re.sub(r"-(dcn|srefpn|lrp)$", "", network.removeprefix("sre"))
        assert checkpoint == f"checkpoints/{plain}_8xb32_in1k.pth"
        assert initialised["prefix"] == "backbone."


@pytest.mark.parametrize(
    "config",
    [
        *("iresnet/iresnet18_8xb32_in1k", "iresnet/fcos_iresnet50_1x"),
        *("digits/sreresnet18_digits", "digits/fcos_sreresnet18_shapes"),
    ],
)
def test_inherits_from_anywhere(config, tmp_path):
    """`mmres_plugin::` makes our scope that of each name in the file; the packages' are no part."""
    (tmp_path / "own.py").write_text(f"_base_ = 'mmres_plugin::{config}.py'")
    cfg = Config.fromfile(tmp_path / "own.py")
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    with OnMeta():
        assert isinstance(mmres_plugin.registry.MODELS.build(cfg.model).backbone, ResNet)
    for task in ("train", "test"):
        assert not list(unknown_names(Setup(cfg, task)))


@pytest.mark.slow
@pytest.mark.parametrize("config", [c for c in CONFIGS if "dcn" not in c and "dyhead" not in c])
def test_builds(config):
    """At full depth, without numbers, which deformable convolutions would need."""
    cfg = Config.fromfile(CONFIG_FOLDER / config)
    with OnMeta(), DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        model.eval()
        images = torch.zeros(1, 3, 64, 64)
        if cfg.default_scope == "mmpretrain":
            assert model(images).shape == (1, cfg.model.head.num_classes)
        else:
            assert len(model.extract_feat(images)) >= 4
    assert isinstance(model.backbone, ResNet)


@pytest.mark.parametrize(
    "config",
    [pytest.param(c, marks=() if c in QUICK else pytest.mark.slow) for c in sorted(one_of_each())],
)
def test_trains(config, data, tmp_path):
    """On tiny data, one epoch of one step, with fewer blocks."""
    cfg = shrink(Config.fromfile(CONFIG_FOLDER / config), tmp_path)
    cfg.model.backbone.depth = (2,) * cfg.model.backbone.get("num_stages", 4)
    root = str(data[cfg.train_dataloader.dataset.type])
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = root
    if cfg.default_scope == "mmdet":
        for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
            evaluator.ann_file = f"{root}/annotations/instances_val2017.json"
    if "num_queries" in cfg.model:
        cfg.model.num_queries = 20  # not more than there are places in a small picture
    init_default_scope(cfg.default_scope)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
    # A detector with random weights may find nothing, and then has no average precision.
    metrics = [s for s in runner.message_hub.log_scalars if s.startswith("val/")]
    assert {"mmdet": "val/time", "mmpretrain": "val/accuracy/top1"}[cfg.default_scope] in metrics
    loss = runner.message_hub.get_scalar("train/loss").current()
    assert 0 < loss < 1000  # rsb's is a sum over the classes
    assert isinstance(runner.model.backbone, ResNet)
    (file,) = tmp_path.glob("*_1.pth")
    saved = torch.load(file, weights_only=False)
    assert saved["state_dict"].keys() == runner.model.state_dict().keys()
    file.unlink()  # hundreds of MB


def test_pretrained_layers_can_learn_slower():
    cfg = Config.fromfile(CONFIG_FOLDER / "cub/edresnet50-lrp_8xb8_cub.py")
    cfg.model.backbone.depth = (1, 1, 1, 1)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {names[id(p)]: g["lr"] for g in groups for p in g["params"] if id(p) in names}
    assert rates == {n: 0.01 if n.startswith("head.") else 0.001 for n in names.values()}


@pytest.mark.slow
def test_strong_starts_load(tmp_path):
    """A file of the same layout in place of the download; 7×7 kernels do not fit a CIFAR stem."""
    weights = resnet50()
    for config, prefix, left in [
        ("sreresnet/faster-rcnn_sreresnet50-rsb-pre_1x.py", "backbone.", []),
        ("sreresnet/faster-rcnn_sreresnet50-v2-pre_1x.py", "", []),
        ("cifar/sreresnet50-in1k-pre_1xb128_cifar100.py", "", ["conv1.weight"]),
    ]:
        file = {prefix + name: tensor for name, tensor in weights.items()}
        torch.save({"state_dict": file} if prefix else file, tmp_path / "weights.pth")
        cfg = Config.fromfile(CONFIG_FOLDER / config).model.backbone
        cfg.init_cfg.checkpoint = str(tmp_path / "weights.pth")
        backbone = MODELS.build(cfg)
        backbone.init_weights()
        tensors = backbone.state_dict().items()
        assert [name for name, tensor in tensors if not tensor.equal(weights[name])] == left
