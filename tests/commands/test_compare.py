"""Comparing backbones: each one fits the config, and the report says what the trainings did."""

import csv
import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from statistics import stdev

import compare_backbones
import pytest
from comparison.backbones import cost, matched, parse, put_in
from comparison.report import Row, plot, read_csv, table, write_csv
from comparison.runs import Run, TrainingFailed, alone
from helpers import ENV, ROOT
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet

from mmres_plugin.config import load_config
from mmres_plugin.errors import UserError

TOOL = ROOT / "tools/analysis/compare_backbones.py"
FCOS = str(ROOT / "configs/sreresnet/fcos_sreresnet50_1x.py")
SMALL = "depth=18,base_channels=16"


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
    backbone = parse(text)
    settings = {**backbone.settings, **backbone.given}
    assert backbone.name == name
    assert settings["type"] == type_
    assert settings["depth"] == (depth or (1, 2, 2, 1))
    assert not {"out_indices", "frozen_stages", "init_cfg"} & set(settings)  # the config's matter


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sreresnet5", "'sreresnet5' is neither .* Did you mean"),
        ("SReResNet:depth", "cannot read the arguments of 'SReResNet:depth'"),
        ("SReResNet:depth=(", "cannot read the arguments"),
        ("no_such.py", "there is no config no_such.py"),
    ],
)
def test_wrong_names_of_backbones(text, message):
    with pytest.raises(UserError, match=message):
        parse(text)


def config_with(folder: Path, config: str, text: str):
    return put_in(load_config(folder / config), parse(text))


def main(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["compare_backbones.py", *map(str, arguments)])
    return compare_backbones.main()


@pytest.mark.parametrize(
    ("config", "part", "channels"),
    [
        ("det.py", "neck", {"a": [32, 64, 128], "b": [128, 256, 512]}),
        ("cls.py", "head", {"a": 128, "b": 512}),
    ],
)
def test_backbones_fit_neck_and_head(folder, monkeypatch, tmp_path, config, part, channels):
    """Stages as the config wants them, channels as the backbone has them."""
    command = [folder / config, "--backbones", f"a=SReResNet:{SMALL}", "b=resnet18"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, command), "--seeds", "2"])
    runs = compare_backbones.all_runs(compare_backbones.parse_args())
    assert [str(run) for run in runs] == ["a, seed 0", "b, seed 0", "a, seed 1", "b, seed 1"]
    old = load_config(folder / config).model.backbone
    for run in runs:
        assert run.config.model[part].in_channels == channels[run.name]
        assert run.config.model.backbone.get("out_indices") == old.get("out_indices")
        assert run.config.randomness.seed == run.seed
    with pytest.raises(UserError, match=r"x: model\..*no_such"):
        main(monkeypatch, folder / config, "--backbones", f"x=SReResNet:{SMALL},no_such=1")


def test_start_of_a_training(monkeypatch):
    """The config's freezing holds with weights; without, all of the backbone trains."""
    config = load_config(FCOS)
    scratch = put_in(config, parse("iresnet50")).model.backbone
    assert (scratch.frozen_stages, scratch.norm_eval) == (-1, False)
    assert scratch.norm_cfg.requires_grad and "init_cfg" not in scratch
    loaded = put_in(config, parse("iresnet50"), "{name}_{seed}.pth")
    assert (loaded.model.backbone.frozen_stages, loaded.model.backbone.norm_eval) == (1, True)
    assert not loaded.model.backbone.norm_cfg.requires_grad
    run = compare_backbones.run_of(loaded, "a", 1, Path("x"))
    start = dict(type="Pretrained", checkpoint="a_1.pth", prefix="backbone.")
    assert run.config.model.backbone.init_cfg == start
    assert config.model.backbone.frozen_stages == 1  # unchanged


