"""tools/train.py and tools/test.py, run as a user runs them, on tiny data of the real layouts."""

import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import helpers
import pytest
import torch
from helpers import ROOT
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet

from mmres_plugin.checks import build_model
from mmres_plugin.config import load_config

ENV = {
    **helpers.ENV,
    "OMP_NUM_THREADS": "1",
    "PYTHONFAULTHANDLER": "1",  # an abort says where
    "PYTHON": sys.executable,
}


def run_tool(tool: str, *args, cwd: Path, code: int = 0) -> str:
    """Run ``tools/<tool>`` in ``cwd``, want this exit code, return all it wrote."""
    settings = {} if tool.endswith(".py") else {"env": ENV, "timeout": 280}
    return helpers.run(ROOT / "tools" / tool, *args, cwd=cwd, code=code, **settings)


def scalars(work_dir: Path) -> list[dict]:
    """What the newest run in ``work_dir`` logged, in order."""
    newest = max(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in newest.read_text().splitlines()]


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    return make_coco(tmp_path_factory.mktemp("data") / "coco")


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory) -> Path:
    return make_imagenet(tmp_path_factory.mktemp("data") / "imagenet")


@pytest.mark.slow
def test_detector_survives_a_kill(tmp_path, coco):
    """Train, kill in the middle, resume where the last checkpoint was, evaluate the result."""
    config = detector_config(tmp_path / "det.py", coco, "auto_scale_lr = dict(enable=False)\n")
    work_dir = tmp_path / "work_dirs" / "det"  # the default, from the config's name
    command = [sys.executable, str(ROOT / "tools/train.py"), str(config), "--auto-scale-lr"]
    command += ["--cfg-options", "train_cfg.max_epochs=500"]
    with (tmp_path / "log").open("w") as log:
        training = subprocess.Popen(command, cwd=tmp_path, env=ENV, stdout=log, stderr=log)
    try:
        deadline = time.time() + 240
        while not (work_dir / "epoch_2.pth").exists():
            assert training.poll() is None, (tmp_path / "log").read_text()[-4000:]
            assert time.time() < deadline, "no second epoch in four minutes"
            time.sleep(0.05)
    finally:
        training.send_signal(signal.SIGKILL)
        training.wait()
    lines = [line for line in scalars(work_dir) if "lr" in line]
    # Base batch size 16, two images per step: an eighth of 0.02 at the end of the warm-up, which
    # starts at a thousandth of it.
    assert lines[0]["lr"] == pytest.approx(0.02 * 2 / 16 * 0.001)
    # The kill may have come between saving the newest checkpoint and naming it.
    saved = max(work_dir.glob("epoch_*.pth"), key=lambda path: int(path.stem[6:]))
    epoch = torch.load(saved, weights_only=False)["meta"]["epoch"]
    assert epoch >= 1

    log = run_tool(
        *("train.py", config, "--resume", "--auto-scale-lr"),
        *("--cfg-options", f"train_cfg.max_epochs={epoch + 1}"),
        cwd=tmp_path,
    )
    assert f"--resume: continuing from work_dirs/det/{saved.name}" in log
    lines = [line for line in scalars(work_dir) if "lr" in line]
    assert [line["iter"] for line in lines] == [2 * epoch + 1, 2 * epoch + 2]
    last = work_dir / f"epoch_{epoch + 1}.pth"
    assert torch.load(last, weights_only=False)["meta"]["iter"] == 2 * epoch + 2

    log = run_tool("test.py", config, last, "--out", "out.pkl", "--show-dir", "drawn", cwd=tmp_path)
    assert "coco/bbox_mAP_50" in log
    predictions = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert [one["img_id"] for one in predictions] == [1, 2]
    assert len(list(work_dir.glob("*/drawn/*.jpg"))) == 2


@pytest.mark.slow
def test_classifier_in_mixed_precision(tmp_path, imagenet):
    config = classifier_config(tmp_path / "cls.py", imagenet)
    start = tmp_path / "start.pth"
    torch.save({"state_dict": build_model(load_config(str(config))).state_dict()}, start)
    log = run_tool(  # with --resume, as in a job that is started again after an interruption
        *("train.py", config, "--amp", "--work-dir", "here", "--resume", "--cfg-options"),
        *("model.backbone.recursions=0", "train_cfg.max_epochs=1", f"load_from={start}"),
        cwd=tmp_path,
    )
    assert f"Load checkpoint from {start}" in log
    losses = [line["loss"] for line in scalars(tmp_path / "here") if "loss" in line]
    assert len(losses) == 4
    assert all(loss > 0 for loss in losses)
    assert "AmpOptimWrapper" in (tmp_path / "here/cls.py").read_text()
    assert "recursions=0" in (tmp_path / "here/cls.py").read_text()

    log = run_tool(
        *("test.py", config, "here/epoch_1.pth", "--out", "out.json", "--out-item", "metrics"),
        *("--tta", "--cfg-options", "model.backbone.recursions=0"),
        cwd=tmp_path,
    )
    top1 = json.loads((tmp_path / "out.json").read_text())["accuracy/top1"]
    assert f"accuracy/top1: {top1:.4f}" in log


