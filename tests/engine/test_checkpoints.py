"""Checkpoints are whole and safe from their successors; the newest that is whole is found."""

import builtins
import errno
import os
import re
import resource
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from helpers.toy import toy_runner, validation
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS

from mmres_plugin.engine.resume import latest_checkpoint
from mmres_plugin.engine.storage import WholeFiles, storage_errors
from mmres_plugin.errors import UserError
from mmres_plugin.weights import read_checkpoint

THREE_EPOCHS = dict(by_epoch=True, max_epochs=3)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".py" and p.is_file())


# Writing


def test_order_of_saving(tmp_path, monkeypatch):
    """Save, name, delete: at any moment there is a whole checkpoint, and a name for one."""
    events = []

    def record(module, name, place):
        original = getattr(module, name)

        def function(*args, **kwargs):
            if name != "open" or str(args[0]).endswith("last_checkpoint"):
                events.append(f"{name} {Path(str(args[place])).name}")
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, function)

    record(os, "replace", 1)
    record(os, "remove", 0)
    record(builtins, "open", 0)
    toy_runner(
        tmp_path,
        checkpoint=dict(max_keep_ckpts=1, save_best="score", rule="greater"),
        **validation(),
    ).train()
    assert [event for event in events if event.endswith((".pth", " last_checkpoint"))] == [
        "replace epoch_1.pth",
        "open last_checkpoint",
        "replace best_score_epoch_1.pth",
        "replace epoch_2.pth",
        "open last_checkpoint",
        "remove epoch_1.pth",
        "replace best_score_epoch_2.pth",
        "remove best_score_epoch_1.pth",
    ]
    assert names(tmp_path) == ["best_score_epoch_2.pth", "epoch_2.pth", "last_checkpoint"]
    best = read_checkpoint(tmp_path / "best_score_epoch_2.pth")
    assert not {"random_states", "optimizer"} & best.keys()


def test_file_size_limit(trained, copy):
    """A real limit of the system: the error is one sentence, and nothing that was there is gone."""
    runner = toy_runner(copy, resume=True, train_cfg=THREE_EPOCHS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (copy / "epoch_2.pth").stat().st_size - 1  # the log is smaller
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(UserError, match="ulimit -f") as error:
            runner.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{copy}/epoch_3.pth (0 MB) cannot be written: File too large" in str(error.value)
    assert names(copy) == names(trained)
    assert latest_checkpoint(copy) == copy / "epoch_2.pth"


@pytest.mark.parametrize("number", errno.errorcode)
def test_each_kind_of_storage_error_is_explained(tmp_path, monkeypatch, number):
    """Whatever the disk says about the work dir, or about a file that is written."""
    words = f"cannot be written: {re.escape(os.strerror(number))}"
    with pytest.raises(UserError, match=words), storage_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "x.log"))

    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=words):
        WholeFiles().put(b"content", tmp_path / "epoch_1.pth")
    assert not list(tmp_path.iterdir())


def test_errors_of_other_places_pass(tmp_path):
    for error in (OSError(errno.EIO, "x"), PermissionError(errno.EACCES, "x", "/data/a.json")):
        with pytest.raises(OSError, match="x"), storage_errors(tmp_path):
            raise error


def test_best_checkpoint_of_a_copied_work_dir_is_the_copy(copy):
    """Else the training in the copy would delete the best checkpoint of the original."""
    runner = toy_runner(copy, checkpoint=dict(save_best="score", rule="greater"))
    runner.message_hub.update_info("best_ckpt", "/elsewhere/best_score_epoch_1.pth")
    runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert hook.best_ckpt_path == f"{copy}/best_score_epoch_1.pth"


def test_leftovers_of_a_kill_go(copy):
    """Those of this program, and nothing else."""
    theirs = {".mine.tmp", ".epoch.tmp", "epoch_3.pth.7.tmp", ".notes.7.tmp"}
    for name in {".epoch_3.pth.7.tmp", ".last_checkpoint.31.tmp", *theirs}:
        (copy / name).write_bytes(b"half")
    toy_runner(copy).train()
    assert {path.name for path in copy.glob("*.tmp")} == theirs


