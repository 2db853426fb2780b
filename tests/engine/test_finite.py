"""Losses and gradients that are not finite: no weight changes, and the training soon ends."""

import pytest
import torch
from helpers.toy import Toy, toy_runner
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from mmres_plugin.engine import FiniteHook
from mmres_plugin.engine.runner import register_guards
from mmres_plugin.errors import UserError
from mmres_plugin.weights import read_checkpoint


class BreakInput(Hook):
    """Puts NaN into the images of some iterations."""

    def __init__(self, *iterations: int) -> None:
        self.iterations = iterations

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter in self.iterations:
            data_batch["inputs"][0][:] = float("nan")
            self.images = [sample.img_path for sample in data_batch["data_samples"]]


class BreakGradient(Toy):
    """A finite loss whose gradient is not: that of a root, at zero."""

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return {"loss": (self.layers[2].bias * 0).sum().sqrt() + 1}


def state(runner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}


def test_training_ends_after_three_steps_in_a_row(tmp_path):
    """The message has all that one looks for; weights and statistics are those of before."""
    broken = BreakInput(5, 6, 7)
    runner = toy_runner(tmp_path, broken, FiniteHook())
    with pytest.raises(UserError) as error:
        runner.train()
    said = str(error.value)
    assert "not finite in iteration 8 (loss nan, learning rate 0.01, images: " in said
    assert ", ".join(broken.images) in said
    assert "3 such steps in a row" in said
    whole = toy_runner(tmp_path / "whole", train_cfg=dict(by_epoch=False, max_iters=5))
    whole.train()
    assert [k for k, t in state(whole).items() if not torch.equal(t, state(runner)[k])] == []
    assert (tmp_path / "epoch_1.pth").exists() and not (tmp_path / "epoch_2.pth").exists()


@pytest.mark.filterwarnings("error:Seems like")  # that a scheduler finds its step replaced
def test_single_steps_are_left_out(tmp_path):
    """Also the last before a checkpoint, and as many as there are if no end is wanted."""
    runner = toy_runner(tmp_path, BreakInput(1, 3, 4, 6, 7), FiniteHook())
    runner.train()
    for tensor in read_checkpoint(tmp_path / "epoch_2.pth")["state_dict"].values():
        assert tensor.isfinite().all()
    assert state(runner)["layers.0.num_batches_tracked"] == 3
    runner = toy_runner(tmp_path, BreakInput(*range(8)), FiniteHook(stop_after=0))
    start = state(runner)
    runner.train()
    assert [k for k, t in start.items() if not torch.equal(t, state(runner)[k])] == []


def test_gradients_count(tmp_path):
    runner = toy_runner(tmp_path, FiniteHook(stop_after=2), model=BreakGradient())
    with pytest.raises(UserError, match=r"not finite in iteration 2 \(loss 1.0"):
        runner.train()


def test_loss_scaling_decides_for_itself(tmp_path):
    """An overflow of scaled gradients is no fault: the scaler leaves the step out and goes on."""

    class Scaled(OptimWrapper):
        loss_scaler = "a scaler"

        def step(self, **kwargs) -> None:
            self.skipped = getattr(self, "skipped", 0) + 1

    wrapper = Scaled(torch.optim.SGD(BreakGradient().parameters(), lr=0.1))
    model = BreakGradient()
    runner = toy_runner(tmp_path, FiniteHook(), model=model, optim_wrapper=wrapper)
    runner.train()
    assert wrapper.skipped == 8


def test_hook_of_the_config_wins(tmp_path):
    runner = toy_runner(tmp_path, FiniteHook(stop_after=9))
    register_guards(runner, [FiniteHook()])
    assert [hook.stop_after for hook in runner.hooks if isinstance(hook, FiniteHook)] == [9]
