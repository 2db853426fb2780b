"""Predicting: the same numbers as upstream's inferencers give, for every kind of input."""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT, call, run
from helpers.data import draw
from helpers.weights import write_trained
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer, get_model

from mmres_plugin.errors import UserError
from mmres_plugin.predict import Predictor, predictor

NAMES = ("cat", "dog", "hare")
DEMO = ROOT / "demo/image_demo.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Configs and checkpoints of a detector and a classifier, photos, and a video."""
    home = tmp_path_factory.mktemp("home")
    write_trained(home, NAMES)
    rng = np.random.default_rng(0)
    for name in ("photos/a.jpg", "photos/more/a.png", "photos/more/b.ppm"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(home / name), draw((60, 90), rng)[0])
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
    assert call(DEMO, home / "photos", home / "det.py", home / "det.pth", *options) == 0
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
    assert "3 pictures: " in capsys.readouterr().out


def test_classifier_on_a_video(home, here):
    """Scores are those of MMPretrain's own inferencer, for each frame; the video is drawn."""
    source = home / "clip.avi"
    assert call(DEMO, source, home / "cls.py", home / "cls.pth", "--batch-size", 3) == 0
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


def test_pattern_without_pictures(home, here):
    options = ["--no-pictures", "--out-dir", "there", "--top", "1", "--score-threshold", "0.2"]
    assert call(DEMO, home / "photos/**/*.p*", home / "cls.py", home / "cls.pth", *options) == 0
    assert [Path(one["file"]).name for one in results(here / "there")] == ["a.png", "b.ppm"]
    assert all(len(one["predictions"]) == 1 for one in results(here / "there"))
    assert [path.name for path in (here / "there").iterdir()] == ["predictions.json"]


def test_a_second_run_leaves_out_its_own_results(home, here):
    (here / "photos").mkdir()
    (here / "photos/a.jpg").write_bytes((home / "photos/a.jpg").read_bytes())
    for _ in range(2):
        arguments = ["photos", home / "cls.py", home / "cls.pth", "--out-dir", "photos/out"]
        assert call(DEMO, *arguments) == 0
    assert len(results(here / "photos/out")) == 1


