"""The program that runs exported files, on tiny files of the same format and awkward images."""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from helpers import ROOT, run
from mmengine.registry import TRANSFORMS
from PIL import Image

SCRIPT = ROOT / "examples/run_onnx.py"
sys.path.insert(0, str(SCRIPT.parent))
import run_onnx  # noqa: E402

BACKENDS = ["onnxruntime", "openvino"]
# Finds one "grey" in each image, its inner quarters, and scores it with the mean value.
DETECTOR = """<ir_version: 9, opset_import: ["" : 18]>
detect (uint8[1, h, w, 3] images) =>
       (float[1, 2, 4] boxes, float[1, 2] scores, int64[1, 2] labels, int64[1] counts) {
  axes = Constant <value_ints = [1, 2, 3]> ()
  values = Cast <to = 1> (images)
  most = Constant <value_float = 255.0> ()
  shares = Div (values, most)
  share = ReduceMean <keepdims = 0> (shares, axes)
  first = Constant <value = float[1, 2] {1.0, 0.0}> ()
  scores = Mul (share, first)
  shape = Shape (images)
  order = Constant <value_ints = [2, 1, 2, 1]> ()
  sides = Gather (shape, order)
  lengths = Cast <to = 1> (sides)
  inner = Constant <value = float[1, 2, 4] {0.25, 0.25, 0.75, 0.75, 0.0, 0.0, 0.0, 0.0}> ()
  boxes = Mul (lengths, inner)
  labels = Constant <value = int64[1, 2] {1, -1}> ()
  counts = Constant <value = int64[1] {1}> ()
}"""
# Its logits are the mean values of red, green and blue.
CLASSIFIER = """<ir_version: 9, opset_import: ["" : 18]>
classify (uint8[n, h, w, 3] images) => (float[n, 3] logits) {
  axes = Constant <value_ints = [1, 2]> ()
  values = Cast <to = 1> (images)
  logits = ReduceMean <keepdims = 0> (values, axes)
}"""


def write(path: Path, text: str, **metadata: str) -> Path:
    model = onnx.parser.parse_model(text)
    onnx.helper.set_model_props(model, {"input": "images", **metadata})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with both models, and images that are not plain 8-bit RGB."""
    folder = tmp_path_factory.mktemp("runner")
    write(folder / "detector.onnx", DETECTOR, task="detection", classes='["red", "grey"]')
    write(folder / "classifier.onnx", CLASSIFIER, task="classification", classes='["r", "g", "b"]')
    images = folder / "images"
    images.mkdir()
    grey = np.full((40, 80), 102, np.uint8)  # 0.4 of 255
    for mode in ("L", "RGB", "RGBA", "CMYK", "P"):
        suffix = "jpg" if mode == "CMYK" else "png"
        picture = Image.fromarray(grey)
        picture = picture.convert("RGB").convert(mode) if mode != "L" else picture
        if mode == "RGBA":
            picture.putalpha(7)
        picture.save(images / f"{mode}.{suffix}")
    Image.fromarray(grey.astype(np.uint16) * 257).save(images / "16bit.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # show it turned by 90°
    Image.fromarray(grey).save(images / "turned.jpg", exif=turned, quality=100)
    Image.fromarray(grey[:1, :1]).save(images / "1x1.png")
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
def test_awkward_images(files, tmp_path, backend):
    """Eight kinds of image in one folder; each is grey, and each box has the image's sides."""
    pytest.importorskip(backend)
    out = tmp_path / "drawn"
    printed = run(
        SCRIPT, files / "detector.onnx", files / "images", "--out", out, "--backend", backend
    )
    blocks = printed.split(str(files / "images") + os.sep)[1:]
    found = {block.partition(":")[0]: block.splitlines()[1].strip() for block in blocks}
    wide, high = "20.0, 10.0, 60.0, 30.0", "10.0, 20.0, 30.0, 60.0"
    boxes = dict.fromkeys(["L", "RGB", "RGBA", "P", "16bit"], wide) | {"1x1": "0.2, 0.2, 0.8, 0.8"}
    assert found == {
        **{f"{name}.png": f"grey 0.40 at {box}" for name, box in boxes.items()},
        "CMYK.jpg": f"grey 0.40 at {wide}",
        "turned.jpg": f"grey 0.40 at {high}",
    }
    with Image.open(out / "turned.jpg.png") as picture:
        assert picture.size == (40, 80)
        assert picture.getpixel((20, 60)) != (102, 102, 102)  # on the box
        assert picture.getpixel((5, 5)) == (102, 102, 102)


