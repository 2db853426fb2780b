"""The newest whole checkpoint is found; what a resumed training does not follow is said."""

import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from helpers.toy import toy_runner, validation
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook

from mmres_plugin.engine import resume
from mmres_plugin.engine.resume import (
    checkpoint_folders,
    latest_checkpoint,
    refuse_to_overwrite,
    settings,
)
from mmres_plugin.errors import UserError
from mmres_plugin.weights import read_checkpoint


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What is logged about the checkpoint."""
    lines = []
    monkeypatch.setattr(resume, "print_log", lambda text, **kwargs: lines.append(text))
    return lines


# Which checkpoint


NO_FILES = {
    "folder": Path.mkdir,
    "FIFO": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
}
CONTENTS = [None, b"", b"\xff\xfe\x00", b"\x00", b"/old/epoch_2.pth", b"x" * 9999, b"epoch_9.pth"]


@pytest.mark.parametrize("content", [*CONTENTS, *NO_FILES])
def test_pointer_is_only_a_hint(copy, content):
    pointer = copy / "last_checkpoint"
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"  # it names the file that was copied
    pointer.unlink()
    (copy / "latest.pth").symlink_to("gone.pth")
    os.mkfifo(copy / "pipe.pth")
    if content in NO_FILES:
        NO_FILES[content](pointer)
    elif content is not None:
        pointer.write_bytes(content)
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"
    if content in NO_FILES:
        with pytest.raises(UserError, match="last_checkpoint is not a file"):
            toy_runner(copy).train()


def test_folder_of_the_config(copy, tmp_path):
    """Checkpoints in ``out_dir`` are found, and those of another training not overwritten."""
    out = tmp_path / "out" / "run"
    shutil.move(copy, out)
    hook = dict(type="CheckpointHook", out_dir=str(tmp_path / "out"))
    cfg = Config(dict(work_dir=str(tmp_path / "new/run"), default_hooks=dict(checkpoint=hook)))
    folders = checkpoint_folders(cfg)
    assert folders == [tmp_path / "new/run", out]
    assert latest_checkpoint(*folders) == out / "epoch_2.pth"
    with pytest.raises(UserError, match=f"{out} has checkpoints of another training"):
        refuse_to_overwrite(cfg)
    cfg.resume = True
    refuse_to_overwrite(cfg)
    cfg.default_hooks.checkpoint.out_dir = os.path.relpath(tmp_path / "new")  # the same folder
    assert checkpoint_folders(cfg) == [tmp_path / "new/run"]


def test_pointer_is_behind(copy):
    """A kill came after the second epoch was saved and before it was named; or it is older."""
    (copy / "last_checkpoint").write_text("epoch_1.pth")
    os.utime(copy / "epoch_2.pth", (time.time() + 1,) * 2)
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"
    os.utime(copy / "epoch_2.pth", (time.time() - 100,) * 2)
    assert latest_checkpoint(copy) == copy / "epoch_1.pth"


def test_damaged_ones_are_passed_over(copy, said):
    newest = copy / "epoch_2.pth"
    newest.write_bytes(newest.read_bytes()[:-500])
    assert latest_checkpoint(copy) == copy / "epoch_1.pth"
    assert f"passed over, {newest} is not a checkpoint, or is damaged" in said[0]
    assert said[1] == f"--resume: continuing from {copy}/epoch_1.pth"


def test_nothing_whole_is_never_written_over(copy):
    torch.save({"state_dict": {"a": torch.ones(1)}}, copy / "epoch_1.pth")
    torch.save({**read_checkpoint(copy / "epoch_2.pth"), "meta": []}, copy / "epoch_3.pth")
    (copy / "epoch_2.pth").write_bytes(b"")
    with pytest.raises(UserError) as error:
        latest_checkpoint(copy)
    assert "epoch_2.pth is empty" in str(error.value)
    for name in ("epoch_1.pth", "epoch_3.pth"):
        assert f"{name} holds weights but not the state of a training" in str(error.value)
    assert "choose another --work-dir" in str(error.value)


# What is kept and what is new

OLD = """
model = dict(type='Toy', scale=__import__('os').sep)
optim_wrapper = dict(optimizer=dict(lr=0.01, type='SGD'))
train_cfg = dict(by_epoch=True, max_epochs=2)
train_dataloader = dict(batch_size=2)
"""


def test_settings_are_read_and_not_run():
    assert settings(OLD)["train_dataloader"] == "dict(batch_size=2)"
    for text in (None, "", "not python", "x = " + "(" * 9999, "x = " + "-" * 99999 + "1", 7 * "{"):
        assert settings(text) == {}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lr=0.01", "lr=0.02", "optim_wrapper was dict(optimizer=dict(lr=0.01, type='SGD'))"),
        ("max_epochs=2", "max_epochs=9", None),  # is done
        ("", "param_scheduler = []\n", "param_scheduler was None. Optimizer and schedulers keep"),
        ("", "", None),
    ],
)
def test_other_settings_are_said(copy, said, old, new, says):
    content = read_checkpoint(copy / "epoch_2.pth")
    content["meta"]["cfg"] = OLD
    cfg = Config.fromstring(OLD.replace(old, new) if old else OLD + new, ".py")
    runner = toy_runner(copy)
    runner.cfg = cfg
    resume.compare_settings(content, runner)
    assert len(said) == (says is not None)
    assert says is None or says in said[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(optimizer=dict(type="Adam", lr=0.01)), "another optimizer (it has no betas)"),
        (
            dict(
                optimizer=dict(type="SGD", lr=0.01, momentum=0.9),
                paramwise_cfg=dict(custom_keys={"layers.2": dict(lr_mult=0.1)}),
            ),
            "parameters in groups of [4], the config's are [1, 1",
        ),
    ],
)
def test_what_cannot_go_on_is_refused(copy, settings, words):
    runner = toy_runner(copy, resume=True, optim_wrapper=settings)
    with pytest.raises(UserError) as error:
        runner.train()
    assert words in str(error.value)
    assert "load_from, without --resume" in str(error.value)


def test_removed_average_is_said(tmp_path, said):
    toy_runner(tmp_path, EMAHook()).train()
    toy_runner(tmp_path, resume=True).train()
    assert "--resume: without EMAHook, training goes on from the averaged weights" in said


# State of hooks


@pytest.mark.parametrize("stop_at", [1, 3])
def test_early_stopping_goes_on(tmp_path, stop_at):
    """Stopped after four epochs, also when the training is resumed in between or afterwards."""

    def train(**more):
        hook = dict(type="EarlyStoppingHook", monitor="score", rule="less", patience=3)
        loop = dict(by_epoch=True, max_epochs=9)
        runner = toy_runner(tmp_path, hook, train_cfg=loop, **validation(), **more)
        runner.train()
        return runner.epoch

    assert train() == 4
    assert train(resume=True, load_from=str(tmp_path / f"epoch_{stop_at}.pth")) == 4
    assert train(resume=True) == 4


class Counter(Hook):
    """A hook of somebody's own that counts steps."""

    kept_on_resume = ("steps",)
    steps = 0

    def after_train_iter(self, *args, **kwargs) -> None:
        self.steps += 1


