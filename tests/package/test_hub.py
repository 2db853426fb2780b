"""The plugin's models in MMPretrain's hub."""

import numpy as np
import pytest
import torch
from helpers import randomise
from mmpretrain import get_model, inference_model, list_models
from mmpretrain.apis.model import ModelHub

from mmres_plugin import hub
from mmres_plugin.weights.files import write_checkpoint

CIFAR = ("sreresnet50", "iresnet50", "iresnet164", "edresnet50", "seresnext50-32x4d")
SHIPPED = [
    *sorted(path.stem for path in (hub.ROOT / "configs").glob("*/*_8xb32_in1k.py")),
    *(f"{network}_1xb128_cifar100" for network in CIFAR),
]


def test_every_shipped_classifier_is_listed():
    assert len(SHIPPED) > 40
    assert set(SHIPPED) <= set(list_models())


def test_names_of_mmpretrain_stay_theirs():
    for name in ("seresnet50_8xb32_in1k", "resnext50-32x4d_8xb32_in1k", "resnet50_8xb32_in1k"):
        assert ModelHub.get(name).weights.startswith("https://")


def test_only_classifiers_are_models():
    assert hub.is_model("iresnet50_8xb32_in1k")
    assert not [name for name in ("fcos_iresnet50_1x", "in1k", "iresnet") if hub.is_model(name)]


def test_registering_twice_changes_nothing():
    before = dict(hub.all_models())
    hub.register_models()
    assert hub.all_models() == before


@pytest.mark.parametrize("name", ["sreresnet18_8xb32_in1k", "iresnet18_8xb32_in1k"])
def test_without_published_weights_it_says_how_to_get_them(name):
    with pytest.raises(FileNotFoundError) as error:
        get_model(name, pretrained=True)
    message = str(error.value)
    assert f"no published weights of {name}" in message
    assert f"convert_checkpoint.py FILE checkpoints/{name}.pth --model {name}" in message
    assert f"get_model('{name}', pretrained='checkpoints/{name}.pth')" in message


def test_no_model_of_ours_returns_random_weights_for_pretrained():
    """MMPretrain warns, and returns random weights, for a model without an address."""
    assert not [name for name in SHIPPED if hub.all_models()[name].weights is None]


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


def test_get_model_without_weights_and_with_arguments():
    model = get_model("edresnet50_8xb32_in1k", backbone=dict(out_indices=(0, 3)))
    features = model.extract_feat(torch.rand(1, 3, 64, 64), stage="backbone")
    assert [f.shape[1] for f in features] == [256, 2048]


def test_a_failed_start_is_made_up_for(monkeypatch):
    """The hub is not done before its work is."""
    monkeypatch.setattr(ModelHub, "_models_dict", {})
    monkeypatch.setattr(ModelHub, "_register_mmpretrain_models", lambda: None)
    hub.register_models()
    with monkeypatch.context() as context:
        context.setattr(hub, "load", lambda path: pytest.fail("no index today"))
        with pytest.raises(pytest.fail.Exception, match="no index today"):
            hub.all_models()
    assert "iresnet50_8xb32_in1k" in hub.all_models()
