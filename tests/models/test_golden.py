"""Equality with the authors' own networks, in float64 (see tests/models/golden/README.md).

The files hold outputs and gradient norms of the published classes under deterministic weights.
A file is tested by lying in the folder and having a row in NETWORKS.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill, image  # tests/models/golden/fill.py
from torch import nn

from mmres_plugin.models import EDResNet, EDSEResNeXt, IResGroup, IResNet, SReResNet
from mmres_plugin.weights import convert_state_dict, recognise
from mmres_plugin.weights.fit import OnMeta

GOLDEN = Path(__file__).parent / "golden"

NETWORKS = {
    "sreresnet50": lambda **kw: SReResNet(50, **kw),
    "sreresnet50_caffe_eval": lambda **kw: SReResNet(
        50, style="caffe", norm_eval=True, frozen_stages=1, **kw
    ),
    "iresnet18": lambda **kw: IResNet(18, **kw),
    "iresnet50": lambda **kw: IResNet(50, **kw),
    "iresgroupfix50": lambda **kw: IResGroup(50, fixed_groups=True, **kw),
    "edresnet50": lambda **kw: EDResNet(50, **kw),
    "edseresnext50": lambda **kw: EDSEResNeXt(50, **kw),
}
SLOW = {"sreresnet50_caffe_eval", "iresnet50"}  # whose families have a quick one
TOLERANCE = 1e-9


class Classifier(nn.Module):
    """A backbone with MMPretrain's names for the parts of a classifier."""

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Module()
        if num_classes:
            self.head.fc = nn.Linear(backbone.feat_dim, num_classes)


def load(name: str, **kwargs):
    """The golden file and our network with the authors' weights, converted by our converter."""
    golden = np.load(GOLDEN / f"{name}.npz")
    theirs = {
        key: torch.from_numpy(np.asarray(fill(key, eval_shape(shape))))
        for key, shape in zip(golden["keys"], golden["shapes"], strict=True)
    }
    with OnMeta():
        backbone = NETWORKS[name](out_indices=(0, 1, 2, 3), **kwargs)
        model = Classifier(backbone, 1000 if "logits" in golden else 0)
    model.load_state_dict(convert_state_dict(theirs), strict=True, assign=True)
    x = torch.from_numpy(image(int(golden["input_seed"]), tuple(golden["input_shape"])))
    return golden, model, x


def eval_shape(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.strip("[]").split(",") if n.strip())


def assert_close(ours, theirs):
    ours = np.asarray(ours, dtype=np.float64)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=TOLERANCE)


def test_every_golden_file_is_tested():
    assert {path.stem for path in GOLDEN.glob("*.npz")} == set(NETWORKS)


def quick(name: str):
    """A network that runs in every suite; ``SLOW`` ones take their time."""
    return pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])


@pytest.mark.parametrize("name", map(quick, NETWORKS))
@pytest.mark.parametrize(
    "with_cp", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "checkpointed"]
)
def test_outputs_and_a_training_step(name, with_cp):
    golden, model, x = load(name, with_cp=with_cp)
    assert sum(p.numel() for p in model.parameters()) == golden["params"]
    model.eval()
    with torch.no_grad():
        for i, feature in enumerate(model.backbone(x), 1):
            assert tuple(feature.shape) == tuple(golden[f"stage{i}_shape"])
            flat = feature.flatten()
            picked = flat[np.linspace(0, flat.numel() - 1, 256).astype(np.int64)]
            assert_close(picked, golden[f"stage{i}_sample"])
        if "logits" in golden:
            assert_close(model.head.fc(feature.mean((2, 3))), golden["logits"])

    model.train()
    features = model.backbone(x)
    if "logits" in golden:
        logits = model.head.fc(features[-1].mean((2, 3)))
        assert_close(logits.detach(), golden["train_logits"])
        loss = nn.functional.cross_entropy(logits, torch.arange(len(x)) * 100 + 3)
    else:
        loss = sum(f.pow(2).mean() for f in features)
    assert_close(loss.detach(), golden["train_loss"])
    loss.backward()

    theirs = dict(zip(golden["grad_keys"], golden["grad_norm"], strict=True))
    renamed = convert_state_dict(
        {key: torch.tensor(norm) for key, norm in theirs.items()}, source=recognise(golden["keys"])
    )
    ours = {n: p.grad.norm().item() for n, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == renamed.keys()
    for key, norm in renamed.items():
        assert ours[key] == pytest.approx(norm.item(), rel=TOLERANCE), key
