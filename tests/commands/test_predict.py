"""Predicting: the same numbers as upstream's inferencers give, for every kind of input."""

import json
import re
import shutil
import struct
import sys
import zlib
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from helpers import ROOT, call, run
from helpers.data import draw
from helpers.weights import write_trained
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer
from mmpretrain.models import ImageClassifier
from PIL import Image
from torch import nn

from mmres_plugin.errors import UnreadableImage, UserError
from mmres_plugin.predict import Predictor, predictor
from mmres_plugin.predict.files import use_font_for, write_drawn

NAMES = ("cat", "dog", "hare")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Configs and checkpoints of a detector and a classifier, photos, and a video."""
    home = tmp_path_factory.mktemp("home")
    write_trained(home, NAMES)
    rng = np.random.default_rng(0)
    for name in ("photos/a.jpg", "photos/more/a.png", "photos/more/b.ppm"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(home / name), draw((60, 90), rng)[0])
    (home / "photos/notes.txt").touch()
    video = cv2.VideoWriter(str(home / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (90, 60))
    for _ in range(7):
        video.write(draw((60, 90), rng)[0])
    video.release()
    return home


@pytest.fixture
def here(home, tmp_path, monkeypatch) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "predictions.json").read_text())["results"]


def test_detector_on_a_folder(home, here, capsys):
    """Boxes and scores are those of MMDetection's own inferencer, files keep their places."""
    options = ["--score-threshold", "0", "--batch-size", "2", "--device", "cpu"]
    assert call("predict", home / "photos", home / "det.py", home / "det.pth", *options) == 0
    out = here / "predictions"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        *("a.jpg", "more/a.png", "more/b.ppm.png", "predictions.json"),
    ]
    found = {Path(one["file"]).relative_to(home / "photos"): one for one in results(out)}
    inferencer = DetInferencer(str(home / "det.py"), str(home / "det.pth"), "cpu")
    for name, one in found.items():
        expected = inferencer(str(home / "photos" / name))["predictions"][0]
        boxes = [each["box"] for each in one["predictions"]]
        assert len(boxes) == len(expected["bboxes"]) > 0
        np.testing.assert_allclose(boxes, expected["bboxes"], rtol=1e-4, atol=1e-3)
        assert [each["class"] for each in one["predictions"]] == [
            NAMES[label] for label in expected["labels"]
        ]
        assert (one["height"], one["width"]) == (60, 90)
    drawn = cv2.imread(str(out / "a.jpg"))
    assert drawn.shape == (60, 90, 3)
    assert np.abs(drawn.astype(int) - cv2.imread(str(home / "photos/a.jpg"))).max() > 50
    said = capsys.readouterr().out
    assert "3 pictures: " in said
    assert "passed over, as neither images nor videos: 1 × .txt" in said


def test_classifier_on_a_video(home, here):
    """Scores are those of MMPretrain's own inferencer, for each frame; the video is drawn."""
    source = home / "clip.avi"
    assert call("predict", source, home / "cls.py", home / "cls.pth", "--batch-size", 3) == 0
    found = results(here / "predictions")
    assert [one["frame"] for one in found] == list(range(7))
    clip = cv2.VideoCapture(str(source))
    inferencer = ImageClassificationInferencer(str(home / "cls.py"), str(home / "cls.pth"))
    for one in found:
        expected = inferencer(clip.read()[1])[0]
        best = one["predictions"][0]
        assert best["class"] == expected["pred_class"] in NAMES
        assert best["score"] == pytest.approx(expected["pred_score"], abs=1e-5)
        assert len(one["predictions"]) == 3
        assert sum(each["score"] for each in one["predictions"]) == pytest.approx(1, abs=1e-4)
    drawn = cv2.VideoCapture(str(here / "predictions/clip.avi.mp4"))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    assert drawn.get(cv2.CAP_PROP_FPS) == 5


