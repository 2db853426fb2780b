"""Every shipped config: it loads and builds, and it trains, validates and saves for real.

The quick suite runs a classifier, FCOS and Faster R-CNN of each family; the rest is slow.
"""

import re
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from helpers.configs import shrink
from helpers.data import make_coco, make_imagenet
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import get_external_models, get_mmcls_models

import mmres_plugin
from mmres_plugin.models.resnet import ResNet

CONFIG_FOLDER = ROOT / "configs"
FAMILIES = ["sreresnet", "iresnet", "edresnet", "seresnet", "resnext"]
CONFIGS = sorted(
    str(path.relative_to(CONFIG_FOLDER))
    for f in FAMILIES
    for path in (CONFIG_FOLDER / f).glob("*.py")
)
QUICK = {
    *("sreresnet/fcos_sreresnet50_1x.py", "sreresnet/faster-rcnn_sreresnet50_1x.py"),
    *("sreresnet/fcos_sreresnet101_1x.py", "sreresnet/sreresnet101_8xb32_in1k.py"),
    *("sreresnet/sreresnet50_8xb32_in1k.py", "iresnet/iresnet50_8xb32_in1k.py"),
    *("iresnet/fcos_iresgroup50_1x.py", "iresnet/faster-rcnn_iresnet50_1x.py"),
    *("edresnet/edresnet50-a_8xb32_in1k.py", "edresnet/fcos_edresnet50_1x.py"),
    *("edresnet/faster-rcnn_edseresnext50-32x4d_1x.py", "seresnet/fcos_seresnext50-32x4d_1x.py"),
    *("seresnet/seresnext50-32x4d_8xb32_in1k.py", "resnext/faster-rcnn_resnext50-32x4d_1x.py"),
}
HUBS = {"mmcls": get_mmcls_models, "open-mmlab": get_external_models}
HUGE = ("302", "404", "1001")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {
        "mmdet": make_coco(root / "coco", train=2, val=1),
        "mmpretrain": make_imagenet(root / "imagenet", train=2, val=2),
    }


def test_the_quick_ones_exist():
    assert set(CONFIGS) >= QUICK
    assert len(CONFIGS) > 100


def test_networks_of_50_and_101_layers_have_both_detectors():
    for config in map(Path, CONFIGS):
        network, _, kind = config.stem.partition("_")
        if kind == "8xb32_in1k" and re.search(r"(?<!\d)(50|101)(?!\d)", network):
            for detector in ("fcos", "faster-rcnn"):
                lightweight = network.endswith(("-a", "-b"))
                there = str(config.with_name(f"{detector}_{network}_1x.py")) in CONFIGS
                assert there != lightweight, f"{detector} with {network}"


@pytest.mark.parametrize("config", CONFIGS)
def test_says_what_it_is(config):
    """The name of a file agrees with what it configures, and nothing is left to a default."""
    cfg = Config.fromfile(CONFIG_FOLDER / config)
    backbone = dict(cfg.model.backbone)
    stem = Path(config).stem
    network = stem.split("_")[0] if stem.endswith("in1k") else stem.split("_")[1]
    assert backbone["type"].startswith("mmres_plugin.")
    written = network.removesuffix("-a").removesuffix("-b").removesuffix("-32x4d")
    kind = backbone["type"].split(".")[1].lower() + ("fix" if "fixed_groups" in backbone else "")
    assert written == f"{kind}{backbone['depth']}"
    # The learning rate, the images a step that it is made for, and the images of one GPU.
    rate = (
        cfg.optim_wrapper.optimizer.lr,
        cfg.auto_scale_lr.base_batch_size,
        cfg.train_dataloader.batch_size,
    )
    if stem.endswith("in1k"):
        assert cfg.default_scope == "mmpretrain"
        assert rate == (0.1, 256, 32)
    else:
        assert cfg.default_scope == "mmdet"
        recipes = {"fcos": (0.01, 16, 2), "faster-rcnn": (0.02, 16, 2)}
        authors = stem in ("fcos_sreresnet50_1x", "fcos_sreresnet101_1x")
        assert rate == ((0.01, 8, 2) if authors else recipes[stem.partition("_")[0]])
        assert backbone["out_indices"] == (0, 1, 2, 3)
        assert backbone["norm_eval"] is True and backbone["frozen_stages"] == 1
        checkpoint = backbone["init_cfg"]["checkpoint"]
        scheme, _, name = checkpoint.partition("://")
        if scheme in HUBS:
            assert name in HUBS[scheme]()
        if checkpoint.startswith("checkpoints/"):
            plain = network.removeprefix("sre")  # whose weights a recursive network starts from
            assert checkpoint == f"checkpoints/{plain}_8xb32_in1k.pth"


@pytest.mark.parametrize("config", ["iresnet/iresnet18_8xb32_in1k", "iresnet/fcos_iresnet50_1x"])
def test_inherits_from_anywhere(config, tmp_path):
    """`mmres_plugin::` makes our scope that of each name in the file; the packages' are no part."""
    (tmp_path / "own.py").write_text(f"_base_ = 'mmres_plugin::{config}.py'")
    cfg = Config.fromfile(tmp_path / "own.py")
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    assert isinstance(mmres_plugin.registry.MODELS.build(cfg.model).backbone, ResNet)


def tiny(config: str, data: dict, work_dir: Path) -> Config:
    """The config on tiny data, one step an epoch, one epoch, on whatever device is there."""
    cfg = shrink(Config.fromfile(CONFIG_FOLDER / config), work_dir)
    root = str(data[cfg.default_scope])
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = root
    if cfg.default_scope == "mmdet":
        for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
            evaluator.ann_file = f"{root}/annotations/instances_val2017.json"
    return cfg


def train_and_validate(config: str, data: dict, work_dir: Path) -> None:
    cfg = tiny(config, data, work_dir)
    init_default_scope(cfg.default_scope)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
    # A detector with random weights may find nothing, and then has no average precision.
    metrics = [s for s in runner.message_hub.log_scalars if s.startswith("val/")]
    assert {"mmdet": "val/time", "mmpretrain": "val/accuracy/top1"}[cfg.default_scope] in metrics
    loss = runner.message_hub.get_scalar("train/loss").current()
    assert 0 < loss < 100
    assert isinstance(runner.model.backbone, ResNet)
    file = work_dir / "epoch_1.pth"
    saved = torch.load(file, weights_only=False)
    assert saved["state_dict"].keys() == runner.model.state_dict().keys()
    file.unlink()  # hundreds of MB


@pytest.mark.parametrize("config", sorted(QUICK))
def test_trains(config, data, tmp_path):
    train_and_validate(config, data, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [c for c in CONFIGS if c not in QUICK and not any(h in c for h in HUGE)]
)
def test_all_others_train(config, data, tmp_path):
    train_and_validate(config, data, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("config", [c for c in CONFIGS if any(h in c for h in HUGE)])
def test_huge_ones_build_and_run(config):
    cfg = Config.fromfile(CONFIG_FOLDER / config)
    init_default_scope(cfg.default_scope)
    model = mmres_plugin.registry.MODELS.build(cfg.model.backbone).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 32, 32))[0].shape == (1, 2048, 1, 1)
