"""ONNX files, run by their runtimes at sizes they were not exported with."""

import json
import re

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import ROOT, call, randomise, run
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models.heads import MultiLabelLinearClsHead

import mmres_plugin.models as families
from mmres_plugin.config import build_model, load_config
from mmres_plugin.deploy import verify as verification
from mmres_plugin.deploy.export import Exported, export_onnx
from mmres_plugin.deploy.exported_model import ExportedModel, Session
from mmres_plugin.deploy.preprocess import sizing_steps
from mmres_plugin.deploy.verify import verify
from mmres_plugin.errors import UserError
from mmres_plugin.registry import BACKBONES

DIGITS = ROOT / "configs/digits/sreresnet18_digits.py"
# One stage: the exporter takes its time for each layer.
SMALL = {
    "model.backbone.num_stages": 1,
    "model.backbone.out_indices": (0,),
    "model.head.in_channels": 32,
}
SMALLER = ["--cfg-options", *(f"{key}={value}" for key, value in SMALL.items())]


def backbone(name: str) -> torch.nn.Module:
    """A network that was trained with checkpointing, which is of no use in the file."""
    torch.manual_seed(0)
    two = dict(depth=(2, 2), num_stages=2, out_indices=(0, 1))
    return getattr(families, name)(**two, base_channels=32, with_cp=True).eval()


@pytest.mark.parametrize(
    "name",
    [
        name if name == "IResNet" else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(BACKBONES)
    ],
)
def test_features(name, tmp_path):
    model, path = backbone(name), tmp_path / "model.onnx"
    exported = Exported(model)
    export_onnx(exported, path, (96, 64))
    batches = [exported.example(size, 2) for size in ((96, 64), (75, 131), (64, 97))]
    difference, count = verify(exported, model, Session(path), batches)
    assert difference < 1e-5
    assert count == 6
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version == 18
    dims = graph.graph.input[0].type.tensor_type.shape.dim
    assert [bool(dim.dim_param) for dim in dims] == [True, False, True, True]
    kinds = {node.op_type for node in graph.graph.node}
    assert "BatchNormalization" not in kinds or name.startswith("IRes")


def test_stages_and_channels():
    """Stages in their order; the order of the channels even where no mean is subtracted."""
    model = torch.nn.Module()
    model.backbone = families.SReResNet(18, out_indices=(3, 1, 3))
    model.data_preprocessor = MODELS.build(dict(type="mmdet.DetDataPreprocessor"))
    exported = Exported(model, features=True)
    assert exported.output_names == ["stage2", "stage4"]
    assert [maps.shape[1] for maps in exported(torch.rand(1, 3, 64, 64))] == [128, 512]
    metadata = exported.metadata
    assert (metadata["channels"], metadata["input"]) == ("BGR", "nchw-float")
    assert "mean" not in metadata


def classifier() -> torch.nn.Module:
    """A small digits classifier with random weights, and its config."""
    cfg = Config.fromfile(DIGITS)
    cfg.merge_from_dict(SMALL)
    model = randomise(build_model(cfg))
    model.cfg = cfg
    model.dataset_meta = {"classes": [str(digit) for digit in range(10)]}
    return model


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(256, (*shape, 3), dtype=torch.uint8)


def in_torch(exported: Exported):
    """What runs the exported module itself, in the place of a file: the graph is the same."""

    def call(images):
        with torch.no_grad():
            outputs = exported(images)
        outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
        return dict(zip(exported.output_names, outputs, strict=True))

    return call


@pytest.mark.parametrize(
    ("form", "names"),
    [({}, ["logits"]), ({"scores": True}, ["scores"]), ({"topk": 3}, ["scores", "labels"])],
)
@pytest.mark.parametrize("floats", [False, True])
def test_a_classifier_in_each_form(form, names, floats):
    model = classifier()
    exported = Exported(model, floats=floats, **form)
    assert exported.output_names == names
    assert exported.metadata["task"] == "classification"
    assert exported.metadata["input"] == ("nchw-float" if floats else "images")
    assert json.loads(exported.metadata["classes"]) == [str(digit) for digit in range(10)]
    batches = [pixels(2, 40, 40), pixels(1, 33, 47)]
    difference, count = verify(exported, model, in_torch(exported), batches)
    assert difference < 1e-6
    assert count == 3


def test_scores_of_several_labels_are_refused():
    """They are sigmoids, not shares of one."""
    model = classifier()
    model.head = MultiLabelLinearClsHead(10, 32)
    assert Exported(model).output_names == ["logits"]
    with pytest.raises(UserError, match="a head for several labels gives no such scores"):
        Exported(model, scores=True)