def test_videos_without_a_count_and_moving_gifs(home, here, capsys):
    """A GIF has all its frames; others end where their frames end, whatever a header announces."""
    frames = [Image.new("L", (90, 60), value) for value in (0, 255)]
    frames[0].save(here / "two.gif", save_all=True, append_images=frames[1:], duration=100)
    content = (home / "clip.avi").read_bytes()
    (here / "cut.avi").write_bytes(content[: len(content) * 2 // 3])
    endless = bytearray(content)
    for place in (content.index(b"avih") + 24, content.index(b"strh") + 40):
        struct.pack_into("<I", endless, place, 2**31 - 9)
    (here / "endless.avi").write_bytes(endless)
    for name in ("two.gif", "cut.avi", "endless.avi"):
        options = ["--no-pictures", "--out-dir", name + "_out"]
        assert call("predict", name, home / "cls.py", home / "cls.pth", *options) == 0
    assert [one["frame"] for one in results(here / "two.gif_out")] == [0, 1]
    assert 0 < len(results(here / "cut.avi_out")) < 7
    said = capsys.readouterr().out
    assert "not to the end: cut.avi: " in said
    assert "7 of the 2147483639 frames that its header announces are there" in said


def test_names_and_playlists(home, here):
    """OpenCV crashes on a video whose name is not UTF-8; a playlist may lead anywhere."""
    (here / "mixed").mkdir()
    for name in ("a\udcff.avi", "b.mp4", "c\udcff.jpg"):
        source = "photos/a.jpg" if name.endswith("jpg") else "clip.avi"
        (here / "mixed" / name).symlink_to(home / source)
    (here / "mixed/list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nb.mp4\n")
    said = run("mmres", "predict", "mixed", home / "cls.py", home / "cls.pth", cwd=here)
    assert "mixed/a\\udcff.avi: OpenCV opens no video whose path is not UTF-8" in said
    assert "mixed/list.mp4: it is a playlist, not a video" in said
    found = {one["file"] for one in results(here / "predictions")}
    assert found == {"mixed/b.mp4", "mixed/c\udcff.jpg"}


def test_patterns_and_earlier_results(home, here):
    """Files within --out-dir do not count, so a second run finds the same."""
    shutil.copytree(home / "photos", here / "photos")
    model = [home / "cls.py", home / "cls.pth", "--out-dir", "photos/out", "--top", 1]
    for _ in range(2):
        assert call("predict", "photos", *model) == 0
    assert len(results(here / "photos/out")) == 3
    words = ["photos/**/*.p*", *model, "--no-pictures", "--score-threshold", "0.2"]
    shutil.rmtree(here / "photos/out")
    assert call("predict", *words) == 0
    assert [Path(one["file"]).name for one in results(here / "photos/out")] == ["a.png", "b.ppm"]
    assert all(len(one["predictions"]) == 1 for one in results(here / "photos/out"))
    assert [path.name for path in (here / "photos/out").iterdir()] == ["predictions.json"]


def test_images_that_fail_are_named_and_the_others_kept(home, here, capsys):
    """Damaged, empty, huge by its header, and too thin for the pipeline."""
    (here / "mixed").mkdir()
    (here / "mixed/good.jpg").write_bytes((home / "photos/a.jpg").read_bytes())
    (here / "mixed/empty.jpg").touch()
    (here / "mixed/text.png").write_text("no picture")
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 25000, 25000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
    ):
        png += struct.pack(">I", len(data)) + kind + data
        png += struct.pack(">I", zlib.crc32(kind + data))
    (here / "mixed/huge.png").write_bytes(png)
    cv2.imwrite(str(here / "mixed/thin.png"), np.zeros((2, 3000, 3), np.uint8))
    words = ["mixed", home / "det.py", home / "det.pth", "--batch-size", 3]
    assert call("predict", *words) == 0
    said = capsys.readouterr().out
    content = json.loads((here / "predictions/predictions.json").read_text())
    failed = [Path(name).name for name in content["unreadable"]]
    assert sorted(failed) == ["empty.jpg", "huge.png", "text.png", "thin.png"]
    assert all(f"mixed/{name}: " in said for name in failed)
    assert "mixed/huge.png: it announces 25000 × 25000 pixels" in said
    assert [one["file"] for one in content["results"]] == ["mixed/good.jpg"]
    assert content["classes"] == list(NAMES)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("phots", "there is no file or folder phots. Did you mean 'photos'?"),
        ("empty", "empty: none of 0 files is an image or video (.jpg"),
        ("photos/*.xyz", "photos/*.xyz: none of 0 files is an image or video"),
        ("broken.mp4", "nothing can be predicted. broken.mp4: no frame can be read"),
        ("broken.jpg", "nothing can be predicted. broken.jpg: "),
        ("photos dett.py", "there is no config dett.py"),
        ("photos det.py", "det.py needs a checkpoint: name one after the config, work_dirs"),
        ("photos iresnet51_8xb32_in1k", "iresnet50_8xb32_in1k.py"),
        ("photos iresnet50_8xb32_in1k", "mmres convert FILE checkpoints/iresnet50"),
        ("photos det.py gone.pth", "there is no checkpoint file"),
        ("photos det.py cls.pth", "cls.pth does not fit the model"),
        ("photos det.py broken.jpg", "broken.jpg is not a checkpoint, or is damaged"),
        *(
            (f"photos det.py det.pth --device {kind}", f"--device {kind}: cannot be used here")
            for kind in ("cuda:9", "mps", "xpu", "meta", "gpu")
        ),
        ("photos det.py det.pth --out-dir photos", "would replace those in photos"),
        ("photos det.py det.pth --out-dir det.py", "predictions.json cannot be written"),
        ("photos det.py det.pth --batch-size 0", "--batch-size must be 1 or more"),
        ("photos det.py det.pth --score-threshold nan", "is nan, must be a number"),
    ],
)
def test_wrong_commands(home, tmp_path, monkeypatch, words, answer):
    """One sentence, nothing written."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "det.py", "det.pth", "cls.pth"):
        (tmp_path / name).symlink_to(home / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling.jpg").symlink_to("nothing")
    (tmp_path / "work_dirs/det").mkdir(parents=True)
    (tmp_path / "work_dirs/det/epoch_1.pth").touch()
    for name in ("broken.mp4", "broken.jpg"):
        (tmp_path / name).write_bytes(b"\x00nothing" * 20)
    before = sorted(tmp_path.rglob("*"))
    arguments = words.split() if " " in words else [words, "det.py", "det.pth"]
    with pytest.raises(UserError, match=re.escape(answer)):
        call("predict", *arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_drawn_videos_are_counted(home, tmp_path, monkeypatch):
    """Frames of another size are scaled; a file that lost some is named and not kept."""
    content = bytearray((home / "clip.avi").read_bytes())
    struct.pack_into("<II", content, content.index(b"strh") + 28, 1, 4_000_000_000)  # a clock
    (tmp_path / "clip.avi").write_bytes(content)
    frames = [np.full((60, 90, 3), 100, np.uint8), np.full((30, 40, 3), 100, np.uint8)]
    write_drawn(tmp_path / "clip.avi", tmp_path / "good.mp4", iter(frames))
    assert cv2.VideoCapture(str(tmp_path / "good.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2
    monkeypatch.setattr(cv2.VideoWriter, "write", lambda *_: None)  # as if the disk were full
    with pytest.raises(UserError, match=r"bad\.mp4: 0 of 2 frames .* Is the disk full\?"):
        write_drawn(Path("clip.avi"), tmp_path / "bad.mp4", iter(frames))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.avi", "good.mp4"]


def test_in_python(home, here):
    model = Predictor(home / "det.py", home / "det.pth", score_threshold=0.0)
    image = cv2.imread(str(home / "photos/a.jpg"))
    by_path, by_array = model([home / "photos/a.jpg", image])
    assert by_path == by_array
    assert set(by_path[0]) == {"label", "class", "score", "box"}
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        model([image, "gone.jpg"])
    (here / "text.png").write_text("no picture")
    with pytest.raises(UnreadableImage):
        model([image, here / "text.png"])


def test_the_loader_is_that_of_the_pipeline(home, here, capsys):
    """A model of grey images gets grey ones, and grey frames of a video, and draws them."""
    (here / "grey.py").write_text(
        f"_base_ = {str(home / 'cls.py')!r}\n"
        "model = dict(backbone=dict(in_channels=1))\n"
        "data_preprocessor = dict(mean=[128.], std=[64.], to_rgb=False)\n"
        "_base_.test_dataloader.dataset.pipeline[0].color_type = 'grayscale'\n"
    )
    weights = torch.load(home / "cls.pth")
    weights["state_dict"]["backbone.conv1.weight"] = torch.rand(8, 1, 7, 7)
    torch.save(weights, here / "grey.pth")
    grey = cv2.VideoCapture(str(home / "clip.avi")).read()[1]
    cv2.imwrite("frame.png", cv2.cvtColor(grey, cv2.COLOR_BGR2GRAY))
    found = []
    for source in ("frame.png", home / "clip.avi"):
        assert call("predict", source, "grey.py", "grey.pth") == 0
        found.append(results(here / "predictions")[0]["predictions"])
    assert len(found[0]) == 3 and found[0] == found[1]
    assert (here / "predictions/frame.png").is_file()
    text = (here / "grey.py").read_text().replace("in_channels=1", "")
    (here / "grey.py").write_text(text.replace("'grayscale'", "'unchanged'"))
    assert call("predict", home / "clip.avi", "grey.py", home / "cls.pth") == 0
    assert "frames of videos are read in colours of 8 bits" in capsys.readouterr().out


def test_other_tasks_name_their_inferencer():
    Segmentor = type("EncoderDecoder", (nn.Module,), {"__module__": "mmseg.models.segmentors"})
    with pytest.raises(UserError, match=r"gives neither .* MMSegInferencer of mmseg"):
        predictor.task_of(Segmentor())
    Head = type("RotatedHead", (nn.Module,), {"__module__": "mmrotate.models.dense_heads"})
    model = ImageClassifier(dict(type="mmres_plugin.SReResNet", depth=18))
    assert predictor.task_of(model) == "classification"
    model.neck = Head()
    with pytest.raises(UserError, match=r"is inference_detector of mmdet\.apis"):
        predictor.task_of(model)


def test_names_of_classes(home, here):
    """Wrong names are worse than none: COCO's, where the head has three outputs."""
    model = Predictor(home / "det.py", home / "det.pth").network
    model.dataset_meta = {}
    assert predictor.class_names(model) is None
    model.cfg.test_dataloader.dataset.metainfo = dict(classes=list("abc"))
    assert predictor.class_names(model) == ["a", "b", "c"]
    weights = torch.load(home / "det.pth")
    weights["meta"] = {"CLASSES": NAMES}  # as MMDetection 2 writes them
    torch.save(weights, here / "old.pth")
    assert Predictor(home / "det.py", here / "old.pth").classes == list(NAMES)


