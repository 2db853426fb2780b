"""Comparing backbones: each one fits the config, and the report says what the trainings did."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import stdev

import cv2
import pytest
from helpers import ENV, ROOT, call, complete
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet

from mmres_plugin.analysis.backbones import matched, parse
from mmres_plugin.analysis.cost import count
from mmres_plugin.analysis.report import table
from mmres_plugin.analysis.trainings import plan
from mmres_plugin.config import load_config
from mmres_plugin.errors import UserError

FCOS = str(ROOT / "configs/sreresnet/fcos_sreresnet50_1x.py")
SMALL = "depth=18,base_channels=16"
TWO = ["--backbones", f"a=SReResNet:{SMALL}", f"b=IResNet:{SMALL}", "--seeds", 2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with ``cls.py`` and ``det.py``, configs on tiny data sets."""
    root = tmp_path_factory.mktemp("compare")
    classifier_config(root / "cls.py", make_imagenet(root / "imagenet"))
    detector_config(root / "det.py", make_coco(root / "coco"))
    return root


@pytest.mark.parametrize(
    ("text", "name", "type_", "depth"),
    [
        ("sreresnet50", "sreresnet50", "mmres_plugin.SReResNet", 50),
        ("iresnet50_8xb32_in1k", "iresnet50_8xb32_in1k", "mmres_plugin.IResNet", 50),
        ("plain=resnet34", "plain", "mmpretrain.ResNet", 34),
        (f"b=EDResNet:{SMALL},encoder_decoder=dict(groups=16)", "b", "mmres_plugin.EDResNet", 18),
        ("SReResNet:depth=(1,2,2,1)", "SReResNet:depth=(1,2,2,1)", "mmres_plugin.SReResNet", None),
        ("mmdet.ResNet:depth=50", "mmdet.ResNet:depth=50", "mmdet.ResNet", 50),
        (FCOS, "fcos_sreresnet50_1x", "mmres_plugin.SReResNet", 50),
    ],
)
def test_names_of_backbones(text, name, type_, depth):
    found, settings = parse(text)
    assert (found, settings["type"]) == (name, type_)
    assert settings["depth"] == (depth or (1, 2, 2, 1))
    assert not {"out_indices", "frozen_stages", "init_cfg"} & set(settings)  # the config's matter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbones", "sreresnet5"], "'sreresnet5' is neither a config nor a model of the hub."),
        (["--backbones", "SReResNet:depth"], "cannot read the arguments of 'SReResNet:depth'"),
        (["--backbones", "SReResNet:depth=("], "cannot read the arguments"),
        (["--backbones", "no_such.py"], "there is no config no_such.py"),
        (["--backbones", f"x=SReResNet:{SMALL},no_such=1"], "no_such"),
        (["--backbones", "sreresnet50", "sreresnet50"], "two have the same name"),
        (["--backbones", f"a=SReResNet:{SMALL}", "IResNet:depth=2"], "depth"),
        ([*TWO, "--weights", "{name}_{seed}.pth"], "b, seed 1: there is no checkpoint b_1.pth"),
    ],
)
def test_wrong_arguments(folder, tmp_path, arguments, message):
    """Nothing starts, nothing is written."""
    out = tmp_path / "out"
    with pytest.raises(UserError, match=re.escape(message)):
        call("compare", folder / "cls.py", *arguments, "--size", 64, 64, "--out", out)
    assert not out.exists()


def planned(config: Path | str, *backbones: str, **given) -> list:
    from argparse import Namespace

    defaults = dict(cfg_options=[], weights=None, match=None, size=(64, 64), seeds=1)
    args = Namespace(config=str(config), backbones=list(backbones), **{**defaults, **given})
    return plan(args, Path("out"))


@pytest.mark.parametrize(
    ("config", "part", "channels"),
    [
        ("det.py", "neck", {"a": [32, 64, 128], "b": [128, 256, 512]}),
        ("cls.py", "head", {"a": 128, "b": 512}),
    ],
)
def test_backbones_fit_neck_and_head(folder, config, part, channels):
    """Stages as the config wants them, channels as the backbone has them; rounds of one seed."""
    trainings = planned(folder / config, f"a=SReResNet:{SMALL}", "b=resnet18", seeds=2)
    assert list(map(str, trainings)) == ["a, seed 0", "b, seed 0", "a, seed 1", "b, seed 1"]
    old = load_config(folder / config).model.backbone
    for training in trainings:
        assert training.config.model[part].in_channels == channels[training.name]
        assert training.config.model.backbone.get("out_indices") == old.get("out_indices")
        assert training.config.randomness.seed == training.seed