def test_folders(files, tmp_path):
    """An image that cannot be read does not stop the others; no two share a picture."""
    for name, value in (("a.png", 255), ("a.jpg", 204)):
        Image.new("RGB", (8, 8), (value,) * 3).save(tmp_path / name)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    Image.fromarray(np.ones((4, 4), np.int32)).save(tmp_path / "c.tif")
    printed = run(SCRIPT, files / "detector.onnx", tmp_path, "--out", tmp_path / "out", code=2)
    assert printed.count("1 found") == 2
    assert "b.jpg: cannot identify image file" in printed
    assert "c.tif: 32 bits per pixel; only 8 and 16 are supported" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg.png", "a.png.png"]
    printed = run(SCRIPT, files / "detector.onnx", tmp_path, "--out", tmp_path, code=2)
    assert "--out: choose another folder" in printed


@pytest.mark.parametrize(
    "steps",
    [
        [dict(type="Resize", scale=(133, 80), keep_ratio=True)],
        [dict(type="Resize", scale=(133, 80), keep_ratio=False)],
        [dict(type="ResizeEdge", scale=52, edge="short"), dict(type="CenterCrop", crop_size=45)],
    ],
    ids=["ratio", "size", "crop"],
)
@pytest.mark.parametrize("size", [(64, 96), (75, 131), (131, 75), (61, 303), (2, 3)])
def test_images_are_resized_as_in_the_pipeline(steps, size):
    """The same size and crop; values differ by one at most, as OpenCV computes in integers."""
    rng = np.random.default_rng(0)
    image = cv2.blur(rng.integers(0, 255, (*size, 3), dtype=np.uint8), (5, 5))
    resized = np.asarray(run_onnx.resized(Image.fromarray(image), steps))
    results = {"img": image, "img_shape": image.shape[:2]}
    for step in steps:
        scope = "mmdet" if step["type"] == "Resize" else "mmpretrain"
        results = TRANSFORMS.build({**step, "type": f"{scope}.{step['type']}"})(results)
    assert resized.shape == results["img"].shape
    assert np.abs(resized.astype(int) - results["img"]).max() <= 1


def test_boxes_are_those_of_the_image(files, tmp_path):
    """The metadata say how to resize; boxes come back in pixels of the photograph."""
    steps = [dict(type="Resize", scale=[20, 20], keep_ratio=True)]
    path = tmp_path / "small.onnx"
    write(path, DETECTOR, task="detection", test_pipeline=json.dumps(steps))
    printed = run(SCRIPT, path, files / "images/L.png", "--out", tmp_path)
    assert "1 0.40 at 20.0, 10.0, 60.0, 30.0" in printed


def test_classifier_without_torch(files, tmp_path):
    Image.new("RGB", (5, 4), (2, 1, 0)).save(tmp_path / "image.png")
    hidden = ["torch", "mmengine", "mmcv", "mmpretrain", "mmdet", "mmres_plugin", "cv2"]
    words = [str(SCRIPT), str(files / "classifier.onnx"), str(tmp_path / "image.png"), "--top", "2"]
    program = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({hidden})); "
        f"sys.argv = {words}; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    printed = run(sys.executable, "-c", program, cwd=tmp_path)
    assert printed == f"{tmp_path / 'image.png'}: r 0.6652, g 0.2447\n"


@pytest.mark.parametrize(
    ("model", "image", "message"),
    [
        ("gone.onnx", "images", "gone.onnx cannot be run by onnxruntime: "),
        ("text.onnx", "images", "text.onnx cannot be run by onnxruntime: "),
        ("floats.onnx", "images", "does not take images: export it without --features or --input"),
        ("detector.onnx", "gone", "gone: "),
    ],
)
def test_bad_input(files, tmp_path, model, image, message):
    (files / "text.onnx").write_text("no model")
    write(files / "floats.onnx", CLASSIFIER, input="nchw-float")
    printed = run(SCRIPT, files / model, files / image, "--out", tmp_path / "out", code=2)
    assert message in printed
    assert len(printed.splitlines()) == 1
