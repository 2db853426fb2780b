"""ONNX and TorchScript files, run by their own runtimes at sizes they were not exported with."""

import sys

import numpy as np
import pytest
import torch
from helpers import ROOT, complete
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

import mmres_plugin.models as families
from mmres_plugin.deploy.export import Exported, export_onnx, export_torchscript, verify
from mmres_plugin.deploy.output import prepare_output
from mmres_plugin.errors import UserError

DEPTH = (2, 2, 2, 2)
SIZES = [(96, 64), (75, 131), (64, 97)]
TOOL = ROOT / "tools/deployment/export_onnx.py"
EXAMPLE = ROOT / "tools/deployment/ort_example.py"


def exported(name: str) -> Exported:
    """Of a network that was trained with checkpointing, which is of no use in the file."""
    torch.manual_seed(0)
    network = getattr(families, name)(depth=DEPTH, out_indices=(0, 1, 2, 3), with_cp=True)
    return Exported(network.eval())


@pytest.mark.parametrize(
    "name",
    [
        name if name == "EDSEResNeXt" else pytest.param(name, marks=pytest.mark.slow)
        for name in families.__all__
    ],
)
def test_onnx(name, tmp_path):
    import onnx

    model, path = exported(name), tmp_path / "model.onnx"
    export_onnx(model, path, (96, 64))
    assert verify(model, path, SIZES) < 1e-5
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version == 18
    dims = graph.graph.input[0].type.tensor_type.shape.dim
    assert [bool(dim.dim_param) for dim in dims] == [True, False, True, True]
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node} or (
        name.startswith("IRes")
    )


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("IResGroup", "EDSEResNeXt") else pytest.param(name, marks=pytest.mark.slow)
        for name in families.__all__
    ],
)
def test_torchscript(name, tmp_path):
    model, path = exported(name), tmp_path / "new folder/model.pt"
    export_torchscript(model, path, (96, 64))
    assert verify(model, path, SIZES) < 1e-5
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]


def test_stages_are_named_in_their_order():
    model = Exported(families.SReResNet(18, out_indices=(3, 1, 3)).eval())
    assert model.output_names == ["stage2", "stage4"]
    assert [map.shape[1] for map in model(torch.rand(1, 3, 64, 64))] == [128, 512]


def test_metadata_without_a_mean():
    """The order of the channels is told even where nothing is subtracted."""
    model = torch.nn.Module()
    model.backbone = families.SReResNet(18)
    model.data_preprocessor = MODELS.build(dict(type="mmdet.DetDataPreprocessor"))
    assert Exported(model, features=True).metadata() == {"channels": "BGR"}


def test_verify_notices_other_weights(tmp_path):
    model, path = exported("SEResNet"), tmp_path / "model.pt"
    export_torchscript(model, path, (96, 64))
    for factor in (1.01, float("nan")):
        with torch.no_grad():
            model.model.conv1.weight.mul_(factor)
        with pytest.raises(RuntimeError, match="differs from the model by"):
            verify(model, path, SIZES)


def test_a_detector_is_exported_by_its_features():
    cfg = Config.fromfile(ROOT / "configs/iresnet/fcos_iresnet50_1x.py")
    cfg.model.backbone.update(depth=DEPTH, init_cfg=None)
    init_default_scope("mmdet")
    detector = MODELS.build(cfg.model).eval()
    with pytest.raises(UserError, match="--features"):
        Exported(detector)
    model = Exported(detector, features=True)
    assert model.output_names == ["stage1", "stage2", "stage3", "stage4"]
    assert model.metadata()["channels"] == "RGB"
    assert len(model(torch.randn(1, 3, 64, 64))) == 4


@pytest.mark.slow
def test_command_and_example(tmp_path):
    """A classifier from checkpoint to ONNX file to the classes of an image, without torch."""
    config = ROOT / "configs/digits/sreresnet18_digits.py"
    cfg = Config.fromfile(config)
    init_default_scope("mmpretrain")
    cfg.model.data_preprocessor = cfg.data_preprocessor
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "trained.pth")
    done = complete(
        TOOL, config, tmp_path / "trained.pth", tmp_path / "model.onnx", "--size", 64, 64
    )
    assert done.returncode == 0, done.stderr
    assert "verified at 64×64 and 101×75" in done.stdout

    pixels = np.random.default_rng(0).integers(0, 255, (73, 73, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    blocked = f'import sys, runpy; sys.modules["torch"] = None; sys.argv = {["", "M", "I"]!r}'
    blocked = blocked.replace("'M'", repr(str(tmp_path / "model.onnx")))
    blocked = blocked.replace("'I'", f"{str(tmp_path / 'image.png')!r}, '--size', '64'")
    done = complete(
        sys.executable, "-c", f'{blocked}; runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")'
    )
    assert done.returncode == 0, done.stderr
    crop = torch.from_numpy(pixels[4:68, 4:68]).permute(2, 0, 1)[None].float()
    normalised = (crop - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        shares = model(normalised).softmax(1)[0]
    first = done.stdout.splitlines()[0]
    assert first == f"class {shares.argmax()}: {shares.max():.4f}"


@pytest.mark.parametrize(
    ("out", "message"), [("file/model.pt", "cannot be written"), ("folder.pt", "is a folder")]
)
def test_output_is_checked_before_the_work(tmp_path, out, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(UserError, match=message):
        prepare_output(tmp_path / out)
    prepare_output(tmp_path / "new/model.pt")
    assert not list((tmp_path / "new").iterdir())


def test_command_names_what_is_wrong(tmp_path):
    config = ROOT / "configs/digits/sreresnet18_digits.py"
    done = complete(TOOL, config, tmp_path / "gone.pth", tmp_path / "model.onnx")
    assert done.returncode == 2
    assert "there is no checkpoint file" in done.stderr
    assert "Traceback" not in done.stderr