def test_start_of_a_training():
    """The config's freezing holds with weights; without, all of the backbone trains."""
    (scratch,) = planned(FCOS, f"IResNet:{SMALL}")
    scratch = scratch.config.model.backbone
    assert (scratch.frozen_stages, scratch.norm_eval) == (-1, False)
    assert scratch.norm_cfg.requires_grad and "init_cfg" not in scratch
    *_, loaded = planned(FCOS, f"a=IResNet:{SMALL}", weights="{name}_{seed}.pth", seeds=2)
    loaded = loaded.config.model.backbone
    assert (loaded.frozen_stages, loaded.norm_eval) == (1, True)
    assert not loaded.norm_cfg.requires_grad
    assert loaded.init_cfg == dict(type="Pretrained", checkpoint="a_1.pth", prefix="backbone.")


SHORT = "depth=(1,1,1,1)"


@pytest.mark.parametrize(
    "text",
    [
        f"EDResNet:{SHORT},encoder_decoder=dict(groups=16)",  # its groups forbid most widths
        "resnet18",  # MMPretrain's, which has no width_per_group
    ],
)
def test_equal_costs(folder, text):
    """Within 5 % of the first one's."""
    first, other = planned(folder / "cls.py", f"a=IResNet:{SHORT}", f"b={text}", match="macs")
    assert abs(other.cost[1] - first.cost[1]) <= 0.05 * first.cost[1]
    assert count(other.config, (64, 64), backbone_only=True) == other.cost


def test_a_cost_that_no_width_has(folder):
    config, (_, settings) = load_config(folder / "cls.py"), parse(f"SEResNet:{SHORT}")
    with pytest.raises(UserError, match=r"within 5% of 1e-05 G MACs.* give the width yourself"):
        matched(config, settings, 10**4, (64, 64))


def test_equal_costs_of_narrow_networks():
    """One step of a width changes these by more than 5 %: both widths together do it."""
    common = "depth=(2,2,2),num_stages=3,stem_channels=16,base_channels=16"
    words = [f"a=SReResNet:{common}", f"b=SEResNeXt:groups=8,width_per_group=4,{common}"]
    config = ROOT / "configs/cifar/study_cifar10.py"
    first, other = planned(config, *words, match="macs", size=(32, 32))
    assert other.cost[1] == pytest.approx(first.cost[1], rel=0.05)


def test_report():
    """Mean, spread, and the differences of pairs with the same seed."""
    values = {"a": [80.0, 82.0, 81.0], "b": [82.0, 83.0, 83.0], "c": [70.0]}
    rows = [
        dict(backbone=name, seed=seed, metric="accuracy/top1", value=value, params=2e6, macs=3e9)
        | dict(step_ms=40.0, peak_mib=500.0)
        for name, column in values.items()
        for seed, value in enumerate(column)
    ]
    *_, a, b, c = (line.strip("| ").split(" | ") for line in table(rows).splitlines())
    assert a == ["a", "81.00", "1.00", "3", "", "2.000", "3.000", "40.0", "500"]
    error = stdev([2, 1, 2]) / 3**0.5
    assert b[1:5] == ["82.67", f"{stdev([82, 83, 83]):.2f}", "3", f"+1.67 ± {error:.2f}"]
    assert c[1:5] == ["70.00", "", "1", "-10.00"]


