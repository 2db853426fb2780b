"""SIGTERM and Ctrl-C end a training in order, by option after a checkpoint."""

import os
import signal

import pytest
from helpers.toy import toy_runner, validation
from mmengine.hooks import Hook

from mmres_plugin.engine import EndOnSignalHook
from mmres_plugin.engine.runner import user_errors
from mmres_plugin.errors import Interrupted
from mmres_plugin.weights import read_checkpoint


@pytest.fixture(autouse=True)
def own_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Send(Hook):
    """Sends a signal to this very process in one step."""

    def __init__(self, number: int, iteration: int, times: int = 1) -> None:
        self.number, self.iteration, self.times = number, iteration, times

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == self.iteration:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_program_in_order(tmp_path, capsys, number):
    runner = toy_runner(tmp_path, Send(number, 5), EndOnSignalHook())
    with pytest.raises(SystemExit) as end, user_errors():
        runner.train()
    assert end.value.code == 128 + number
    assert runner.iter == 5
    said = capsys.readouterr().err
    assert f"Stopped by {number.name} in epoch 2, after 5 iterations." in said
    assert f"The last checkpoint is {tmp_path}/epoch_1.pth." in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch_1.pth"]


def test_saved_before_the_end(tmp_path):
    """The step is finished; the resumed epoch goes on after it, the next checkpoint replaces it."""
    keep = dict(max_keep_ckpts=1)
    hooks = Send(signal.SIGTERM, 5), EndOnSignalHook(save=True)
    with pytest.raises(Interrupted, match=r"epoch_1_iter_6\.pth"):
        toy_runner(tmp_path, *hooks, checkpoint=keep).train()
    assert read_checkpoint(tmp_path / "epoch_1_iter_6.pth")["meta"]["iter"] == 6
    runner = toy_runner(tmp_path, EndOnSignalHook(save=True), checkpoint=keep, resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 8)
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch_2.pth"]


def test_signal_in_a_validation(tmp_path):
    """The random states are those of the training, which a validation does not change."""

    class SendInValidation(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
            if batch_idx == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        toy_runner(tmp_path, SendInValidation(), EndOnSignalHook(save=True), **validation()).train()
    states = [
        read_checkpoint(tmp_path / f"{name}.pth")["random_states"][0]["numpy"]
        for name in ("epoch_1", "epoch_1_iter_4")
    ]
    assert states[0] == states[1]


def test_second_signal_does_not_wait(tmp_path):
    hooks = Send(signal.SIGINT, 2, times=2), EndOnSignalHook(save=True)
    with pytest.raises(Interrupted, match="No checkpoint was saved yet"):
        toy_runner(tmp_path, *hooks).train()


def test_signals_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    toy_runner(tmp_path, EndOnSignalHook()).train()
    assert signal.getsignal(signal.SIGTERM) is before
