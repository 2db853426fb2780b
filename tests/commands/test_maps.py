"""The pictures of what happens inside a model: what is drawn is what the model computes."""

import re
import struct
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from helpers import call, randomise
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_image_folders

from mmres_plugin.analysis import maps
from mmres_plugin.deploy import load_model
from mmres_plugin.errors import UserError

BACKBONES = {
    "recursion": "type='mmres_plugin.SReResNet', depth=18",
    "seresnet": "type='mmres_plugin.SEResNet', depth=18",
}
TWO_STAGES = """
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py',
          'mmdet::_base_/datasets/coco_detection.py']
default_scope = 'mmdet'
model = dict(
    backbone=dict(depth=18, base_channels=16, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=64)),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=100), rcnn=dict(score_thr=0.0)))
_base_.test_dataloader.dataset.pipeline[1].scale = (80, 64)
"""


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


def model_and_image(folder: Path, kind: str):
    model = randomise(load_model(folder / f"{kind}.py"))
    return model, next((folder / "images/val/cat").iterdir())


@torch.no_grad()
def before_stage(model, images, stage: int):
    """What the stage (from 1) gets."""
    net = model.backbone
    x = net.maxpool(net.relu(net.norm1(net.conv1(images))))
    for number in range(1, stage):
        x = getattr(net, f"layer{number}")(x)
    return x


@torch.no_grad()
def test_maps_of_both_passes(folder):
    model, image = model_and_image(folder, "recursion")
    rows = maps.layer_maps(model, image, ["backbone.layer3.1"], 3)
    assert [label for label, _ in rows] == [f"backbone.layer3.1, pass {n}" for n in (1, 2)]
    picture, images, _ = maps.read_input(model, image)
    first, second = model.backbone.layer3
    once = second(first(before_stage(model, images, 3)))
    twice = second(once)
    channels = once[0].flatten(1).std(1).topk(3).indices.tolist()
    for (_, panels), expected in zip(rows, (once, twice), strict=True):
        titles = ["image", "mean of channels", *(f"channel {i}" for i in channels)]
        assert [title for title, _ in panels] == titles
        np.testing.assert_array_equal(panels[0][1], picture)
        np.testing.assert_allclose(panels[1][1], expected[0].mean(0), rtol=1e-5)
        np.testing.assert_allclose([c for _, c in panels[2:]], expected[0, channels], rtol=1e-5)


@torch.no_grad()
def test_excitations_of_classes(folder):
    model, _ = model_and_image(folder, "seresnet")
    rows = maps.excitation(model, folder / "images/val", 2)
    assert [label for label, _ in rows] == ["cat", "dog"]
    for label, panels in rows:
        assert [title for title, _ in panels] == [f"block {stage}.1" for stage in (1, 2, 3, 4)]
        gates = []
        for path in sorted((folder / "images/val" / label).iterdir())[:2]:
            block = model.backbone.layer4[1]
            x = model.backbone.layer4[0](before_stage(model, maps.read_input(model, path)[1], 4))
            for name in block.layers[: block.layers.index("se_layer")]:
                x = getattr(block, name)(x)
            pooled = x.mean((2, 3), keepdim=True)
            gates.append(block.se_layer.conv2(block.se_layer.conv1(pooled)).flatten())
        np.testing.assert_allclose(panels[3][1], torch.stack(gates).mean(0), rtol=1e-5)


@pytest.mark.parametrize("index", [0, 1])
def test_cam_of_a_classifier(folder, index):
    """With average pooling and one linear layer, Grad-CAM of the last stage is CAM."""
    model, image = model_and_image(folder, "recursion")
    model.dataset_meta = {"classes": ("cat", "dog")}
    model.head.fc.weight.data[index].abs_()  # there is something to see
    name = model.dataset_meta["classes"][index]
    ((label, (_, (title, panel))),) = maps.cam(model, image, "backbone.layer4", [name], 5)
    picture, images, _ = maps.read_input(model, image)
    with torch.no_grad():
        score = model(images, mode="tensor")[0, index]
        features = model.backbone(images)[-1]
        heat = torch.einsum("c,bchw->bhw", model.head.fc.weight[index], features).clamp(min=0)
        heat = torch.nn.functional.interpolate(heat[None], (64, 64), mode="bilinear")[0, 0]
    assert (label, title) == ("backbone.layer4", f"{name}: {score:.2f}")
    colours = matplotlib.colormaps["jet"]((heat / heat.max()).numpy())[..., :3]
    assert heat.max() > 0 and np.abs(panel - (picture / 255 + colours) / 2).max() < 0.02


@pytest.mark.parametrize("stages", [1, 2])
def test_cam_of_a_detector(folder, stages):
    """The score is the highest of the class, and its gradient reaches the backbone."""
    coco = make_coco(folder / "coco")
    path = detector_config(folder / "det.py", coco)
    if stages == 2:
        path.write_text(TWO_STAGES)
    model = randomise(load_model(path))
    image = next((coco / "val2017").iterdir())
    ((_, panels),) = maps.cam(model, image, "backbone.layer3", [], 2)
    picture, images, samples = maps.read_input(model, image)
    assert picture.shape == (64, 80, 3)
    with torch.no_grad():
        if stages == 2:
            found = model.predict(images, samples, rescale=False)[0].pred_instances
            best, highest = found.labels[found.scores.argmax()], found.scores.max()
        else:
            logits = torch.cat([m.flatten(2) for m in model(images, samples, mode="tensor")[0]], 2)
            best, highest = logits[0].amax(1).argmax(), logits.max().sigmoid()
    assert panels[1][0] == f"{best}: {highest:.2f}"
    assert np.ptp(2 * panels[1][1] - picture / 255) > 0.5  # blue and red


@pytest.mark.parametrize(
    ("kind", "config", "image", "options"),
    [
        ("layers", "recursion", "images/val/cat", ["--columns", 8]),
        ("excitation", "seresnet", "images/val", []),
        ("cam", "recursion", "images/val/cat", ["--columns", 1]),
    ],
)
def test_pictures(folder, tmp_path, kind, config, image, options):
    image = next((folder / image).iterdir()) if kind != "excitation" else folder / image
    out = tmp_path / "new" / "maps.png"
    command = [kind, folder / f"{config}.py", "none", image, "--out", out, *options]
    assert call("maps", *command) == 0
    width, height = struct.unpack(">II", out.read_bytes()[16:24])
    assert 400 < width < 2500 and 200 < height < 1000
    assert [path.name for path in out.parent.iterdir()] == ["maps.png"]


@pytest.mark.parametrize(
    ("kind", "config", "image", "options", "message"),
    [
        ("layers", "recursion", "cat", ["--layers", "backbone.layer5"], "Did you mean"),
        ("layers", "recursion", "cat", ["--layers", "head"], "head are no part of the backbone"),
        ("excitation", "recursion", "cat", [], "the model has no SE layers"),
        ("excitation", "seresnet", "empty", [], "holds no images (.jpg"),
        ("cam", "recursion", "cat", ["--layers", "backbone.layre4"], "mean 'backbone.layer4'?"),
        ("cam", "recursion", "cat", ["--classes", "cow"], "there is no 'cow', only 0, 1"),
        ("cam", "recursion", "recursion.py", [], "recursion.py cannot be read"),
    ],
)
def test_what_cannot_be_drawn(folder, kind, config, image, options, message):
    (folder / "empty").mkdir(exist_ok=True)
    cat = next((folder / "images/val/cat").iterdir())
    image = cat if image == "cat" else folder / image
    with pytest.raises(UserError, match=re.escape(message)):
        call("maps", kind, folder / f"{config}.py", "none", image, *options)
