"""Parameters and MACs: as published and as counted on the authors' code, and not stale anywhere."""

import re
import shutil
import sys
from pathlib import Path

import complexity
import model_tables
import pytest
import torch
from helpers import ROOT, run
from mmpretrain import get_model
from torch.utils.flop_counter import FlopCounterMode

from mmres_plugin.hub import all_models

SUFFIX = "_8xb32_in1k"
# Millions of parameters and, where known, 1e9 MACs of classifiers with 1000 classes.
CLASSIFIERS = {
    "iresnet18": (11.690, 1.814),
    "iresnet34": (21.798, 3.664),
    "iresnet50": (25.557, 4.128),
    "iresnet101": (44.549, 7.840),
    "iresnet152": (60.193, 11.552),
    "iresnet200": (64.674, 15.046),
    "iresnet302": (96.586, 22.470),
    "iresnet404": (124.524, 29.895),
    "iresnet1001": (255.598, 73.350),
    "iresgroup50": (24.887, 5.511),
    "iresgroup101": (47.813, 9.987),
    "iresgroup152": (66.994, 14.695),
    "iresgroupfix50": (23.366, 4.384),
    "iresgroupfix101": (43.786, 8.369),
    "iresgroupfix152": (60.607, 12.354),
    "edresnet50": (28.424, 4.211),
    "edresnet101": (49.967, 8.046),
    "edresnet152": (67.713, 11.882),
    "edresnext50-32x4d": (30.733, 4.475),
    "edresnext101-32x4d": (54.947, 8.460),
    "edseresnet50": (30.955, None),
    "edseresnet101": (54.744, None),
    "edseresnet152": (74.342, None),
    "edseresnext50-32x4d": (33.264, None),
    "edseresnext101-32x4d": (59.725, None),
    "edseresnext152-32x4d": (81.525, None),
}
BACKBONES = {
    "sreresnet50": (23.508, None),
    "sreresnet101": (42.500, None),
    "resnext50-32x4d": (22.980, 4.228),
    "resnext101-32x4d": (42.129, 7.968),
    "seresnet50": (26.039, None),
    "seresnet101": (47.278, None),
    "seresnet152": (64.773, None),
    "seresnext50-32x4d": (25.511, 4.231),
    "seresnext101-32x4d": (46.906, 7.973),
    "seresnext152-32x4d": (64.531, 11.714),
}
# The lightweight models are fitted to these costs, published with one decimal.
LIGHTWEIGHT = {
    "edresnet50-a": 4.0,
    "edresnet101-a": 7.8,
    "edresnet152-a": 11.5,
    "edresnext50-32x4d-a": 4.2,
    "edresnext101-32x4d-a": 7.9,
    "edresnet50-b": 2.1,
    "edresnet101-b": 3.9,
    "edresnet152-b": 5.6,
    "edresnext50-32x4d-b": 2.9,
    "edresnext101-32x4d-b": 5.4,
}


def quick_and_slow(names) -> list:
    """Test parameters; those of more than 50 layers are for the slow suite."""
    return [
        name
        if int(re.search(r"\d+", name)[0]) <= 50
        else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


def count(name: str, **kwargs) -> complexity.Complexity:
    path = model_tables.model_configs()[name + SUFFIX]
    return complexity.count(complexity.find_config(str(path)), **kwargs)


def check(counted: complexity.Complexity, params: float, macs: float | None) -> None:
    assert f"{counted.params / 1e6:.3f}" == f"{params:.3f}"
    if macs is not None:
        assert f"{counted.macs / 1e9:.3f}" == f"{macs:.3f}"


@pytest.mark.parametrize("name", quick_and_slow(CLASSIFIERS))
def test_classifiers_cost_what_the_authors_networks_do(name):
    check(count(name), *CLASSIFIERS[name])


@pytest.mark.parametrize("name", quick_and_slow(BACKBONES))
def test_backbones_cost_what_the_authors_networks_do(name):
    check(count(name, backbone_only=True), *BACKBONES[name])


@pytest.mark.parametrize("name", quick_and_slow(LIGHTWEIGHT))
def test_lightweight_models_cost_what_is_published(name):
    assert count(name).macs / 1e9 == pytest.approx(LIGHTWEIGHT[name], rel=0.04)


@pytest.mark.parametrize("name", LIGHTWEIGHT)
def test_lightweight_models_do_not_claim_the_accuracy_of_others(name):
    """They are fitted to a cost; the published accuracies are of other networks at that cost."""
    assert not model_tables.hub_entry(name + SUFFIX).results[0].metrics


def test_third_party_accuracies_stand_apart_from_the_authors():
    metrics = model_tables.hub_entry("iresnet50" + SUFFIX).results[0].metrics
    assert metrics["Top 1 Accuracy"] == 77.31
    assert metrics["Third-Party Top 1 Accuracy"] == 77.168
    for page in ("docs/models.md", "configs/iresnet/README.md"):
        lines = (ROOT / page).read_text("utf-8").splitlines()
        (row,) = [line for line in lines if line.startswith("| [iresnet50]")]
        assert row.endswith("| 77.31 | 77.17 | 93.59 |")
        header = lines[lines.index(row) - 4]
        assert header.endswith("| Top-1 (%) | Top-1, third party (%) | Top-5, third party (%) |")


@pytest.mark.parametrize("path", model_tables.metafiles(), ids=lambda path: path.parent.name)
def test_metafiles_are_ascii(path):
    """The hub drops a metafile that it cannot read, without a message."""
    assert path.read_bytes().isascii()


@pytest.mark.parametrize("name", ["sreresnet18", "edseresnext50-32x4d", "iresgroupfix50"])
def test_pytorch_counts_the_same(name):
    config = complexity.find_config(str(model_tables.model_configs()[name + SUFFIX]))
    model = get_model(config)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 65, 97))
    assert complexity.count(config, (65, 97)).macs * 2 == counter.get_total_flops()