def test_user_errors_are_one_message(tmp_path, coco):
    """All problems at once, exit code 2, no traceback, nothing written."""
    config = detector_config(tmp_path / "det.py", tmp_path / "nowhere")
    log = run_tool(
        *("train.py", config, "--cfg-options"),
        *("model.backbone.type=mmres_plugin.SReResNt", "load_from=gone.pth"),
        cwd=tmp_path,
        code=2,
    )
    assert "Traceback" not in log
    assert f"there is no folder: {tmp_path}/nowhere" in log
    assert "Did you mean 'mmres_plugin.SReResNet'?" in log
    assert f"load_from: there is no checkpoint file {tmp_path}/gone.pth" in log
    assert not (tmp_path / "work_dirs").exists()
    log = run_tool("train.py", config, "--no-checks", cwd=tmp_path, code=1)
    assert "FileNotFoundError" in log


@pytest.mark.parametrize(("item", "allowed"), [("pred", ".pkl"), ("metrics", ".json, .yaml")])
def test_output_is_refused_before_the_evaluation(tmp_path, item, allowed):
    config = classifier_config(tmp_path / "cls.py", tmp_path)
    args = ("test.py", config, "gone.pth", "--out", "x.txt", "--out-item", item)
    log = run_tool(*args, cwd=tmp_path, code=2)
    assert f"--out x.txt: --out-item {item} writes {allowed}" in log


def test_wrong_command_lines(tmp_path):
    """Each word of a command that nothing knows is answered with what to write instead."""
    for args, answer in (
        (["x.py", "--workdir", "y"], "Did you mean '--work-dir'?"),
        (["x.py", "--cfg-options", "model"], "takes key=value pairs"),
        (["x.py", "--cfg-options", "a=1", "--amp", "b=2"], "Settings follow --cfg-options"),
    ):
        log = parse_error(args)
        assert answer in log


def parse_error(args: list[str]) -> str:
    """What the parser says before it ends the program."""
    from contextlib import redirect_stderr
    from io import StringIO

    from mmres_plugin.engine.runner import Parser

    parser = Parser("A tool")
    parser.add_argument("--amp", action="store_true")
    parser.add_common_options()
    said = StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as end:
        parser.parse_args(args)
    assert end.value.code == 2
    return said.getvalue()


@pytest.mark.slow
def test_two_processes(tmp_path, coco):
    """dist_train.sh and dist_test.sh, over gloo where there is no GPU."""
    hooks = "custom_hooks = [dict(type='ChannelsLastHook'), dict(type='KeepMemoryHook')]\n"
    config = detector_config(tmp_path / "det.py", coco, hooks)
    ENV["PORT"] = str(helpers.free_port())
    log = run_tool(
        *("dist_train.sh", config, 2, "--auto-scale-lr"),
        *("--cfg-options", "train_cfg.max_epochs=1"),
        cwd=tmp_path,
    )
    assert "current batch size is 4" in log
    assert "Grad strides do not match" not in log  # the layout changed before the wrapping
    lines = [line for line in scalars(tmp_path / "work_dirs/det") if "lr" in line]
    assert [line["iter"] for line in lines] == [1]  # four images, two processes of two
    log = run_tool("dist_test.sh", config, "work_dirs/det/epoch_1.pth", 2, cwd=tmp_path)
    assert "coco/bbox_mAP_50" in log
    log = run_tool("dist_train.sh", tmp_path / "dett.py", 2, cwd=tmp_path, code=1)
    assert log.count("Did you mean") == 1  # the first process speaks for all

    broken = sorted((coco / "val2017").glob("*.jpg"))[-1]  # the share of the second process
    broken.write_bytes(b"")
    log = run_tool("dist_test.sh", config, "work_dirs/det/epoch_1.pth", 2, cwd=tmp_path, code=1)
    assert f"Stopped: the image {broken} cannot be read" in log