def test_names_of_models(here):
    config, weights = predictor.find_model("seresnet50_8xb32_in1k", None)
    assert Path(config).is_file()
    assert weights.startswith("https://")
    Path("checkpoints").mkdir()
    Path("checkpoints/iresnet18_8xb32_in1k.pth").touch()
    config, weights = predictor.find_model("iresnet18_8xb32_in1k", None)
    assert weights == "checkpoints/iresnet18_8xb32_in1k.pth"
    assert Path(config).name == "iresnet18_8xb32_in1k.py"
    assert Path(predictor.find_model("fcos_sreresnet50_1x", "x.pth")[0]).name == (
        "fcos_sreresnet50_1x.py"
    )


def test_a_font_is_found_or_named(monkeypatch, capsys):
    before = list(matplotlib.rcParams["font.sans-serif"])
    monkeypatch.setitem(matplotlib.rcParams, "font.sans-serif", list(before))
    monkeypatch.setitem(matplotlib.rcParams, "font.monospace", list(before))
    use_font_for(["cat", "große Katze"])
    assert matplotlib.rcParams["font.sans-serif"] == before
    use_font_for(["\ue0de"])  # in fonts for formulas alone
    assert matplotlib.rcParams["font.sans-serif"][0] != before[0]
    assert not capsys.readouterr().out
    use_font_for(["\U00013000"])  # a hieroglyph
    assert "install one, for example with apt-get install" in capsys.readouterr().out


