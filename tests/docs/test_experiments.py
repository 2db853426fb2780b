"""The page of the papers' experiments: its configs, ablations, settings and lists are real."""

import re
import shutil
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.data import make_imagenet
from mmengine.config import Config
from mmengine.registry import DATASETS, HOOKS, MODELS, DefaultScope
from mmpretrain.datasets import CIFAR100

import mmres_plugin  # noqa: F401
from mmres_plugin.checks import Setup
from mmres_plugin.checks.data import missing_data
from mmres_plugin.config import known_configs, load_config
from mmres_plugin.engine.runner import user_errors
from mmres_plugin.errors import UserError
from mmres_plugin.weights.fit import OnMeta

EXPERIMENTS = (ROOT / "docs/experiments.md").read_text("utf-8")
CONFIGS = known_configs(ROOT / "none")


def test_every_config_is_among_the_experiments_once():
    """Not the families' ImageNet classifiers and first two detectors, which stand in models.md.

    Those of networks that come with their weights are in the folder's README.
    """
    links = re.findall(r"\]\(\.\./(configs/[^)]+\.py)\)", EXPERIMENTS)
    assert len(links) == len(set(links))
    paths = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").glob("[!_]*/*.py")}
    elsewhere = re.compile(
        r"/[^/]*(_8xb32_in1k|20_cifar10)\.py|/(fcos|faster-rcnn)_[a-z0-9-]+_1x\.py|/digits/"
    )
    assert {path for path in paths if not elsewhere.search(path)} <= set(links) <= paths


def test_ablations_build():
    backbones = re.findall(r"`(dict\(type=\"mmres_plugin.*?\))`", EXPERIMENTS)
    assert len(backbones) > 10
    sizes = set()
    for line in backbones:
        with OnMeta():
            backbone = MODELS.build(Config.fromstring(f"backbone = {line}", ".py").backbone)
        sizes.add((line.partition(",")[0], str(backbone.recursions), len(backbone.state_dict())))
        sizes.add(sum(p.numel() for p in backbone.parameters()))
    assert len(sizes) > 10


def test_the_authors_settings_are_keys_of_the_configs():
    tables = re.findall(
        r"^\|[^|]*\| `([\w-]+\.py)` \|\n\|---\|---\|\n((?:\|.*\n)+)", EXPERIMENTS, re.M
    )
    assert len(tables) == 2
    for name, rows in tables:
        cfg = Config.fromfile(CONFIGS[Path(name).stem])
        for key in re.findall(r"\| `([\w.]+)`[^`|]*\|$", rows, re.MULTILINE):
            node = cfg
            for word in key.split("."):
                node = node[int(word) if word.isdigit() else word]


def test_a_list_of_images_is_one_line(tmp_path):
    root = make_imagenet(tmp_path / "imagenet", train=4, val=2)
    shutil.rmtree(root / "meta")
    lines = [f"n0000000{i % 2}/train_000{i}.JPEG {7 - i}" for i in range(4)]
    (root / "lists").mkdir()
    (root / "lists/train.txt").write_text("\n".join(lines))
    (line,) = re.findall(r"^train_dataloader = .*ann_file.*$", EXPERIMENTS, re.MULTILINE)
    base = CONFIGS["edresnet50_8xb32_in1k"].absolute()
    (tmp_path / "own.py").write_text(f"_base_ = {str(base)!r}\n{line}\n")
    dataset = load_config(tmp_path / "own.py").train_dataloader.dataset
    dataset = DATASETS.build(dict(dataset, data_root=str(root), _scope_="mmpretrain"))
    assert [dataset.get_gt_labels()[i] for i in range(4)] == [7, 6, 5, 4]
    assert all(Path(dataset.get_data_info(i)["img_path"]).is_file() for i in range(4))


def test_lines_for_a_config_hold(tmp_path):
    lines = re.findall(r"`((?:optim_wrapper|custom_hooks) = .*?)`", EXPERIMENTS)
    base = CONFIGS["edresnet50_8xb8_cub"].absolute()
    (tmp_path / "own.py").write_text("\n".join([f"_base_ = {str(base)!r}", *lines]))
    cfg = load_config(tmp_path / "own.py")
    slower = load_config(CONFIGS["edresnet50-lrp_8xb8_cub"])
    assert cfg.optim_wrapper == slower.optim_wrapper
    (hook,) = cfg.custom_hooks
    assert type(HOOKS.build(hook)).__name__ == "EMAHook"


def test_two_statements_make_another_detector(tmp_path):
    (snippet,) = re.findall(r"```python\n(_base_.*?)```", EXPERIMENTS, re.DOTALL)
    (tmp_path / "own.py").write_text(snippet)
    cfg = load_config(tmp_path / "own.py")
    with OnMeta(), DefaultScope.overwrite_default_scope(cfg.default_scope):
        assert type(MODELS.build(cfg.model).backbone).__name__ == "SReResNet"


def test_missing_birds_are_said_before_a_run():
    said = "\n".join(missing_data(Setup(load_config(CONFIGS["edresnet50_8xb8_cub"]), "train").sets))
    assert "there is no folder" in said
    assert "data/CUB_200_2011/images/<class>/*.jpg" in said


def test_cifar_without_a_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR100, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(UserError, match="the data could not be downloaded"), user_errors():
        CIFAR100(data_root=str(tmp_path))
