"""torch.compile: whole graphs, one compilation for all batch sizes, and training by the runner.

The quick tests compile with ``aot_eager``, which captures graphs and gradients as Inductor does
but generates no code; what Inductor makes of them is tested among the slow ones.
"""

from pathlib import Path

import pytest
import torch
from helpers import ROOT
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from torch._inductor import config as inductor_config

from mmres_plugin.deploy import fold_norms
from mmres_plugin.registry import BACKBONES, MODELS

QUICK = "SReResNet"
FAMILIES = [
    name if name == QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in sorted(BACKBONES)
]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()


def backbone(name: str, **kwargs) -> torch.nn.Module:
    torch.manual_seed(0)
    one = dict(depth=(2,), num_stages=1, out_indices=(0,))  # Dynamo takes time per layer
    return MODELS.get(name)(**one, **kwargs)


def step(model, x):
    """Features, and gradients of all parameters."""
    model.zero_grad()
    outputs = model(x)
    sum(output.square().mean() for output in outputs).backward()
    return [*outputs, *(p.grad.clone() for p in model.parameters())]


def assert_close(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_whole_graph_and_no_recompilation(name):
    model = backbone(name).eval()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    with torch.no_grad():
        for shape in [(2, 3, 32, 43), (3, 3, 32, 43), (7, 3, 32, 43)]:
            x = torch.randn(shape)
            assert_close(compiled(x), model(x), 1e-5)
            assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("name", "with_cp"),
    [
        ("SReResNet", False),
        pytest.param("SReResNet", True, marks=pytest.mark.slow),
        pytest.param("IResNet", False, marks=pytest.mark.slow),
        pytest.param("EDSEResNeXt", True, marks=pytest.mark.slow),
    ],
)
def test_training_step(name, with_cp):
    model = backbone(name, with_cp=with_cp).double().train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected, statistics = step(model, x), dict(model.named_buffers())
    statistics = {key: value.clone() for key, value in statistics.items()}
    model.load_state_dict(state)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(step(compiled, x), expected, 1e-9)
    for key, value in model.named_buffers():
        torch.testing.assert_close(value, statistics[key], msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folded"),
    [*((name, True) for name in sorted(BACKBONES)), (QUICK, False)],
)
def test_inductor(name, folded):
    model = backbone(name).eval()
    model = fold_norms(model) if folded else model
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(2, 3, 64, 96).to(memory_format=torch.channels_last)
    with torch.no_grad():
        assert_close(compiled(x), model(x), 1e-4)


def runner_of(path: Path, detector: bool, extra: str) -> Runner:
    """A runner of one epoch for a small detector or classifier, with these lines in its config."""
    write, make = (detector_config, make_coco) if detector else (classifier_config, make_imagenet)
    cfg = Config.fromfile(write(path / "config.py", make(path / "data", 2, 2), extra))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.persistent_workers = False
    cfg.work_dir = str(path)
    cfg.train_cfg.max_epochs = 1
    return Runner.from_cfg(cfg)


@pytest.mark.slow
@pytest.mark.parametrize("detector", [False, True])
def test_compile_switch_of_the_runner(detector, tmp_path):
    """``compile`` in a config trains a classifier and a detector."""
    # Inductor would take minutes to make code.
    runner = runner_of(tmp_path, detector, "compile = dict(backend='aot_eager')")
    before = runner.model.backbone.layer1[0].conv1.weight.clone()
    runner.train()
    assert hasattr(runner.model.train_step, "_torchdynamo_orig_callable")
    assert not torch.equal(before, runner.model.backbone.layer1[0].conv1.weight)
    assert (tmp_path / "epoch_1.pth").exists()


def test_channels_last_switch_of_the_runner(tmp_path):
    runner = runner_of(tmp_path, False, "custom_hooks = [dict(type='ChannelsLastHook')]")
    formats = []
    runner.model.backbone.layer2.register_forward_hook(
        lambda module, inputs, output: formats.append(
            output.is_contiguous(memory_format=torch.channels_last)
        )
    )
    runner.train()
    assert formats and all(formats)


@pytest.mark.slow
def test_the_documented_way_packs_the_weights():
    """What stands in the documentation, word for word."""
    text = (ROOT / "docs/deployment.md").read_text()
    code = text.partition("## Compile\n\n```python\n")[2].partition("```")[0]
    counters.clear()
    known = dict(torch=torch, fold_norms=fold_norms, images=torch.rand(1, 3, 64, 64))
    with inductor_config.patch(freezing=False):  # restores what the snippet sets
        exec(code, {**known, "model": backbone("EDSEResNeXt")})
    layers = fold_norms(backbone("EDSEResNeXt")).modules()
    convolutions = sum(isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)) for m in layers)
    assert counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"] == convolutions