@pytest.mark.parametrize(
    "text",
    [
        "SReResNet:depth=18",
        "EDResNet:depth=18,encoder_decoder=dict(groups=16)",  # its groups forbid most widths
        pytest.param("ResNeXt:depth=(1,1,1,1)", marks=pytest.mark.slow),
        pytest.param("resnet34", marks=pytest.mark.slow),  # MMPretrain's
    ],
)
def test_equal_costs(folder, text):
    config = load_config(folder / "cls.py")
    macs = cost(config_with(folder, "cls.py", "IResNet:depth=18"), (64, 64)).macs
    before = cost(config_with(folder, "cls.py", text), (64, 64)).macs
    after = cost(put_in(config, matched(config, parse(text), macs, (64, 64))), (64, 64)).macs
    assert abs(after - macs) <= 0.05 * macs
    assert abs(after - macs) <= abs(before - macs)


def test_costs_that_cannot_be_equal(folder):
    with pytest.raises(UserError, match=r"within 5% of 0\.001 G MACs .*give its width yourself"):
        matched(load_config(folder / "cls.py"), parse("EDResNet:depth=50"), 10**6, (64, 64))


def rows(values: dict[str, list[float]]) -> list[Row]:
    return [
        Row(name, seed, "accuracy/top1", value, 2_000_000, 3_000_000_000, 40.0, 500.0)
        for name, column in values.items()
        for seed, value in enumerate(column)
    ]


def test_report(tmp_path):
    """Mean, spread, and the differences of pairs with the same seed."""
    found = rows({"a": [80.0, 82.0, 81.0], "b": [82.0, 83.0, 83.0], "c": [70.0]})
    *_, a, b, c = (line.strip("| ").split(" | ") for line in table(found).splitlines())
    assert a == ["a", "81.00", "1.00", "3", "", "2.000", "3.000", "40.0", "500"]
    error = stdev([2, 1, 2]) / 3**0.5
    assert b[1:5] == ["82.67", f"{stdev([82, 83, 83]):.2f}", "3", f"+1.67 ± {error:.2f}"]
    assert c[1:5] == ["70.00", "", "1", "-10.00"]
    write_csv(found, tmp_path / "x.csv")
    assert read_csv(tmp_path / "x.csv") == found
    plot({"one": found, "two": found[:6]}, tmp_path / "x.png")
    width, height = struct.unpack(">II", (tmp_path / "x.png").read_bytes()[16:24])
    assert width > 1.5 * height > 300
    (tmp_path / "y.csv").write_text("a,b\n")
    for name, message in (("y", "must have the columns backbone,seed,"), ("z", "there is no file")):
        with pytest.raises(UserError, match=message):
            read_csv(tmp_path / f"{name}.csv")


def test_jobs_of_an_array(folder, tmp_path, monkeypatch, capsys):
    """The list numbers the trainings, seed after seed, and says which are finished."""
    command = [folder / "cls.py", "--backbones", f"a=SReResNet:{SMALL}", f"b=IResNet:{SMALL}"]
    command += ["--seeds", 2, "--out", tmp_path]
    (tmp_path / "b").mkdir()
    (tmp_path / "b/seed0.json").write_text(json.dumps({"metrics": {}}))
    assert main(monkeypatch, *command, "--list") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [
        ["0", "a, seed 0"],
        ["1", "b, seed 0"],
        ["2", "a, seed 1"],
        ["3", "b, seed 1"],
    ]
    assert [line[2] for line in lines] == ["", "(finished)", "", ""]
    with pytest.raises(UserError, match="--only is 4, must be 0 to 3"):
        main(monkeypatch, *command, "--only", 4)


def test_nothing_starts_when_a_training_would_fail(folder, tmp_path, monkeypatch):
    command = [folder / "cls.py", "--backbones", f"a=SReResNet:{SMALL}", f"b=IResNet:{SMALL}"]
    command += ["--seeds", 2, "--out", tmp_path / "out"]
    with pytest.raises(UserError) as error:
        main(monkeypatch, *command, "--weights", f"{tmp_path}/{{name}}_{{seed}}.pth")
    for name in ("a_0", "a_1", "b_0", "b_1"):
        assert f"there is no checkpoint {tmp_path}/{name}.pth" in str(error.value)
    with pytest.raises(UserError, match="two have the same name"):
        main(monkeypatch, folder / "cls.py", "--backbones", "sreresnet50", "sreresnet50")
    assert not (tmp_path / "out").exists()


