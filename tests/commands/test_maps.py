"""The pictures of what happens inside a model: what is drawn is what the model computes."""

import argparse
import struct
import sys
from pathlib import Path

import cv2
import feature_maps
import numpy as np
import pytest
import torch
from helpers import randomise
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_image_folders
from mmdet.datasets import CocoDataset
from panels import SLIDE

from mmres_plugin.deploy import load_model
from mmres_plugin.errors import UserError

BACKBONES = {
    "recursion": "type='mmres_plugin.SReResNet', depth=18",
    "encoder-decoder": "type='mmres_plugin.EDResNet', depth=18, encoder_decoder=dict(groups=4)",
    "excitation": "type='mmres_plugin.SEResNet', depth=18",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Class folders, a picture, and a config of each kind."""
    root = tmp_path_factory.mktemp("maps")
    make_image_folders(root / "images", ["cat", "dog"])
    for kind, settings in BACKBONES.items():
        extra = f"model['backbone'] = dict(_delete_=True, {settings}, base_channels=16)\n"
        extra += "model['head'] = dict(in_channels=128, num_classes=2, topk=(1,))\n"
        extra += "for step, key in ((1, 'scale'), (2, 'crop_size')):\n"
        extra += "    _base_.test_dataloader.dataset.pipeline[step][key] = 64\n"
        classifier_config(root / f"{kind}.py", root / "images", extra)
    return root


def model_and_args(folder: Path, kind: str, **given):
    model = randomise(load_model(folder / f"{kind}.py"))
    image = next((folder / "images/val/cat").iterdir())
    defaults = dict(image=image, stage=3, block="2.0", images=20, columns=3)
    defaults |= dict(classes=None, layer="backbone.layer4")
    return model, argparse.Namespace(**{**defaults, **given})


def drawn(rows) -> np.ndarray:
    """The maps of rows as rows×columns×H×W, without the image in front."""
    return np.stack([np.stack([panel.content for panel in panels[1:]]) for _, panels in rows])


@torch.no_grad()
def before_stage(model, image, stage: int):
    """What the stage (from 1) gets."""
    net = model.backbone
    x = net.maxpool(net.relu(net.norm1(net.conv1(image.tensor))))
    for number in range(1, stage):
        x = getattr(net, f"layer{number}")(x)
    return x


@torch.no_grad()
def test_maps_of_both_passes(folder):
    model, args = model_and_args(folder, "recursion")
    rows = feature_maps.recursion(model, args)
    assert [label for label, _ in rows] == ["layer3, pass 1", "layer3, pass 2"]
    image = feature_maps.read_image(model, args.image)
    first, second = model.backbone.layer3
    once = second(first(before_stage(model, image, 3)))
    twice = second(once)
    torch.testing.assert_close(twice, model.backbone.layer3(before_stage(model, image, 3)))
    channels = once[0].flatten(1).std(1).topk(3).indices
    assert [panel.title for panel in rows[0][1][2:]] == [f"channel {i}" for i in channels.tolist()]
    for row, maps in zip(drawn(rows), (once, twice), strict=True):
        np.testing.assert_allclose(row[0], maps[0].mean(0), rtol=1e-5)
        np.testing.assert_allclose(row[1:], maps[0, channels], rtol=1e-5)
    for column, (one, two) in enumerate(zip(*(panels for _, panels in rows), strict=True)):
        assert one.limits == two.limits  # colours of a column mean the same
        if column:
            both = np.stack([one.content, two.content])
            assert one.limits == pytest.approx((both.min(), both.max()))
    picture = cv2.resize(cv2.imread(str(args.image))[..., ::-1], (64, 64))
    assert np.abs(rows[0][1][0].content.astype(int) - picture).mean() < 5


def test_summands_of_a_block(folder):
    """Branch, projection and encoder-decoder add up to what the block returns after its ReLU."""
    model, args = model_and_args(folder, "encoder-decoder")
    branch, projection, path, output = drawn(feature_maps.encoder_decoder(model, args))[:, 1:]
    total = np.maximum(branch + projection + path, 0)
    np.testing.assert_allclose(total, output, rtol=1e-4, atol=1e-4 * output.max())
    image = feature_maps.read_image(model, args.image)
    with torch.no_grad():
        expected = model.backbone.layer2[0].branch(before_stage(model, image, 2))[0]
    channels = expected.flatten(1).std(1).topk(3).indices
    np.testing.assert_allclose(branch, expected[channels], rtol=1e-4, atol=1e-4)


def test_excitations_of_classes(folder):
    model, args = model_and_args(folder, "excitation", image=folder / "images/val", images=2)
    rows = feature_maps.excitation(model, args)
    panels = [panel for _, panels in rows for panel in panels]
    assert [panel.title for panel in panels] == [f"block {stage}.1" for stage in (1, 2, 3, 4)]
    for label in ("cat", "dog"):
        paths = sorted((folder / "images/val" / label).iterdir())[:2]
        gates = []
        for path in paths:
            x = before_stage(model, feature_maps.read_image(model, path), 4)
            with torch.no_grad():
                block = model.backbone.layer4[1]
                x = model.backbone.layer4[0](x)
                for name in block.layers[: block.layers.index("se_layer")]:
                    x = getattr(block, name)(x)
                se = block.se_layer
                gates.append(se.conv2(se.conv1(x.mean((2, 3), keepdim=True))).flatten())
        expected = torch.stack(gates).mean(0)
        np.testing.assert_allclose(panels[3].content[label], expected, rtol=1e-5)


def test_cam_of_a_classifier(folder):
    """With average pooling and one linear layer, Grad-CAM of the last stage is CAM."""
    from pytorch_grad_cam.utils.image import scale_cam_image, show_cam_on_image

    model, args = model_and_args(folder, "recursion", classes=["dog"])
    model.dataset_meta = {"classes": ("cat", "dog")}
    ((label, (picture, panel)),) = feature_maps.cam(model, args)
    image = feature_maps.read_image(model, args.image)
    with torch.no_grad():
        maps = model.backbone(image.tensor)[-1][0]
        score = model(image.tensor, mode="tensor")[0, 1]
        heat = torch.einsum("c,chw->hw", model.head.fc.weight[1], maps).clamp(min=0)
    expected = scale_cam_image(heat[None].numpy(), (64, 64))[0]
    overlay = show_cam_on_image(np.float32(image.picture) / 255, expected, use_rgb=True)
    assert label == "backbone.layer4"
    assert panel.title == f"dog: score {score:.2f}"
    np.testing.assert_array_equal(picture.content, image.picture)
    assert np.abs(panel.content.astype(int) - overlay).max() <= 1


def test_cam_of_a_detector(folder):
    """The score is that of the detections, and its gradient reaches the backbone."""
    coco = make_coco(folder / "coco")
    small = "_base_.test_dataloader.dataset.pipeline[1].scale = (80, 64)\n"
    model = randomise(load_model(detector_config(folder / "detector.py", coco, small)))
    _, args = model_and_args(folder, "recursion", layer="backbone.layer3", columns=2)
    args.image = next((coco / "val2017").iterdir())
    ((_, panels),) = feature_maps.cam(model, args)
    image = feature_maps.read_image(model, args.image)
    assert panels[0].content.shape == (64, 80, 3)
    with torch.no_grad():
        found = model.predict(image.tensor, image.samples, rescale=False)[0].pred_instances
    totals = torch.zeros(80).index_add(0, found.labels, found.scores)
    best = totals.argmax().item()
    name = CocoDataset.METAINFO["classes"][best]
    assert panels[1].title == f"{name}: score {totals[best]:.2f}"
    assert np.ptp(panels[1].content.astype(int) - panels[0].content) > 20


def test_picture_fits_a_slide(folder, tmp_path, monkeypatch, capsys):
    image = next((folder / "images/val/cat").iterdir())
    out = tmp_path / "new" / "maps.png"
    command = ["recursion", folder / "recursion.py", "none", image, "--out", out, "--columns", 8]
    monkeypatch.setattr(sys, "argv", ["feature_maps.py", *map(str, command)])
    feature_maps.main()
    width, height = struct.unpack(">II", out.read_bytes()[16:24])
    assert 600 < width <= SLIDE[0] * 120 and 200 < height <= SLIDE[1] * 120
    assert [path.name for path in out.parent.iterdir()] == ["maps.png"]


@pytest.mark.parametrize(
    ("kind", "of", "given", "message"),
    [
        ("recursion", "recursion", {"stage": 5}, "is 5, must be a stage that runs twice: 1, 2"),
        ("recursion", "excitation", {}, "runs twice: there is none"),
        ("encoder-decoder", "encoder-decoder", {"block": "2"}, "encoder-decoder: 1.0, 1.1, 2.0"),
        ("encoder-decoder", "recursion", {}, "encoder-decoder: there is none"),
        ("excitation", "recursion", {}, "the model has no SE layers"),
        ("cam", "recursion", {"layer": "backbone.layre4"}, "Did you mean 'backbone.layer4'?"),
        ("cam", "recursion", {"classes": ["cow"]}, "has no class 'cow'; it has"),
    ],
)
def test_what_cannot_be_drawn_is_explained(folder, kind, of, given, message):
    model, args = model_and_args(folder, of, **given)
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        feature_maps.KINDS[kind](model, args)


def test_folders_without_images(folder, tmp_path):
    model, args = model_and_args(folder, "excitation", image=tmp_path)
    with pytest.raises(UserError, match="holds no images"):
        feature_maps.excitation(model, args)
    args.image = folder / "excitation.py"
    with pytest.raises(UserError, match=r"the image .*excitation\.py cannot be read"):
        feature_maps.excitation(model, args)