def test_hooks_say_what_they_keep(tmp_path):
    toy_runner(tmp_path, Counter()).train()
    hook = Counter()
    toy_runner(tmp_path, hook, resume=True, load_from=str(tmp_path / "epoch_1.pth")).train()
    assert hook.steps == 8
    hook.kept_on_resume = ("steps", "stepps")
    with pytest.raises(UserError, match=r"kept_on_resume must list attributes, and .* no stepps"):
        toy_runner(tmp_path, hook).train()


def test_validation_after_the_checkpoint_is_repeated(tmp_path, said):
    """Also the last one, when no step is left to train; what it finds is as if never stopped."""

    class Stop(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
            if runner.epoch == 2:
                raise KeyboardInterrupt

    best = dict(save_best="score", rule="greater", max_keep_ckpts=1)
    with pytest.raises(KeyboardInterrupt):
        toy_runner(tmp_path, Stop(), checkpoint=best, **validation()).train()
    metric = validation()
    metric["val_evaluator"][0].score = 1
    toy_runner(tmp_path, checkpoint=best, resume=True, **metric).train()
    names = sorted(path.name for path in tmp_path.glob("*.pth"))
    assert names == ["best_score_epoch_2.pth", "epoch_2.pth"]
    said.clear()
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_2.pth"
    assert len(said) == 1  # nothing was passed over, although the best one is newer