def test_runs_of_other_settings_are_not_mixed(folder, tmp_path):
    config = config_with(folder, "cls.py", f"SReResNet:{SMALL}")
    Run("a", 0, config, tmp_path).prepare()
    Run("a", 0, config, tmp_path).prepare()
    config.train_cfg.max_epochs = 3
    with pytest.raises(UserError, match=r"seed0\.py is of a run with other settings"):
        Run("a", 0, config, tmp_path).prepare()


def test_one_process_trains_a_run(folder, tmp_path):
    run = Run("a", 0, config_with(folder, "cls.py", f"SReResNet:{SMALL}"), tmp_path)
    run.prepare()
    with alone(run) as lock:
        other = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:  # as when only the parent of a training was killed
        with pytest.raises(TrainingFailed, match="a, seed 0 is being trained"), alone(run):
            pass
    finally:
        other.kill()
        other.wait()
    with alone(run):
        pass


def start(command: list, log: Path) -> subprocess.Popen:
    with log.open("w") as output:
        words = [sys.executable, *map(str, command)]
        return subprocess.Popen(words, env=ENV, stdout=output, stderr=output)


@pytest.mark.slow
def test_a_stopped_comparison_goes_on(folder, tmp_path):
    """Stop the second of three trainings, run again: the first stays, the table has all."""
    plain = f"plain=SReResNet:{SMALL},recursions=0"
    command = [TOOL, folder / "det.py", "--backbones", plain, f"sre=SReResNet:{SMALL}"]
    command += ["--out", tmp_path / "out", "--size", 64, 80, "--metric", "coco/bbox_mAP_50"]
    command += ["--seeds", 1, "--cfg-options", "train_cfg.max_epochs=15"]
    first, second = tmp_path / "out/plain", tmp_path / "out/sre"
    tool = start(command, tmp_path / "log")
    try:
        deadline = time.time() + 800
        while not list(second.glob("seed0/epoch_*.pth")):
            assert tool.poll() is None, (tmp_path / "log").read_text()
            assert time.time() < deadline
            time.sleep(0.1)
        tool.send_signal(signal.SIGTERM)
        assert tool.wait(300) == 143
    finally:
        tool.kill()
    finished = (first / "seed0.json").stat().st_mtime_ns
    assert not (second / "seed0.json").exists()

    tool = start(command, tmp_path / "log")
    assert tool.wait(900) == 0, (tmp_path / "log").read_text()
    assert (first / "seed0.json").stat().st_mtime_ns == finished
    assert "--resume: continuing from" in (second / "seed0.log").read_text()
    with (tmp_path / "out/results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [row["backbone"] for row in found] == ["plain", "sre"]
    for row in found:
        log = max((tmp_path / "out" / row["backbone"] / "seed0").glob("*/vis_data/scalars.json"))
        last = json.loads(log.read_text().splitlines()[-1])
        assert float(row["value"]) == last[row["metric"]] and row["metric"] == "coco/bbox_mAP_50"
        assert float(row["step_ms"]) > 0 and float(row["peak_mib"]) > 200
    assert int(found[1]["macs"]) > int(found[0]["macs"])
    assert found[0]["params"] == found[1]["params"]
    text = (tmp_path / "log").read_text()
    assert "2 of 2 done" in text and "| sre |" in text
    assert (tmp_path / "out/results.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_failing_training_is_shown(tmp_path):
    """On two 'GPUs' at once; the checks see the first images, and the last one is damaged."""
    root = make_imagenet(tmp_path / "imagenet")
    max((root / "val").rglob("*.JPEG"), key=lambda path: path.name).write_bytes(b"")
    config = classifier_config(tmp_path / "cls.py", root)
    command = [TOOL, config, "--backbones", f"a=SReResNet:{SMALL}"]
    command += ["--out", tmp_path / "out", "--gpus", 0, 1, "--seeds", 2]
    tool = start(command, tmp_path / "log")
    assert tool.wait(600) == 1
    text = (tmp_path / "log").read_text()
    assert "the training ended with exit code 2" in text and "Run the command again" in text
    assert text.count("training, log in") == 2