def test_damaged_images_are_left_out_and_named(home, here, capsys):
    (here / "mixed").mkdir()
    (here / "mixed/good.jpg").write_bytes((home / "photos/a.jpg").read_bytes())
    (here / "mixed/empty.jpg").touch()
    (here / "mixed/text.png").write_text("no picture")
    assert call(DEMO, "mixed", home / "cls.py", home / "cls.pth") == 0
    said = capsys.readouterr().out
    assert "1 pictures" in said
    assert "not read, or not to the end: mixed/empty.jpg, mixed/text.png" in said
    content = json.loads((here / "predictions/predictions.json").read_text())
    assert content["unreadable"] == ["mixed/empty.jpg", "mixed/text.png"]
    assert content["classes"] == list(NAMES)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["phots"], "there is no file or folder phots. Did you mean 'photos'?"),
        (["empty"], "empty and the folders in it have no image or video (.jpg"),
        (["photos/*.gif"], "the 0 files and folders like photos/*.gif have no image or video"),
        (["broken.mp4"], "the video broken.mp4 cannot be read"),
        (["broken.jpg"], "no image can be read: broken.jpg"),
        (["photos", "dett.py"], "there is no config dett.py"),
        (
            ["photos", "det.py"],
            "det needs a checkpoint. Name one after the config: work_dirs",
        ),
        (["photos", "iresnet51_8xb32_in1k"], "Did you mean 'iresnet50_8xb32_in1k'?"),
        (["photos", "iresnet50_8xb32_in1k"], "convert_checkpoint.py FILE checkpoints/iresnet50"),
        (["photos", "det.py", "gone.pth"], "there is no checkpoint file"),
        (["photos", "det.py", "cls.pth"], "cls.pth does not fit the model"),
        (["photos", "det.py", "broken.jpg"], "broken.jpg is not a checkpoint, or is damaged"),
        (["photos", "det.py", "det.pth", "--device", "cuda:9"], "--device cuda:9: PyTorch sees "),
        (["photos", "det.py", "det.pth", "--device", "gpu"], "--device gpu: PyTorch knows no such"),
        (["photos", "det.py", "det.pth", "--out-dir", "photos"], "would replace those in photos"),
        (
            ["photos", "det.py", "det.pth", "--out-dir", "det.py"],
            "predictions.json cannot be written",
        ),
        (["photos", "det.py", "det.pth", "--batch-size", "0"], "--batch-size must be 1 or more"),
    ],
)
def test_wrong_commands(home, tmp_path, monkeypatch, capsys, arguments, answer):
    """One sentence, exit code 2, nothing written."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "det.py", "det.pth", "cls.pth"):
        (tmp_path / name).symlink_to(home / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "work_dirs/det").mkdir(parents=True)
    (tmp_path / "work_dirs/det/epoch_1.pth").touch()
    for name in ("broken.mp4", "broken.jpg"):
        (tmp_path / name).write_bytes(b"\x00nothing" * 20)
    before = sorted(tmp_path.rglob("*"))
    arguments = arguments if len(arguments) > 1 else [*arguments, "det.py", "det.pth"]
    assert call(DEMO, *arguments) == 2
    said = capsys.readouterr().err
    assert answer in said
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_video_that_ends_early_leaves_no_half_file(home, here, monkeypatch):
    """An error in the middle of a video: neither the video nor the JSON file is there."""
    monkeypatch.setattr(Predictor, "draw", lambda *args: 1 / 0 if args[1].sum() % 2 else args[1])
    with pytest.raises(ZeroDivisionError):
        call(DEMO, home / "clip.avi", home / "cls.py", home / "cls.pth")
    assert list((here / "predictions").iterdir()) == []


def test_in_python(home, here):
    model = Predictor(home / "det.py", home / "det.pth", score_threshold=0.0)
    image = cv2.imread(str(home / "photos/a.jpg"))
    by_path, by_array = model([home / "photos/a.jpg", image])
    assert by_path == by_array
    assert set(by_path[0]) == {"label", "class", "score", "box"}
    assert isinstance(model.inferencer, DetInferencer)
    with pytest.raises(UserError, match=r"no image can be read from gone\.jpg"):
        model([image, "gone.jpg"])


def test_names_of_classes_fit_the_outputs(home):
    """Wrong names are worse than none: COCO's, where the head has three outputs."""
    cfg = Config.fromfile(home / "det.py")
    assert predictor.class_names(cfg, {}) is None
    assert predictor.class_names(cfg, {"classes": NAMES}) == list(NAMES)
    cfg.test_dataloader.dataset.metainfo = dict(classes=list("abc"))
    assert predictor.class_names(cfg, {}) == ["a", "b", "c"]


def test_names_of_models(home, here, monkeypatch):
    assert predictor.find_config("fcos_sreresnet50_1x").name == "fcos_sreresnet50_1x.py"
    theirs = predictor.find_config("seresnet50_8xb32_in1k")
    assert theirs.is_file()
    published = predictor.default_checkpoint("seresnet50_8xb32_in1k", theirs)
    assert published.startswith("https://")
    Path("checkpoints").mkdir()
    Path("checkpoints/iresnet18_8xb32_in1k.pth").touch()
    ours = predictor.find_config("iresnet18_8xb32_in1k")
    converted = predictor.default_checkpoint("iresnet18_8xb32_in1k", ours)
    assert converted == "checkpoints/iresnet18_8xb32_in1k.pth"
    with pytest.raises(UserError, match="there is no model 'nothing'"):
        predictor.find_config("nothing")


def test_the_call_that_works_on_a_config(home):
    """``inference_model`` finds no inferencer for a model that is built from a config path."""
    model = get_model(str(home / "cls.py"), pretrained=str(home / "cls.pth"))
    result = ImageClassificationInferencer(model)(str(home / "photos/a.jpg"))[0]
    assert result["pred_class"] in NAMES


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


@pytest.mark.slow
def test_as_a_command(home, here):
    said = run(DEMO, home / "photos/a.jpg", home / "det.py", home / "det.pth", "--device", "cpu")
    assert "written: predictions/predictions.json and pictures beside it" in said