@pytest.mark.slow
def test_the_examples_of_the_page(home, here):
    """The Python blocks of docs/predict.md, on files of these names."""
    for name, source in (
        *(("my_config.py", "det.py"), ("my_classifier.py", "cls.py")),
        *(("epoch_12.pth", "det.pth"), ("epoch_3.pth", "cls.pth")),
        *(("garden.jpg", "photos/a.jpg"), ("street.jpg", "photos/a.jpg")),
    ):
        (here / name).symlink_to(home / source)
    (here / "work_dirs").mkdir()
    (here / "work_dirs/my_config").symlink_to(here)
    page = (ROOT / "docs/predict.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        run(sys.executable, "-c", block, cwd=here)
    assert (here / "drawn/vis/garden.jpg").is_file()


def test_the_model_decides_the_task(home, here):
    """A detector without a default scope, whose types are classes."""
    (here / "new.py").write_text(
        f"_base_ = {str(home / 'det.py')!r}\n"
        "default_scope = None\n"
        "model = dict(type='mmdet.FCOS',\n"
        "    data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),\n"
        "    neck=dict(type='mmdet.FPN'), bbox_head=dict(type='mmdet.FCOSHead'))\n"
    )
    cfg = Config.fromfile(here / "new.py")
    for step in cfg.test_dataloader.dataset.pipeline:
        step.type = f"mmdet.{step.type}" if step.type != "LoadImageFromFile" else step.type
    for node in (cfg.model.bbox_head, cfg.test_dataloader.dataset):
        for key in [key for key in node if isinstance(node[key], dict) and "type" in node[key]]:
            node[key].type = f"mmdet.{node[key].type}"
    cfg.test_dataloader.dataset.type = "mmdet.CocoDataset"
    cfg.dump(here / "new.py")
    model = Predictor(here / "new.py", home / "det.pth", score_threshold=0.0)
    assert model.task == "detection"
    assert model([home / "photos/a.jpg"]) == Predictor(
        home / "det.py", home / "det.pth", score_threshold=0.0
    )([home / "photos/a.jpg"])
