"""Parameters and MACs: as published, as counted on the authors’ code, as in the metafiles."""

import re
import shutil
from pathlib import Path

import model_tables
import pytest
from helpers import ROOT, call, run
from mmengine.config import Config

from mmres_plugin.analysis import cost
from mmres_plugin.errors import UserError

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
# The lightweight models are fitted to these MACs, published with one decimal.
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


QUICK = ("iresnet18", "iresgroup50", "edresnet50-b", "edresnext50-32x4d", "seresnext50-32x4d")


def quick_and_slow(names) -> list:
    """Test parameters: a small network of each kind, and all others for the slow suite."""
    slow = pytest.mark.slow
    return [name if name in QUICK else pytest.param(name, marks=slow) for name in names]


def count(name: str, **kwargs) -> tuple[int, int]:
    path = model_tables.model_configs()[f"{name}_8xb32_in1k"]
    return cost.count(cost.find_config(str(path)), **kwargs)


@pytest.mark.parametrize("name", quick_and_slow([*CLASSIFIERS, *BACKBONES]))
def test_models_cost_what_the_authors_networks_do(name):
    params, macs = {**CLASSIFIERS, **BACKBONES}[name]
    counted = count(name, backbone_only=name in BACKBONES)
    assert f"{counted[0] / 1e6:.3f}" == f"{params:.3f}"
    assert macs is None or f"{counted[1] / 1e9:.3f}" == f"{macs:.3f}"


@pytest.mark.parametrize("name", quick_and_slow(LIGHTWEIGHT))
def test_lightweight_models_cost_what_is_published(name):
    """They are fitted to a cost; the published accuracies are of other networks at that cost."""
    assert count(name)[1] / 1e9 == pytest.approx(LIGHTWEIGHT[name], rel=0.04)
    assert not model_tables.hub_entry(f"{name}_8xb32_in1k").results[0].metrics


def test_networks_of_cifar_are_counted_at_its_size():
    model = model_tables.hub_entry("sreresnet50_1xb128_cifar100")
    recorded = (model.metadata.data["Parameters"], model.metadata.data["FLOPs"])
    assert cost.count(Config.fromfile(model.config), (32, 32)) == recorded


def test_a_layer_that_cannot_be_counted_is_named():
    config = cost.find_config("sreresnet50")
    config.model.backbone.update(dcn=dict(type="DCNv2"), stage_with_dcn=(False, False, False, True))
    with pytest.raises(ValueError, match=r"MACs of .*layer4\.0\.conv2 cannot be counted"):
        cost.count(config)


def test_command(capsys):
    """A classifier as a whole, the backbone of a detector; ours, MMPretrain's, and a file."""
    detector = ROOT / "configs/sreresnet/fcos_sreresnet50_1x.py"
    assert call("cost", "iresnet18", "resnet18", detector, "--size", 64, 64) == 0
    rows = [line.split()[-2:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["11.690", "0.149"], ["11.690", "0.149"], ["23.508", "0.529"]]
    for name, said in (
        ("iresnet5O", "'iresnet5O' is neither a config nor a model of the hub. Did you mean"),
        ("configs/no_such.py", "there is no config configs/no_such.py"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            call("cost", name)


def test_tables_show_what_the_metafiles_say(tmp_path, monkeypatch):
    """A stale number is found and renewed; all else stays, to the letter."""
    counts = {}
    for name, path in model_tables.model_configs().items():
        model = model_tables.hub_entry(name)
        if isinstance(model.config, str) and Path(model.config).resolve() == path:
            counts[name] = (model.metadata.data["Parameters"], model.metadata.data["FLOPs"])
        else:  # MMPretrain's own names
            counts[name] = cost.count(Config.fromfile(path))
    assert model_tables.renew_files(counts, write=False) == []
    for path in model_tables.pages():
        assert model_tables.TABLE.search(path.read_text("utf-8")), f"no table of models in {path}"
    for folder in ("configs", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(model_tables, "ROOT", tmp_path)
    changed = {**counts, "iresnet50_8xb32_in1k": (26_000_000, 5 * 10**9)}
    stale = model_tables.renew_files(changed, write=True)
    assert tmp_path / "configs/iresnet/metafile.yml" in stale
    assert "| 26.000 | 5.000 | 77.31 |" in (tmp_path / "configs/iresnet/README.md").read_text()
    assert set(model_tables.renew_files(counts, write=True)) == set(stale)
    for path in stale:
        assert path.read_bytes() == (ROOT / path.relative_to(tmp_path)).read_bytes()


@pytest.mark.slow
def test_nothing_in_the_repository_is_stale():
    run("tools/dev/model_tables.py", "--check", cwd=ROOT)