def test_plot(tmp_path):
    """The study's files; columns that a plot does not need do no harm."""
    files = sorted((ROOT / "docs/study").glob("*.csv"))[:3]
    new = tmp_path / "new.csv"
    new.write_text("backbone,seed,metric,value,macs,commit,note\na,0,box AP,0.5,1000,abc,hello\n")
    for some, shape in ((files[:1], (540, 540)), ([*files, new], (960, 990))):
        assert call("compare", "--plot", *some, "--out", tmp_path) == 0
        image = cv2.imread(str(tmp_path / "results.png"))
        assert image.shape[:2] == shape  # one panel, or two lines of two
        assert image[:, [0, -1]].min() == image[[0, -1]].min() == 255  # the legend is not cut off
    for text, message in (
        ("a,b\n1,2\n", "cannot be read: no row with backbone, metric, value, macs"),
        ("backbone,metric,value,macs\n", "cannot be read: no row with backbone, metric"),
        ("backbone,metric,value,macs\na,b,c,d\n", "cannot be read: could not convert"),
    ):
        new.write_text(text)
        with pytest.raises(UserError, match=message):
            call("compare", "--plot", new, "--out", tmp_path)
    with pytest.raises(UserError, match="No such file"):
        call("compare", "--plot", tmp_path / "none.csv", "--out", tmp_path)


def test_jobs_of_an_array(folder, tmp_path, capsys):
    """The list numbers the trainings, seed after seed, and says which are finished."""
    header = "backbone,seed,metric,value,step_ms,peak_mib,commit,torch,threads"
    table = f"{header}\nb,0,accuracy/top1,81.5,40.2,500,abc,2.11.0,1\n"  # from another machine
    (tmp_path / "results.csv").write_text(table)
    command = ["compare", folder / "cls.py", *TWO, "--out", tmp_path]
    assert call(*command, "--list") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["0", "a, seed 0", ""],
        ["1", "b, seed 0", "(finished)"],
        ["2", "a, seed 1", ""],
        ["3", "b, seed 1", ""],
    ]
    assert call(*command, "--only", 4) == 2
    assert "--only is 4, must be 0 to 3" in capsys.readouterr().err
    (tmp_path / "a").mkdir()
    (tmp_path / "a/seed1.py").write_text("randomness = dict(seed=1)\n")
    with pytest.raises(UserError, match=r"a/seed1\.py is of a training with other settings"):
        call(*command, "--only", 2)


@pytest.mark.slow
def test_a_stopped_comparison_goes_on(folder, tmp_path):
    """Stop the second of two trainings, run again: the first stays, the table has both."""
    command = ["compare", folder / "det.py", "--backbones", f"plain=SReResNet:{SMALL},recursions=0"]
    command += [f"sre=SReResNet:{SMALL}", "--out", tmp_path / "out", "--size", 64, 80, "--seeds", 1]
    command += ["--metric", "coco/bbox_mAP_50", "--cfg-options", "train_cfg.max_epochs=15"]
    first, second = tmp_path / "out/plain", tmp_path / "out/sre"
    words = [sys.executable, "-m", "mmres_plugin", *map(str, command)]
    with subprocess.Popen(words, env=ENV, cwd=ROOT) as process:
        try:
            deadline = time.time() + 800
            while not list(second.glob("seed0/epoch_*.pth")):
                assert process.poll() is None and time.time() < deadline
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 143
    finished = (first / "seed0.json").stat().st_mtime_ns
    assert not (second / "seed0.json").exists()

    done = complete("mmres", *command, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (first / "seed0.json").stat().st_mtime_ns == finished
    with (tmp_path / "out/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["backbone"] for row in rows] == ["plain", "sre"]
    for row in rows:
        log = max((tmp_path / "out" / row["backbone"] / "seed0").glob("*/vis_data/scalars.json"))
        last = json.loads(log.read_text().splitlines()[-1])
        assert float(row["value"]) == last[row["metric"]] and row["metric"] == "coco/bbox_mAP_50"
        assert float(row["step_ms"]) > 0 and float(row["peak_mib"]) > 200
        assert re.fullmatch("[0-9a-f]{12}", row["commit"]) and row["torch"] and row["threads"]
    assert int(rows[1]["macs"]) > int(rows[0]["macs"]) and rows[0]["params"] == rows[1]["params"]
    assert "training 1 of 1" in done.stdout and "| sre |" in done.stdout


@pytest.mark.slow
def test_a_failing_training_is_shown(tmp_path):
    """The checks see the first images, and the last one is damaged."""
    root = make_imagenet(tmp_path / "imagenet")
    max((root / "val").rglob("*.JPEG"), key=lambda path: path.name).write_bytes(b"")
    config = classifier_config(tmp_path / "cls.py", root)
    done = complete("mmres", "compare", config, *TWO, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "a, seed 0: the training ended with exit code 2, log in" in done.stderr
    assert "Run the command again to continue" in done.stderr
