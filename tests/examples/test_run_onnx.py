"""The programs that run exported files, on tiny files of the same format and awkward images."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import ROOT, run
from PIL import Image

SCRIPT = ROOT / "examples/run_onnx.py"
CPP = ROOT / "examples/cpp/run_onnx.cpp"
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
    onnx.helper.set_model_props(model, metadata)
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
    with Image.open(out / "turned.png") as picture:
        assert picture.size == (40, 80)
        assert picture.getpixel((20, 60)) != (102, 102, 102)  # on the box
        assert picture.getpixel((5, 5)) == (102, 102, 102)


def test_frames_come_in_their_order(files, tmp_path):
    """One that cannot be read does not stop the others, and shows in the exit code."""
    for number, value in ((10, 255), (9, 204), (1, 153)):
        Image.new("RGB", (8, 8), (value,) * 3).save(tmp_path / f"frame{number}.png")
    (tmp_path / "frame11.jpg").write_bytes(b"no image")
    Image.fromarray(np.ones((4, 4), np.int32)).save(tmp_path / "frame12.tif")
    printed = run(SCRIPT, files / "detector.onnx", tmp_path, "--out", tmp_path / "out", code=2)
    lines = [line.strip().partition(" at")[0] for line in printed.splitlines()]
    assert [line for line in lines if line.startswith("grey")] == [
        "grey 0.60",
        "grey 0.80",
        "grey 1.00",
    ]
    assert "3 images" in printed
    assert "frame11.jpg cannot be read as an image" in printed
    assert "frame12.tif has 32 bits per pixel; only 8 and 16 are supported" in printed
    assert "Traceback" not in printed


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
        ("gone.onnx", "images", "there is no model file"),
        ("text.onnx", "images", "is not a model that onnxruntime can run"),
        ("floats.onnx", "images", "does not take plain images: export it with export_onnx.py"),
        ("features.onnx", "images", "gives features alone: export it without --features"),
        ("detector.onnx", "gone", "there is no image or folder"),
        ("detector.onnx", "empty", "has no images"),
    ],
)
def test_bad_input(files, model, image, message):
    (files / "empty").mkdir(exist_ok=True)
    (files / "text.onnx").write_text("no model")
    write(files / "floats.onnx", CLASSIFIER.replace("images", "x"))
    write(files / "features.onnx", CLASSIFIER.replace("logits", "stage4"), task="features")
    printed = run(SCRIPT, files / model, files / image, "--out", files / "out", code=2)
    assert message in printed
    assert len(printed.splitlines()) == 1


def headers() -> Path | None:
    """The folder of ONNX Runtime's C++ headers: Debian's package, or what ORT_INCLUDE names."""
    roots = [os.environ.get("ORT_INCLUDE"), "/usr/include/onnxruntime", "/usr/local/include"]
    found = [
        file for root in filter(None, roots) for file in Path(root).rglob("onnxruntime_cxx_api.h")
    ]
    return found[0].parent if found else None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.skipif(headers() is None, reason="ONNX Runtime's C++ headers are not installed")
def test_cpp(files, tmp_path):
    """Compiled against the library of the Python package."""
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)  # the name that it calls itself
    program = tmp_path / "run_onnx"
    flags = ["-std=c++17", "-Wall", f"-I{headers()}", library, f"-Wl,-rpath,{tmp_path}"]
    run("g++", CPP, *flags, "-o", program)
    with Image.open(files / "images/turned.jpg") as image:
        image.convert("RGB").save(tmp_path / "image.ppm")
    printed = run(program, files / "detector.onnx", tmp_path / "image.ppm")
    assert printed == "class 1 0.4000 at 20.0, 10.0, 60.0, 30.0\n"
    Image.new("RGB", (5, 4), (0, 1, 2)).save(tmp_path / "image.ppm")
    assert run(program, files / "classifier.onnx", tmp_path / "image.ppm") == "class 2 0.6652\n"
    (tmp_path / "image.ppm").write_bytes(b"P6 5 4 255\nshort")
    for image, message in (("image.ppm", "ends before"), ("gone.ppm", "there is no image")):
        printed = run(program, files / "detector.onnx", tmp_path / image, code=2)
        assert message in printed
