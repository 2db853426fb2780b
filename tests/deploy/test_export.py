"""ONNX and TorchScript files, run by their own runtimes at sizes they were not exported with."""

import json

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import ROOT, complete, randomise, run
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from mmpretrain.models.heads import MultiLabelLinearClsHead

import mmres_plugin.models as families
from mmres_plugin.deploy.export import Exported, Form, export_onnx, export_torchscript
from mmres_plugin.deploy.output import prepare_output
from mmres_plugin.deploy.preprocess import Preprocess, Sizing, check_steps
from mmres_plugin.deploy.verify import verify, verify_whole
from mmres_plugin.errors import UserError
from mmres_plugin.registry import BACKBONES

DEPTH = (2, 2, 2, 2)
SIZES = [(96, 64), (75, 131), (64, 97)]
TOOL = ROOT / "tools/deployment/export_onnx.py"
TEST = ROOT / "tools/deployment/test_exported.py"
DIGITS = ROOT / "configs/digits/sreresnet18_digits.py"


def exported(name: str) -> Exported:
    """Of a network that was trained with checkpointing, which is of no use in the file."""
    torch.manual_seed(0)
    network = getattr(families, name)(depth=DEPTH, out_indices=(0, 1, 2, 3), with_cp=True)
    return Exported(network.eval())


@pytest.mark.parametrize(
    "name",
    [
        name if name == "IResNet" else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(BACKBONES)
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
        for name in sorted(BACKBONES)
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
    """The file names the order of the channels even where nothing is subtracted."""
    model = torch.nn.Module()
    model.backbone = families.SReResNet(18)
    model.data_preprocessor = MODELS.build(dict(type="mmdet.DetDataPreprocessor"))
    metadata = Exported(model, Form(features=True)).metadata
    assert metadata["channels"] == "BGR"
    assert "mean" not in metadata


def test_verify_notices_other_weights(tmp_path):
    model, path = exported("SEResNet"), tmp_path / "model.pt"
    export_torchscript(model, path, (96, 64))
    for factor in (1.01, float("nan")):
        with torch.no_grad():
            model.model.conv1.weight.mul_(factor)
        with pytest.raises(UserError, match="differs from the model by"):
            verify(model, path, SIZES)


def classifier(cfg: Config | None = None) -> torch.nn.Module:
    """The digits classifier with random weights, and its config, or with another ``cfg``."""
    cfg = cfg or Config.fromfile(DIGITS)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        settings = {**cfg.model, "data_preprocessor": cfg.data_preprocessor}
        model = randomise(MODELS.build(settings))
    model.cfg = cfg
    model.dataset_meta = {"classes": [str(digit) for digit in range(10)]}
    return model


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(256, (*shape, 3), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (Form(), ["logits"]),
        (Form(scores=True), ["scores"]),
        (Form(topk=3), ["scores", "labels"]),
    ],
)
def test_a_classifier_in_each_form(form, names, tmp_path):
    """TorchScript is written sooner than ONNX, and the graph is the same."""
    model = classifier()
    exported = Exported(model, form)
    assert exported.output_names == names
    assert exported.metadata["task"] == "classification"
    assert json.loads(exported.metadata["classes"]) == [str(digit) for digit in range(10)]
    path = tmp_path / "model.pt"
    export_torchscript(exported, path, (40, 40))
    difference, count = verify_whole(exported, model, path, [pixels(2, 40, 40), pixels(1, 33, 47)])
    assert difference < 1e-6
    assert count == 3


def test_scores_of_several_labels_are_refused():
    """They are sigmoids, not shares of one."""
    model = classifier()
    model.head = MultiLabelLinearClsHead(10, 256)
    assert Exported(model).output_names == ["logits"]
    with pytest.raises(UserError, match="a head for several labels gives no such scores"):
        Exported(model, Form(scores=True))


def test_a_file_that_fails_its_check_is_not_left(tmp_path):
    model = classifier()
    exported = Exported(model)
    model.head.fc.bias.data[0] += 0.1

    def check(path):
        verify_whole(exported, model, path, [pixels(1, 40, 40)])

    with pytest.raises(UserError, match=r"differs from the model by .* in a score"):
        export_torchscript(exported, tmp_path / "model.pt", (40, 40), check)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("steps", "transform"),
    [
        (
            [dict(type="mmdet.Resize", scale=(133, 80), keep_ratio=True)],
            lambda: [dict(type="mmdet.Resize", scale=(133, 80), keep_ratio=True)],
        ),
        (
            [
                dict(type="ResizeEdge", scale=52, edge="short"),
                dict(type="CenterCrop", crop_size=45),
            ],
            lambda: [
                dict(type="mmpretrain.ResizeEdge", scale=52, edge="short"),
                dict(type="mmpretrain.CenterCrop", crop_size=45),
            ],
        ),
    ],
    ids=["detector", "classifier"],
)
@pytest.mark.parametrize("size", [(64, 96), (75, 131), (131, 75), (61, 303), (2, 3)])
def test_images_are_resized_as_in_the_pipeline(steps, transform, size):
    """The same size and crop; values differ by one at most, as OpenCV computes in integers."""
    image = cv2.blur(pixels(*size).numpy(), (5, 5))
    resized, factors = Sizing(steps)(torch.from_numpy(image)[None])
    results = dict(img=image, img_shape=image.shape[:2])
    for step in transform():
        results = TRANSFORMS.build(step)(results)
    height, width = results["img"].shape[:2]
    assert resized.shape == (1, height, width, 3)
    assert np.abs(resized[0].numpy().astype(int) - results["img"]).max() <= 1
    assert factors.tolist() == pytest.approx([size[1] / width, size[0] / height] * 2)


