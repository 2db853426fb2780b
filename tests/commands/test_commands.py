"""``mmres train`` and ``mmres test`` as a user runs them, on tiny data of the real layouts."""

import json
import os
import pickle
import sys
from pathlib import Path

import helpers
import pytest
import torch
from helpers import ROOT, call, complete, run
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet

from mmres_plugin.config import build_model, load_config
from mmres_plugin.errors import UserError


def scalars(work_dir: Path) -> list[dict]:
    """What the newest run in ``work_dir`` logged, in order."""
    newest = max(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in newest.read_text().splitlines()]


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    return make_coco(tmp_path_factory.mktemp("data") / "coco")


@pytest.mark.slow
def test_detector(tmp_path, coco):
    """Trained by the script, tested by the command: predictions and pictures."""
    config = detector_config(tmp_path / "det.py", coco, "auto_scale_lr = dict(enable=False)\n")
    options = ("--auto-scale-lr", "--cfg-options", "train_cfg.max_epochs=1")
    run(ROOT / "tools/train.py", config, *options, cwd=tmp_path)
    lines = [line for line in scalars(tmp_path / "work_dirs/det") if "lr" in line]
    # Base batch size 16, two images per step: an eighth of 0.02 at the end of the warm-up, which
    # starts at a thousandth of it.
    assert lines[0]["lr"] == pytest.approx(0.02 * 2 / 16 * 0.001)
    last = "work_dirs/det/epoch_1.pth"
    log = run(
        "mmres", "test", config, last, "--out", "out.pkl", "--show-dir", "drawn", cwd=tmp_path
    )
    assert "coco/bbox_mAP_50" in log
    predictions = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert [one["img_id"] for one in predictions] == [1, 2]
    assert len(list((tmp_path / "work_dirs/det").glob("*/drawn/*.jpg"))) == 2


@pytest.mark.slow
def test_classifier_in_mixed_precision(tmp_path):
    config = classifier_config(tmp_path / "cls.py", make_imagenet(tmp_path / "imagenet"))
    start = tmp_path / "start.pth"
    torch.save({"state_dict": build_model(load_config(str(config))).state_dict()}, start)
    options = ("model.backbone.recursions=0", "train_cfg.max_epochs=1", f"load_from={start}")
    # With --resume, as in a job that is started again after an interruption.
    words = ("--amp", "--work-dir", "here", "--resume", "--cfg-options", *options)
    log = run("mmres", "train", config, *words, cwd=tmp_path)
    assert f"Load checkpoint from {start}" in log
    losses = [line["loss"] for line in scalars(tmp_path / "here") if "loss" in line]
    assert len(losses) == 4 and all(loss > 0 for loss in losses)
    written = (tmp_path / "here/cls.py").read_text()
    assert "AmpOptimWrapper" in written and "recursions=0" in written
    words = ("--out", "out.json", "--out-item", "metrics", "--tta", "--cfg-options", options[0])
    log = run("mmres", "test", config, "here/epoch_1.pth", *words, cwd=tmp_path)
    top1 = json.loads((tmp_path / "out.json").read_text())["accuracy/top1"]
    assert f"accuracy/top1: {top1:.4f}" in log


def test_user_errors_are_one_message(tmp_path):
    """All problems at once, exit code 2, no traceback, nothing written."""
    config = detector_config(tmp_path / "det.py", tmp_path / "nowhere")
    options = ("model.backbone.type=mmres_plugin.SReResNt", "load_from=gone.pth")
    log = run("mmres", "train", config, "--cfg-options", *options, cwd=tmp_path, code=2)
    assert "Traceback" not in log
    assert f"there is no folder: {tmp_path}/nowhere" in log
    assert "Did you mean 'mmres_plugin.SReResNet'?" in log
    assert f"load_from: there is no checkpoint file {tmp_path}/gone.pth" in log
    assert not (tmp_path / "work_dirs").exists()


@pytest.mark.parametrize(("item", "allowed"), [("pred", ".pkl"), ("metrics", ".json, .yaml")])
def test_output_is_refused_before_the_evaluation(tmp_path, item, allowed):
    config = classifier_config(tmp_path / "cls.py", tmp_path)
    words = ("gone.pth", "--out", "x.txt", "--out-item", item)
    with pytest.raises(UserError, match=f"--out x.txt: --out-item {item} writes {allowed}"):
        call("test", config, *words)


@pytest.mark.slow
def test_two_processes(tmp_path, coco):
    """dist_train.sh and dist_test.sh, over gloo where there is no GPU."""
    hooks = "custom_hooks = [dict(type='ChannelsLastHook')]\n"
    config = detector_config(tmp_path / "det.py", coco, hooks)
    env = {**helpers.ENV, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable}
    env["PORT"] = str(helpers.free_port())

    def shell(name: str, *words: object, code: int = 0) -> str:
        done = complete(ROOT / "tools" / name, *words, cwd=tmp_path, env=env, timeout=280)
        assert done.returncode == code, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr

    options = ("--auto-scale-lr", "--cfg-options", "train_cfg.max_epochs=1")
    log = shell("dist_train.sh", config, 2, *options)
    assert "current batch size is 4" in log
    assert "Grad strides do not match" not in log  # the layout changed before the wrapping
    lines = [line for line in scalars(tmp_path / "work_dirs/det") if "lr" in line]
    assert [line["iter"] for line in lines] == [1]  # four images, two processes of two
    assert "coco/bbox_mAP_50" in shell("dist_test.sh", config, "work_dirs/det/epoch_1.pth", 2)
    log = shell("dist_train.sh", tmp_path / "dett.py", 2, code=1)
    assert log.count("Did you mean") == 1  # the first process speaks for all

    broken = sorted((coco / "val2017").glob("*.jpg"))[-1]  # the share of the second process
    os.truncate(broken, 0)
    log = shell("dist_test.sh", config, "work_dirs/det/epoch_1.pth", 2, code=1)
    assert f"the image {broken} cannot be read" in log
