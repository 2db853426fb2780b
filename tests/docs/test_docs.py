"""The documentation holds: links lead somewhere, snippets of configs build and train."""

import csv
import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from helpers import ROOT
from helpers.configs import shrink
from helpers.data import make_coco, make_image_folders
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

import mmres_plugin
from mmres_plugin.checks import check
from mmres_plugin.config import known_configs, load_config
from mmres_plugin.weights.fit import OnMeta

FOLDERS = ("*.md", "docs/**/*.md", "configs/*/*.md", "tests/**/*.md")
PAGES = [page for pattern in FOLDERS for page in ROOT.glob(pattern)]
GUIDE = ROOT / "docs/config_guide.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
BACKBONES = [text for text in SNIPPETS if "backbone=" in text and "_base_ =" not in text]
# The complete configs of all pages: name of the page and text.
CONFIGS = [
    (page.stem, snippet)
    for page in sorted(ROOT.glob("docs/*.md"))
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    if re.search(r"^_base_ = .*mmres_plugin::", snippet, re.MULTILINE)
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_commands_lead_to_files(page):
    """Commands that train name a learning rate that fits, and checkpoints of epochs that exist."""
    whole, configs = page.read_text("utf-8"), known_configs(ROOT / "none")
    text = re.sub(r"```.*?```", "", whole, flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target = link.partition("#")[0]
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {link}"
    if page.stem == "CHANGELOG":  # speaks of what once was
        return
    for path in re.findall(r"\b((?:configs|tools)/[\w./-]+\.(?:py|sh))\b", whole):
        assert (ROOT / path).exists(), f"{page.name} speaks of {path}"
    # Only the digits' configs are made for one process; no machine is right for all the others.
    trainings = r"(?:mmres train|tools/\w*train\.(?:py|sh)) .*?configs/(?!digits/)[^`\n]*"
    for command in re.findall(trainings, whole):
        assert "--auto-scale-lr" in command, f"{page.name}: {command}"
    for name, epoch in re.findall(r"work_dirs/([\w.-]+)/epoch_(\d+)\.pth", whole):
        if name in configs:  # others stand for a config of the reader's
            epochs = Config.fromfile(configs[name]).train_cfg.max_epochs
            assert int(epoch) <= epochs, f"{page.name}: {name} trains {epochs} epochs, not {epoch}"


def test_the_readme_says_the_same_in_chinese():
    """Commands, links and numbers of code are the same; the table of models is in English alone."""

    def parts(name: str) -> tuple[list[str], list[str]]:
        text = (ROOT / name).read_text("utf-8")
        text = re.sub(r"<!-- models:.*?<!-- end of models -->", "", text, flags=re.S)
        links = re.findall(r"\]\(((?!README)[^)\s]+)\)", text)
        return re.findall(r"```\w+\n.*?```", text, re.S), sorted(links)

    assert parts("README.md") == parts("README_zh-CN.md")


def test_messages_of_the_page_are_those_of_the_code():
    code = "".join(path.read_text("utf-8") for path in (ROOT / "mmres_plugin").rglob("*.py"))
    code = re.sub(r'"\s*f?"', "", code)  # texts that go over several lines
    page = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    page = page.partition("\n## Messages of other packages\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    messages = re.findall(r"`(.*?)`", " ".join(rows))
    assert len(messages) > 20
    for message in messages:
        for part in message.split("…"):
            assert part.strip(" :") in code, f"no message has {part!r}"


def test_the_table_of_speeds_shows_what_was_measured():
    measured = {}
    for name in ("inference", "inference_se_groups", "training"):
        with (ROOT / f"docs/performance/{name}.csv").open() as file:
            for row in csv.DictReader(file):
                measured[row["task"], row["network"], row["mode"]] = float(row["ms"])
    page = (ROOT / "docs/performance.md").read_text("utf-8")
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.count("|") == 11]
    (_, *modes), _, *rows = lines
    assert len(rows) > 5
    for network, *cells in rows:
        task = ""
        for name, cell in zip(modes, cells, strict=True):
            start, colon, mode = name.rpartition(": ")  # "inference: eager" starts a task's columns
            task = start if colon else task
            ms = measured.get((task, network, mode))
            fits = cell == "–" if ms is None else abs(int(cell) - ms) <= 0.5
            assert fits, f"{task} of {network}, {mode}: {cell} in the page, {ms} measured"


def test_the_study_shows_what_was_measured():
    """Means and standard deviations in the tables are those of the training runs."""
    page = (ROOT / "docs/study.md").read_text("utf-8")
    files = sorted((ROOT / "docs/study").glob("cifar10_*.csv"))
    assert files
    for path in files:
        values: dict[str, list[float]] = {}
        with path.open() as file:
            for row in csv.DictReader(file):
                values.setdefault(row["backbone"], []).append(float(row["value"]))
        for backbone, own in values.items():
            digits = 2 if own[0] > 1 else 3  # per cent, or a share
            spread = f" ± {stdev(own):.{digits}f}" if len(own) > 1 else ""
            assert f"| {mean(own):.{digits}f}{spread} |" in page, f"{backbone} of {path.name}"


def test_backbones_of_the_config_guide_build():
    assert len(BACKBONES) > 8 and len(CONFIGS) >= 4
    for snippet in BACKBONES:
        backbone = Config.fromstring(snippet, ".py").model.backbone
        with nullcontext() if "dcn" in backbone else OnMeta():  # whose operators need numbers
            outputs = MODELS.build(backbone).eval()(torch.zeros(1, 3, 64, 64))
        assert len(outputs) == len(backbone.get("out_indices", (3,))), snippet


def test_the_example_of_a_new_backbone_passes_its_tests(tmp_path, monkeypatch):
    page = (ROOT / "docs/add_a_backbone.md").read_text("utf-8")
    module, config, tests = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "blurnet.py").write_text(module, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        names: dict = {}
        exec(tests, names)
        functions = [names[name] for name in names if name.startswith("test_")]
        assert len(functions) == 4
        for function in functions:
            function()
        cfg = Config.fromstring(config, ".py")  # imports the module, as custom_imports says
        combined = dict(cfg.model.backbone, depth=(2, 2, 2, 2), recursions=1, se_ratio=16)
        outputs = MODELS.build(combined).eval()(torch.zeros(1, 3, 64, 64))
        assert outputs[0].shape == (1, 2048, 2, 2)
    finally:
        sys.modules.pop("blurnet", None)
        mmres_plugin.registry.BACKBONES.pop("BlurResNet", None)
        for registry in (MODELS, mmres_plugin.registry.MODELS):
            registry.module_dict.pop("BlurResNet", None)


def make_own_data(train: dict, val: dict) -> None:
    """Make tiny data where these data sets look for it, from the folder we are in."""
    classes = train.get("metainfo", CocoDataset.METAINFO)["classes"]
    if "ann_file" not in train:
        make_image_folders(train["data_root"], classes)
        return
    root = make_coco(train["data_root"], train=2, val=1, names=classes)
    for split, dataset in (("train2017", train), ("val2017", val)):
        os.rename(root / split, root / dataset["data_prefix"]["img"])
        os.rename(root / f"annotations/instances_{split}.json", root / dataset["ann_file"])


@pytest.mark.slow
@pytest.mark.parametrize("snippet", [pytest.param(snippet, id=page) for page, snippet in CONFIGS])
def test_complete_configs_train(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(snippet)
    cfg = shrink(load_config("own.py"), tmp_path / "work")
    make_own_data(cfg.train_dataloader.dataset, cfg.val_dataloader.dataset)
    # `shrink` has taken the weights, so nothing may be frozen
    cfg.model.backbone.update(frozen_stages=-1, norm_eval=False)
    if "norm_cfg" in cfg.model.backbone:
        cfg.model.backbone.norm_cfg.requires_grad = True
    check(cfg, "train")
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert [name for name in runner.message_hub.log_scalars if name.startswith("val/")]
