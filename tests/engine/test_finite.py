"""Losses and gradients that are not finite end the training, and no weight changes."""

import pytest
import torch
from helpers.toy import Toy, toy_runner
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from mmres_plugin.engine import FiniteHook
from mmres_plugin.engine.finite import SKIPS
from mmres_plugin.engine.runner import register_guards
from mmres_plugin.errors import UserError


class BreakInput(Hook):
    """Puts NaN into the images of one iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.iteration:
            data_batch["inputs"][0][:] = float("nan")
            self.images = [sample.img_path for sample in data_batch["data_samples"]]


class BreakGradient(Toy):
    """A finite loss whose gradient is not: that of a root, at zero."""

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return {"loss": (self.layers[2].bias * 0).sum().sqrt() + 1}


def test_message_has_all_that_one_looks_for(tmp_path):
    """The weights are those of before, and the checkpoint of before is the last."""
    broken = BreakInput(5)
    runner = toy_runner(tmp_path, broken, FiniteHook())
    with pytest.raises(UserError) as error:
        runner.train()
    said = str(error.value)
    assert "not finite in iteration 6 (loss nan, learning rate 0.01, images: " in said
    assert ", ".join(broken.images) in said
    whole = toy_runner(tmp_path / "whole", train_cfg=dict(by_epoch=False, max_iters=5))
    whole.train()
    for (name, one), other in zip(
        whole.model.named_parameters(), runner.model.parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    assert (tmp_path / "epoch_1.pth").exists() and not (tmp_path / "epoch_2.pth").exists()


@pytest.mark.parametrize("where", [4, 5])
def test_one_of_several_batches_of_a_step(tmp_path, where):
    broken = BreakInput(where)
    wrapper = dict(optimizer=dict(type="SGD", lr=0.01), accumulative_counts=2)
    runner = toy_runner(tmp_path, broken, FiniteHook(), optim_wrapper=wrapper)
    with pytest.raises(UserError) as error:
        runner.train()
    assert f"images: {', '.join(broken.images)})" in str(error.value)


@pytest.mark.parametrize("clip", [None, dict(max_norm=1, error_if_nonfinite=True)])
def test_gradients_count(tmp_path, clip):
    wrapper = dict(optimizer=dict(type="SGD", lr=0.01), clip_grad=clip)
    runner = toy_runner(tmp_path, FiniteHook(), model=BreakGradient(), optim_wrapper=wrapper)
    with pytest.raises(UserError, match=r"not finite in iteration 1 \(loss 1.0"):
        runner.train()


@pytest.mark.parametrize("forever", [True, False])
def test_loss_scaling_decides_for_itself(tmp_path, forever):
    """A scaler leaves a step out and goes on; if it does so for ever, the training ends."""

    class Scaled(OptimWrapper):
        loss_scaler = "a scaler"
        skipped = 0

        def step(self, **kwargs) -> None:
            self.skipped += 1
            if self.skipped % 3 == 0 and not forever:
                self.optimizer.step()

    model = Toy()
    wrapper = Scaled(torch.optim.SGD(model.parameters(), lr=0.001))
    loop = dict(by_epoch=True, max_epochs=10)
    runner = toy_runner(tmp_path, FiniteHook(), model=model, optim_wrapper=wrapper, train_cfg=loop)
    if not forever:
        return runner.train()
    with pytest.raises(UserError, match=f"the loss scaler has left out {SKIPS} steps in a row"):
        runner.train()
    assert wrapper.skipped == SKIPS


def test_hook_of_the_config_wins(tmp_path):
    hook = FiniteHook()
    runner = toy_runner(tmp_path, hook)
    register_guards(runner, [FiniteHook()])
    assert [one for one in runner.hooks if isinstance(one, FiniteHook)] == [hook]
