"""``mmres new``: every layout of data becomes a config that the checks accept and that trains."""

import json
from pathlib import Path

import pytest
import torch
from helpers import call, run
from helpers.data import make_coco, make_image_folders
from mmengine.config import Config
from PIL import Image

from mmres_plugin.commands.new import DETECTORS
from mmres_plugin.config import build_model
from mmres_plugin.errors import UserError
from mmres_plugin.own_data import find_data
from mmres_plugin.registry import BACKBONES, MODELS
from mmres_plugin.weights.fit import OnMeta

VOC_OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def coco_parts(root: Path) -> Path:
    return make_coco(root, train=4, val=2, names=("hare", "cat"))


def coco_file(root: Path) -> Path:
    make_coco(root, train=5, val=1, names=("hare", "cat"))
    return root / "annotations/instances_train2017.json"


def pascal_voc(root: Path) -> Path:
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / "VOC" / part).mkdir(parents=True)
    for n in range(6):
        Image.new("RGB", (80, 64), (n * 20, 50, 90)).save(root / f"VOC/JPEGImages/{n}.jpg")
        two = (("hare", 0, 11, 6, 31, 36), ("cat", 1, 1, 1, 9, 9))
        objects = "".join(VOC_OBJECT.format(*one) for one in two)
        (root / f"VOC/Annotations/{n}.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "VOC/ImageSets/Main/train.txt").write_text("0\n1\n2\n")
    (root / "VOC/ImageSets/Main/val.txt").write_text("3\n")
    (root / "VOC/ImageSets/Main/test.txt").write_text("4\n5\n")
    return root


def yolo(root: Path) -> Path:
    for part, number in (("train", 4), ("valid", 2)):
        for kind in ("images", "labels"):
            (root / part / kind).mkdir(parents=True)
        for n in range(number):
            Image.new("RGB", (80, 64), (n * 20, 50, 90)).save(root / part / f"images/{n}.jpg")
            lines = "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.4 0.1 0.4 0.6 0.1 0.6\n"
            (root / part / f"labels/{n}.txt").write_text(lines)
    (root / "data.yaml").write_text("names: [hare, cat]\n")
    return root


def class_folders(root: Path) -> Path:
    make_image_folders(root, ("cat", "hare"))
    (root / "project.xml").write_text("<project/>")  # an editor's, and a camera's
    (root / "meta.json").write_text('{"camera": 1}')
    return root


def one_folder(root: Path) -> Path:
    make_image_folders(root / "made", ("cat", "hare"))
    return root / "made" / "train"


def a_list(root: Path) -> Path:
    folder = one_folder(root)
    rows = [f"{p.relative_to(root)} {n}" for n in (0, 1) for p in sorted(folder.glob("*/*"))[n::2]]
    (root / "all.txt").write_text("\n".join(rows) + "\n")
    return root / "all.txt"


def side_by_side(root: Path) -> Path:
    """Pascal VOC as some programs write it: an XML file beside each image, parts as folders."""
    pascal_voc(root / "made")
    for n, part in enumerate(("train", "train", "train", "valid", "valid", "test")):
        (root / "voc" / part).mkdir(parents=True, exist_ok=True)
        for kind, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
            file = root / f"made/VOC/{kind}/{n}.{suffix}"
            file.rename(
                root / "voc" / part / f"{n}.{suffix.upper() if suffix == 'jpg' else suffix}"
            )
    return root / "voc"


def yolo_by_settings(root: Path) -> Path:
    """The YAML file, not the names of the folders, tells the parts."""
    yolo(root)
    for part, name in (("train", "a"), ("valid", "b")):
        (root / part).rename(root / name)
    (root / "data.yaml").write_text("{train: a/images, val: b/images, names: {0: hare, 1: cat}}")
    return root / "data.yaml"


LAYOUTS = [coco_parts, coco_file, pascal_voc, side_by_side, yolo, yolo_by_settings]
LAYOUTS += [class_folders, one_folder, a_list]


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    return coco_parts(tmp_path_factory.mktemp("coco"))


def boxes(path: Path) -> list:
    return [one["bbox"] for one in json.loads(path.read_text())["annotations"]]


def test_boxes_of_pascal_voc(tmp_path) -> None:
    data = find_data(pascal_voc(tmp_path / "voc"), tmp_path / "made")
    content = json.loads(data.annotations[0].read_text())
    assert (data.classes, data.number) == (["cat", "hare"], 3)
    assert boxes(data.annotations[0])[:2] == [[11, 6, 20, 30], [1, 1, 8, 8]]
    assert [one["iscrowd"] for one in content["annotations"][:2]] == [0, 1]  # difficult
    assert [one["category_id"] for one in content["annotations"][:2]] == [1, 0]
    assert [one["id"] for one in content["annotations"]] == [1, 2, 3, 4, 5, 6]  # 0 is no match
    assert len(boxes(data.annotations[1])) == 2  # of val.txt; the test set is left alone
    data = find_data(side_by_side(tmp_path / "side"), tmp_path / "made")
    assert (data.number, len(boxes(data.annotations[1]))) == (3, 4)


def test_boxes_of_yolo(tmp_path) -> None:
    data = find_data(yolo_by_settings(tmp_path / "yolo"), tmp_path / "made")
    assert data.number == 4
    found = boxes(data.annotations[0])[:2]
    assert data.classes == ["hare", "cat"]
    assert found[0] == pytest.approx([30, 16, 20, 32])
    assert found[1] == pytest.approx([8, 6.4, 24, 32])  # of a polygon


def test_a_split_is_drawn_once(tmp_path) -> None:
    source = coco_file(tmp_path / "coco")
    names = [
        [one["file_name"] for one in json.loads(data.annotations[1].read_text())["images"]]
        for seed in (0, 0, 1)
        for data in [find_data(source, tmp_path / f"made{seed}", seed)]
    ]
    assert names[0] == names[1]
    assert [len(one) for one in names] == [1, 1, 1]


def test_files_without_a_partner_are_named(tmp_path, capsys) -> None:
    source = pascal_voc(tmp_path / "voc") / "VOC"
    (source / "Annotations/1.xml").rename(source / "Annotations/lost.xml")
    call("new", tmp_path / "own.py", "--data", source, "--from-scratch")
    assert "left out, without image or without annotations: 1, lost\n" in capsys.readouterr().out


def test_names_of_all_kinds(tmp_path, monkeypatch) -> None:
    """Quotes, letters of other alphabets and words like ``val`` stay what they are."""
    names = ("Größe 貓 $x", 'it\'s a "cat"', "latest interval")
    make_image_folders(tmp_path / "of 'all\" kinds", names)
    monkeypatch.chdir(tmp_path)
    call("new", "new/own.py", "--data", "of 'all\" kinds", "--size", 32)
    data = Config.fromfile("new/own.py").train_dataloader.dataset
    assert data.metainfo.classes == names
    assert data.data_prefix == "of 'all\" kinds/"


@pytest.mark.parametrize("layout", [pascal_voc, a_list])
def test_checks_accept_what_was_written(layout, tmp_path, monkeypatch, capsys) -> None:
    source = layout(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    call("new", "own.py", "--data", source, "--backbone", "iresnet18", "--epochs", 1)
    assert "2 classes: " in capsys.readouterr().out
    assert call("check", "own.py") == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_trains(layout, tmp_path) -> None:
    """After the checks, which a training begins with."""
    source = layout(tmp_path / "data")
    size = ("--size", 96, 64) if layout in LAYOUTS[:6] else ("--size", 32)
    options = ("--epochs", 1, "--backbone", "sreresnet18", "--from-scratch", *size)
    run("mmres", "new", "own.py", "--data", source, *options, cwd=tmp_path)
    run("mmres", "train", "own.py", cwd=tmp_path)
    assert (tmp_path / "work_dirs/own/epoch_1.pth").is_file()


@pytest.mark.parametrize("family", sorted(BACKBONES))
def test_every_family(family, coco, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("new", "own.py", "--data", coco, "--detector", "retinanet", "--from-scratch")
    depth = 18
    if "NeXt" in family or "IResGroup" in family:  # made of bottlenecks
        depth = 50
        with pytest.raises(UserError, match=f"--backbone {family}18"):
            call(*words, "--backbone", f"{family}18")
    call(*words, "--backbone", f"{family}{depth}")
    settings = Config.fromfile("own.py").model
    with OnMeta():
        features = MODELS.build(settings.backbone).feature_info
    assert settings.neck.in_channels == [feature.channels for feature in features]


@pytest.mark.parametrize("detector", DETECTORS)
def test_half_of_the_channels(detector, coco, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--width", 0.5, "--backbone", "edresnet18", "--detector", detector)
    call("new", "own.py", "--data", coco, *options)
    cfg = Config.fromfile("own.py")
    assert cfg.model.neck.in_channels == [32, 64, 128, 256]
    with OnMeta():
        model = build_model(cfg)
    model.eval()
    maps = model.backbone(torch.empty(1, 3, 64, 64, device="meta"))
    assert {level.shape[1] for level in model.neck(maps)} == {cfg.model.neck.out_channels}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "--data nowhere: there is no such folder"),
        (["--data", "empty"], "--data empty: neither COCO"),
        (["--data", "data", "--backbone", "iresent50"], "Did you mean 'iresnet'"),
        (["--data", "data", "--backbone", "iresnet51"], "--backbone iresnet51: depth"),
        (["--data", "data", "--backbone", "iresnet50", "--pretrained"], "no weights that load by"),
        (["--data", "bad.txt"], "bad.txt, line 1: not a path and a label"),
        (["--data", "bad.json"], "bad.json cannot be read: JSONDecodeError: Expecting"),
        (["--data", "keys.json"], "keys.json cannot be read: KeyError: 'image_id'"),
        (["--data", "list.json"], "it lacks images, annotations or categories"),
        (["--data", "two"], "which of a.json, b.json"),
        (["--data", "voc"], "1.xml cannot be read: ParseError"),
        (["--data", "yolo"], "0.txt cannot be read: ValueError: '1 0.5' is not"),
        (["--data", "data", "--size", 96, 64, 32], "--size 96, 64, 32: must be two numbers"),
    ],
)
def test_mistakes(options, message, tmp_path, monkeypatch) -> None:
    coco_parts(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "two", "voc", "yolo/labels", "yolo/images"):
        Path(folder).mkdir(parents=True)
    keys = json.dumps(
        {
            "images": [{"id": 1, "file_name": "1.jpg"}],
            "annotations": [{"id": 1}],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )
    files = {"bad.txt": "one.jpg\n", "bad.json": "{images", "keys.json": keys, "list.json": "[1]"}
    files |= {"two/a.json": keys, "two/b.json": keys, "voc/1.xml": "<annotation>"}
    for name, text in {**files, "yolo/labels/0.txt": "1 0.5"}.items():
        Path(name).write_text(text)
    for name in ("1.jpg", "voc/1.jpg", "yolo/images/0.jpg"):
        Image.new("RGB", (80, 64)).save(name)
    with pytest.raises(UserError, match=message):
        call("new", "own.py", *options)
    assert not Path("own.py").exists()
    Path("own.py").touch()
    for name, said in (("own.py", r"own\.py exists"), ("own", r"must end with \.py")):
        with pytest.raises(UserError, match=said):
            call("new", name, "--data", "data")
    with pytest.raises(UserError, match="/proc/own"):  # nobody can write there
        call("new", "/proc/own.py", "--data", "data", "--backbone", "iresnet18")