def test_the_backbone_of_a_detector_is_counted():
    path = ROOT / "configs/sreresnet/fcos_sreresnet50_1x.py"
    assert complexity.count(complexity.find_config(str(path))).params == 23_508_032


def test_a_layer_that_cannot_be_counted_is_named():
    config = complexity.find_config(str(model_tables.model_configs()["sreresnet50" + SUFFIX]))
    config.model.backbone.update(dcn=dict(type="DCNv2"), stage_with_dcn=(False, False, False, True))
    with pytest.raises(ValueError, match=r"layer4\.0\.conv2, a ModulatedDeformConv2dPack"):
        complexity.count(config)


def test_every_config_is_in_the_hub_and_lowercase():
    for name in model_tables.model_configs():
        assert name in all_models(), f"{name} has a config, but stands in no metafile"
        assert name == name.lower()
        assert [result.task for result in model_tables.hub_entry(name).results] == [
            "Image Classification"
        ]


@pytest.mark.parametrize("network", ["iresnet164", "sreresnet50", "seresnext50-32x4d"])
def test_networks_of_cifar_are_counted_at_its_size(network):
    model = model_tables.hub_entry(f"{network}_1xb128_cifar100")
    recorded = (model.metadata.data["Parameters"], model.metadata.data["FLOPs"])
    assert complexity.count(complexity.find_config(model.config), (32, 32)) == recorded


def recorded_counts() -> dict:
    """The numbers in the metafiles; those of MMPretrain's own names are counted."""
    counts = {}
    for name, path in model_tables.model_configs().items():
        model = model_tables.hub_entry(name)
        if Path(model.config).resolve() == path:
            counts[name] = (model.metadata.data["Parameters"], model.metadata.data["FLOPs"])
        else:
            counts[name] = complexity.count(complexity.find_config(str(path)))
    return counts


@pytest.fixture(scope="module")
def recorded():
    return recorded_counts()


def test_tables_show_what_the_metafiles_say(recorded):
    assert model_tables.renew_files(recorded, write=False) == []


def test_every_page_has_a_table():
    for path in model_tables.pages():
        assert model_tables.TABLE.search(path.read_text("utf-8")), f"no table of models in {path}"


def test_stale_numbers_are_found_and_renewed(recorded, tmp_path, monkeypatch):
    for folder in ("configs", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(model_tables, "ROOT", tmp_path)
    changed = {**recorded, "iresnet50" + SUFFIX: (26_000_000, 5_000_000_000)}

    stale = model_tables.renew_files(changed, write=True)
    metafile = tmp_path / "configs/iresnet/metafile.yml"
    assert {metafile, tmp_path / "configs/iresnet/README.md"} <= set(stale)
    assert "FLOPs: 5000000000\n      Parameters: 26000000\n" in metafile.read_text()
    assert "| 26.000 | 5.000 | 77.31 |" in (tmp_path / "configs/iresnet/README.md").read_text()
    assert model_tables.renew_files(changed, write=False) == []
    assert set(model_tables.renew_files(recorded, write=True)) == set(stale)
    assert metafile.read_bytes() == (ROOT / "configs/iresnet/metafile.yml").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give models to count"),
        (["no_such_model"], "Failed to find model"),
        (["configs/no_such.py"], "No such file"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["complexity.py", *arguments])
    with pytest.raises(SystemExit) as exit_:
        complexity.main()
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_in_the_repository_is_stale():
    run("mmres", "cost", "--check")
