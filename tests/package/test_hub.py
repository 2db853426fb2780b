"""The plugin's models in MMPretrain's hub."""

import importlib

import numpy as np
import pytest
import torch
from helpers import randomise
from mmpretrain import get_model, inference_model, list_models
from mmpretrain.apis.model import ModelHub
from modelindex.load_model_index import load

import mmres_plugin
from mmres_plugin import hub
from mmres_plugin.weights.files import read_checkpoint, write_checkpoint

CIFAR = ("sreresnet50", "iresnet50", "iresnet164", "edresnet50", "seresnext50-32x4d")
SHIPPED = [
    *sorted(path.stem for path in (hub.ROOT / "configs").glob("*/*_8xb32_in1k.py")),
    *(f"{network}_1xb128_cifar100" for network in CIFAR),
]


def test_every_shipped_classifier_is_listed():
    assert len(SHIPPED) > 40
    assert set(SHIPPED) <= set(list_models())
    assert hub.is_model("iresnet50_8xb32_in1k")
    assert not [name for name in ("fcos_iresnet50_1x", "in1k", "iresnet") if hub.is_model(name)]


def test_registering_twice_changes_nothing():
    before = list_models()
    importlib.reload(mmres_plugin)
    hub.register_models()
    assert list_models() == before
    for name in ("seresnet50_8xb32_in1k", "resnext50-32x4d_8xb32_in1k", "resnet50_8xb32_in1k"):
        assert ModelHub.get(name).weights.startswith("https://")  # MMPretrain's stay theirs


def test_no_model_of_ours_returns_random_weights_for_pretrained():
    """MMPretrain warns, and returns random weights, for a model without an address."""
    models = load(str(hub.ROOT / "model-index.yml")).models
    assert len(models) > 40
    for model in models:
        assert model.weights == f"mmres_plugin://{model.name}"


@pytest.mark.parametrize("name", ["sreresnet18_8xb32_in1k", "edresnet50_1xb128_cifar100"])
def test_without_published_weights_it_says_how_to_get_them(name):
    with pytest.raises(FileNotFoundError) as error:
        get_model(name, pretrained=True)
    message = str(error.value)
    assert f"no published weights of {name}" in message
    assert f"mmres convert FILE checkpoints/{name}.pth --model {name}" in message
    assert f"get_model('{name}', pretrained='checkpoints/{name}.pth')" in message


def test_unknown_name():
    with pytest.raises(FileNotFoundError, match="Did you mean 'iresnet50_8xb32_in1k'"):
        read_checkpoint("mmres_plugin://iresnet5O_8xb32_in1k")


def test_own_weights(tmp_path):
    name, path = "iresnet18_8xb32_in1k", str(tmp_path / "a.pth")
    model = randomise(get_model(name))
    meta = {"dataset_meta": {"classes": [f"class {i}" for i in range(1000)]}}
    write_checkpoint({"state_dict": model.state_dict(), "meta": meta}, path)
    loaded = get_model(name, pretrained=path)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    result = inference_model(loaded, np.zeros((64, 64, 3), np.uint8))
    assert result["pred_class"] == f"class {result['pred_label']}"
