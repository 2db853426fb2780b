"""SIGTERM and Ctrl-C end a training in order, by option after a checkpoint."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from helpers.forked import forkserver
from helpers.toy import Points, toy_runner, validation
from mmengine.hooks import EMAHook, Hook

from mmres_plugin.engine import EndOnSignalHook
from mmres_plugin.engine.runner import user_errors
from mmres_plugin.engine.signals import PatientWorkers, listening
from mmres_plugin.errors import Interrupted
from mmres_plugin.weights import read_checkpoint


class Send(Hook):
    """Sends a signal to this very process at one call of a hook's method."""

    def __init__(self, number: int, method: str, call: int) -> None:
        self.number, self.left = number, call
        setattr(self, method, self.send)

    def send(self, runner, *args, **kwargs) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("save", [True, False])
def test_signal_ends_the_program_in_order(tmp_path, capsys, number, save):
    """The step is finished; the resumed epoch goes on after it, the next checkpoint replaces it."""
    keep = dict(max_keep_ckpts=1)
    hooks = Send(number, "before_train_iter", 6), EndOnSignalHook(save)
    runner = toy_runner(tmp_path, *hooks, checkpoint=keep)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end, user_errors(), listening():
        runner.train()
    assert signal.getsignal(number) is before
    assert end.value.code == 128 + number
    said = capsys.readouterr().err
    last = "epoch_1_iter_6.pth" if save else "epoch_1.pth"
    assert f"Stopped by {number.name} in epoch 2, after 5 iterations." in said
    assert f"The last checkpoint is {tmp_path}/{last}." in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.glob("*.pth")] == [last]
    runner = toy_runner(tmp_path, EndOnSignalHook(), checkpoint=keep, resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 8)
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_2.pth"]


@pytest.mark.parametrize("method", ["before_val_iter", "after_val_iter", "after_val_epoch"])
@pytest.mark.parametrize("average", [True, False])
def test_signal_in_a_validation(tmp_path, method, average):
    """No weights are saved that a hook has lent the model: the resumed training repeats it."""
    ends = []
    for name, hooks in {
        "whole": [],
        "stopped": [Send(signal.SIGTERM, method, 1), EndOnSignalHook(save=True)],
        "again": [],
    }.items():
        folder = tmp_path / ("whole" if name == "whole" else "stopped")
        hooks = [*hooks, *([EMAHook(momentum=0.1)] if average else [])]
        runner = toy_runner(folder, *hooks, resume=name == "again", **validation())
        if name == "stopped":
            with pytest.raises(Interrupted), listening():
                runner.train()
        else:
            runner.train()
            ends.append(read_checkpoint(folder / "epoch_2.pth")["state_dict"])
    assert [key for key, one in ends[0].items() if not torch.equal(one, ends[1][key])] == []


class Nothing(Exception):
    pass


def test_signal_before_the_training(capsys):
    """At once; also where other code catches everything and raises something else."""

    def careless() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(9)
        except BaseException as error:
            raise Nothing from error

    with pytest.raises(SystemExit) as end, user_errors(), listening():
        careless()
    assert end.value.code == 143
    assert "Stopped by SIGTERM." in capsys.readouterr().err


def train_with_two_signals(folder: Path) -> None:
    with listening():
        sends = [Send(signal.SIGINT, "before_train_iter", n) for n in (2, 2)]
        toy_runner(folder, *sends, EndOnSignalHook(save=True)).train()


def test_second_signal_does_not_wait(tmp_path):
    process = forkserver().Process(target=train_with_two_signals, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 130
    assert not list(tmp_path.glob("*.pth"))


class Signals(Points):
    """Of which a worker sends SIGTERM to the training alone or to all processes at number 5."""

    def __init__(self, to_all: bool) -> None:
        self.to_all = to_all

    def __getitem__(self, index: int) -> dict:
        if index == 5:
            (os.killpg if self.to_all else os.kill)(os.getpgid(0), signal.SIGTERM)
        return super().__getitem__(index)


def train_with_workers(folder: Path, to_all: bool) -> None:
    os.setsid()
    sampler = dict(type="DefaultSampler", shuffle=False)
    loader = dict(dataset=Signals(to_all), batch_size=4, num_workers=2, sampler=sampler)
    loader["persistent_workers"] = True
    with user_errors(), listening():
        hooks = PatientWorkers(), EndOnSignalHook(save=True)
        toy_runner(folder, *hooks, train_dataloader=loader).train()


@pytest.mark.parametrize("to_all", [True, False])
def test_workers_live_until_the_training_has_saved(tmp_path, to_all):
    """Clusters and Ctrl-C send a signal to all processes. The workers end with the training."""
    process = forkserver().Process(target=train_with_workers, args=(tmp_path, to_all))
    process.start()
    process.join(60)
    assert process.exitcode == 143
    assert list(tmp_path.glob("epoch_0_iter_?.pth"))


class EndChild(Hook):
    """Starts a sleeping child in a step and ends it by SIGTERM, as pools do."""

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        with multiprocessing.get_context("fork").Pool(2) as pool:  # whose exit terminates them
            pool.map(abs, [1])
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(20)
        self.code = child.exitcode


def test_children_end_as_they_would_without_us(tmp_path):
    hook = EndChild()
    with listening():
        toy_runner(
            tmp_path, hook, EndOnSignalHook(), train_cfg=dict(by_epoch=False, max_iters=2)
        ).train()
    assert hook.code == -signal.SIGTERM