def test_differences_are_found(tmp_path):
    """In a plain float file of one size, for compilers."""
    model, path = classifier(), tmp_path / "plain.onnx"
    exported = Exported(model, floats=True)
    export_onnx(exported, path, (40, 40))
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [1, 3, 40, 40]
    with pytest.raises(UserError, match="takes normalised images of one size"):
        ExportedModel(path)
    assert verify(exported, model, Session(path), [pixels(1, 40, 40)])[0] < 1e-5
    for change in (0.1, float("nan")):
        model.head.fc.bias.data[0] += change
        with pytest.raises(UserError, match=r"differs from the model by .*; allowed is 1e-04"):
            verify(exported, model, Session(path), [pixels(1, 40, 40)])


def test_a_file_that_differs_is_not_left(tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "TOLERANCE", -1)
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UserError, match="differs from the model"):
        image = tmp_path / "image.png"
        call("export", DIGITS, "none", tmp_path / "m.onnx", "--images", image, *SMALLER)
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


@pytest.mark.parametrize("step", ["Normalize", "Pad"])
def test_steps_that_the_file_does_itself_are_refused(step):
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type=step)]))))
    with pytest.raises(UserError, match=f"has the step {step}, .* move it to data_preprocessor"):
        sizing_steps(cfg)


def test_deformable_convolutions_are_named():
    dcn = dict(type="DCNv2", deform_groups=1)
    with DefaultScope.overwrite_default_scope("mmdet"):
        stages = dict(num_stages=2, out_indices=(1,), stage_with_dcn=(False, True))
        model = families.SEResNet((1, 1), dcn=dcn, **stages)
    with pytest.raises(UserError, match=r"the layer layer2\.0\.conv2 is a deformable convolution"):
        Exported(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "make", "options", "said", "metric"),
    [
        (
            *(classifier_config, make_imagenet, [["--topk", 2], ["--fp16"], ["--softmax"]]),
            *("4 images agree within", "accuracy/top1"),
        ),
        (detector_config, make_coco, [[]], "40 detections agree within", "coco/bbox_mAP"),
    ],
    ids=["classifier", "detector"],
)
def test_command_and_evaluation(write, make, options, said, metric, tmp_path):
    """From checkpoint to ONNX file, which then has the model's accuracy."""
    config, path = write(tmp_path / "config.py", make(tmp_path / "data")), tmp_path / "new/m.onnx"
    model = randomise(build_model(load_config(config)))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "trained.pth")
    for words in options:
        assert said in run("mmres", "export", config, tmp_path / "trained.pth", path, *words)
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert metadata["resize"] == "caller"
    assert json.loads(metadata["test_pipeline"])[0]["scale"] in (40, [80, 64])
    assert metric in run("mmres", "test", config, path, "--work-dir", tmp_path / "work")


@pytest.mark.slow
@pytest.mark.parametrize("half", [[], ["--fp16"]])
def test_plain_float_files_run_in_both_runtimes(tmp_path, half):
    """For compilers that take plain networks: one image of one size, normalised."""
    import openvino

    config = classifier_config(tmp_path / "config.py", make_imagenet(tmp_path / "data"))
    path = tmp_path / "m.onnx"
    words = ["--input", "nchw-float", "--size", 32, 48, "--softmax", *half]
    assert "verified at 32×48: 3 images" in run("mmres", "export", config, "none", path, *words)
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 48)).astype(np.float32)
    ours = onnxruntime.InferenceSession(path).run(None, {"images": x})[0]
    theirs = openvino.compile_model(path, "CPU")(x)[0]
    assert ours.sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(ours, theirs, atol=0.02 if half else 1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.pth", "model.onnx"], "there is no checkpoint file"),
        (["none", "model.pt"], "must end in .onnx"),
        (["none", "model.onnx", "--opset", 11], "--opset 11: the exporter writes 18 or more"),
        (["none", "model.onnx", "--topk", 11], "--topk 11: must be from 0 to 10"),
        (["none", "model.onnx", "--size", 0, 9], "--size [0, 9]: must be two numbers above 0"),
        (["none", "model.onnx", "--images", "gone.png"], "give some with --images"),
        (["none", "model.onnx", "--int8", "--calibrate", 0], "--calibrate 0: must be above 0"),
        (["none", "model.onnx", "--int8", "--features"], "--int8 is for whole models"),
        (["none", "model.onnx", "--int8", "--fp16"], "--int8 and --fp16 exclude each other"),
        (["none", "config.py/model.onnx"], "cannot be written"),
        (["none", "folder.onnx"], "folder.onnx is a folder, not a file to write"),
    ],
)
def test_command_names_what_is_wrong(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UserError, match=re.escape(message)):
        call("export", DIGITS, *arguments, *SMALLER)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.py", "folder.onnx"]