@pytest.mark.parametrize("to_rgb", [True, False])
def test_images_are_normalised_as_by_the_model(to_rgb):
    preprocessor = MODELS.build(
        dict(
            type="mmdet.DetDataPreprocessor",
            mean=[103.5, 116.3, 123.7],
            std=[57.4, 57.1, 58.4],
            bgr_to_rgb=to_rgb,
            pad_size_divisor=16,
            pad_value=7,
        )
    )
    images = pixels(1, 30, 50)
    wanted = preprocessor({"inputs": [images[0].permute(2, 0, 1).flip(0)], "data_samples": None})[
        "inputs"
    ]
    assert torch.equal(Preprocess(preprocessor)(images), wanted)


@pytest.mark.parametrize(
    "step",
    [
        dict(type="Pad", size_divisor=32),
        dict(type="ResizeEdge", scale=256, backend="pillow"),
        dict(type="Resize", scale_factor=2.0),
    ],
)
def test_steps_that_differ_are_refused(step):
    with pytest.raises(UserError, match=f"the step .*{step['type']}.* cannot be part of the file"):
        check_steps([step])


@pytest.mark.slow
def test_command_and_evaluation(tmp_path):
    """A classifier from checkpoint to ONNX file, which then has the model's accuracy."""
    config = classifier_config(tmp_path / "config.py", make_imagenet(tmp_path / "data"))
    cfg = Config.fromfile(config)
    model = classifier(cfg)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "trained.pth")
    for options in ([], ["--resize", "--topk", 2], ["--softmax", "--resize"]):
        output = run(TOOL, config, tmp_path / "trained.pth", tmp_path / "new/m.onnx", *options)
        assert "4 images agree, scores within" in output
    session = onnxruntime.InferenceSession(tmp_path / "new/m.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["resize"] == "file"
    assert len(onnx.load(tmp_path / "new/m.onnx").opset_import) == 1  # --int8 refuses two
    assert json.loads(metadata["test_pipeline"])[0]["scale"] == 40
    output = run(
        *(TEST, config, tmp_path / "new/m.onnx", "--checkpoint", tmp_path / "trained.pth"),
        *("--work-dir", tmp_path / "work"),
    )
    assert "accuracy/top1: file" in output


@pytest.mark.slow
def test_command_and_evaluation_of_a_detector(tmp_path):
    config = detector_config(tmp_path / "config.py", make_coco(tmp_path / "data"))
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = randomise(MODELS.build(cfg.model))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "trained.pth")
    path = tmp_path / "model.onnx"
    output = run(TOOL, config, tmp_path / "trained.pth", path)
    assert "40 detections agree, scores within" in output
    output = run(
        *(TEST, config, path, "--checkpoint", tmp_path / "trained.pth"),
        *("--work-dir", tmp_path / "work"),
    )
    assert "coco/bbox_mAP: file" in output


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.pth", "model.onnx"], "there is no checkpoint file"),
        (["none", "model.tflite"], "must end in .onnx or .pt"),
        (["none", "model.onnx", "--opset", 11], "--opset: 11 is not supported"),
        (["none", "model.onnx", "--topk", 11], "topk=11: must be from 0 to 10"),
        (["none", "model.onnx", "--images", "gone.png"], "give some with --images"),
        (["none", "config.py/model.onnx"], "cannot be written"),
    ],
)
def test_command_names_what_is_wrong(arguments, message, tmp_path):
    (tmp_path / "config.py").touch()
    done = complete(TOOL, DIGITS, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["config.py"]