# Content


@pytest.mark.parametrize("broken", ["weights", "average", "momentum"])
def test_nothing_that_is_not_finite_is_saved(tmp_path, broken):
    class Break(Hook):
        priority = "LOW"

        def after_train_iter(self, runner, *args, **kwargs) -> None:
            ema = next(hook for hook in runner.hooks if isinstance(hook, EMAHook))
            state = runner.optim_wrapper.optimizer.state
            places = {
                "weights": runner.model.layers[2].bias.data,
                "average": next(ema.ema_model.parameters()).data,
                "momentum": next(iter(state.values()))["momentum_buffer"],
            }
            if runner.iter == 7:
                places[broken][0] = float("inf")

    wrapper = dict(optimizer=dict(type="SGD", lr=0.0, momentum=0.9))
    keep = dict(max_keep_ckpts=1)
    runner = toy_runner(tmp_path, EMAHook(), Break(), optim_wrapper=wrapper, checkpoint=keep)
    with pytest.raises(UserError, match="tensors are not finite after iteration 8"):
        runner.train()
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_1.pth"


def test_metric_that_is_no_number_is_said(tmp_path):
    metric = validation()
    metric["val_evaluator"][0].score = float("nan")
    runner = toy_runner(tmp_path, checkpoint=dict(save_best="score", rule="greater"), **metric)
    runner.train()
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "score is not a number, so no best checkpoint is saved" in log


def test_checkpoint_that_cannot_be_read_back(tmp_path):
    """A part of MMEngine's state that a file may not hold ends the training at its first save."""
    runner = toy_runner(tmp_path)
    runner.message_hub.update_info("mine", Path("x"))
    with pytest.raises(UserError, match=r"first checkpoint cannot be read back.*pathlib"):
        runner.train()


EVERY_SCHEDULER = sorted(name for name in PARAM_SCHEDULERS.module_dict if name.endswith("LR"))
ARGUMENTS = {
    "ConstantLR": dict(factor=0.5, end=4),
    "ExponentialLR": dict(gamma=0.9),
    "MultiStepLR": dict(milestones=[2, 6]),
    "OneCycleLR": dict(eta_max=0.1, total_steps=8),
    "CosineRestartLR": dict(periods=[4, 4], restart_weights=[1, 0.5], eta_min=0.0),
    "PolyLR": dict(power=2),
    "StepLR": dict(step_size=2),
    "ReduceOnPlateauLR": dict(monitor="score", rule="greater", by_epoch=True),
}


OTHERS = {"Optimizer", "SparseAdam", "LBFGS", "Muon"}  # other gradients, or a closure
EVERY_OPTIMIZER = sorted(
    name
    for name, cls in OPTIMIZERS.module_dict.items()
    if cls.__module__.startswith("torch.optim") and name not in OTHERS
)
GOING_ON = [
    *(
        dict(param_scheduler={"type": n, "by_epoch": False, **ARGUMENTS.get(n, {})}, **validation())
        for n in EVERY_SCHEDULER
    ),
    *(dict(optim_wrapper=dict(optimizer=dict(type=n, lr=0.001))) for n in EVERY_OPTIMIZER),
]


@pytest.mark.parametrize("settings", GOING_ON, ids=[*EVERY_SCHEDULER, *EVERY_OPTIMIZER])
def test_schedulers_and_optimizers_go_on(tmp_path, settings):
    """The learning rate and the weights after a resume are those of the uninterrupted training."""
    ends = []
    for more in ({}, dict(resume=True, load_from=str(tmp_path / "epoch_1.pth"))):
        runner = toy_runner(tmp_path, **deepcopy(settings), **more)
        runner.train()
        ends.append((runner.optim_wrapper.get_lr(), runner.model.state_dict()))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(one, ends[1][1][key]) for key, one in ends[0][1].items())
