"""The first seconds of a run show its mistakes, in one sentence; what would run is not refused."""

import pytest
import torch
from helpers import call
from helpers.configs import NARROW, classifier_config
from helpers.data import make_imagenet
from helpers.toy import Toy, toy_runner, validation
from mmengine.hooks import EMAHook, Hook

from mmres_plugin.engine.validate_first import ValidateFirst
from mmres_plugin.errors import UserError


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    return make_imagenet(tmp_path_factory.mktemp("home") / "imagenet")


MISTAKES = [
    # extra lines, options, what is said
    ("", "log_level=VERBOSE", "log_level is 'VERBOSE', must be DEBUG, INFO"),
    ("visualizer = dict(vis_backends=[dict(type='WandbVisBackend')])\n", "", "pip install wandb"),
    (
        "visualizer = dict(vis_backends=[dict(type='LocalVisBackend')] * 2)\n",
        "",
        "vis_backend name LocalVisBackend already exists",
    ),
    ("", "optim_wrapper.optimizer.lrr=1", "unexpected keyword argument 'lrr'"),
    ("optim_wrapper = dict(clip_grad=dict(max_nrm=1))\n", "", "in the first step: TypeError"),
    ("", "val_evaluator.topk=(1,5)", "in the first batch of the validation: "),
    (
        "default_hooks = dict(checkpoint=dict(save_best='acuracy/top1', rule='greater'))\n"
        "custom_hooks = [dict(type='EarlyStoppingHook', monitor='top1', strict=True)]\n"
        "param_scheduler = dict(\n"
        "    _delete_=True, type='ReduceOnPlateauLR', monitor='loss', rule='less')\n",
        "",
        "Nothing was started:\n"
        "  - default_hooks.checkpoint.save_best is 'acuracy/top1', which the evaluator does not "
        "compute. Did you mean 'accuracy/top1'? There are: accuracy/top1\n"
        "  - the monitor of EarlyStoppingHook is 'top1', which the evaluator does not compute. "
        "There are: accuracy/top1\n"
        "  - the monitor of ReduceOnPlateauLR is 'loss', which",
    ),
    (
        "train_dataloader.update(batch_size=7)\n",
        "",
        "the last batch of an epoch has one image (8 images in batches of 7), and a batch norm "
        "after maps of one pixel needs two",
    ),
]


@pytest.mark.parametrize(("extra", "option", "says"), MISTAKES)
def test_mistakes_of_a_classifier(imagenet, tmp_path, extra, option, says):
    # MMEngine has one logger and one visualizer for a name of a config and a second.
    config = classifier_config(tmp_path.with_suffix(".py"), imagenet, NARROW + extra)
    options = ["--cfg-options", option] if option else []
    with pytest.raises(UserError) as error:
        call("train", config, "--work-dir", tmp_path, "--no-checks", *options)
    assert says in str(error.value)
    assert not list(tmp_path.glob("*.pth"))


@pytest.mark.parametrize("key", ["train", "val"])
def test_samplers_that_never_end(tmp_path, key):
    settings = validation()
    loader = settings["val_dataloader"] | dict(sampler=dict(type="InfiniteSampler"))
    settings[f"{key}_dataloader"] = loader
    with pytest.raises(UserError, match=f"{key}_dataloader.sampler: InfiniteSampler never ends"):
        toy_runner(tmp_path, ValidateFirst(), **settings).train()


class Watch(Hook):
    """Keeps the state of torch's generator at each step, and ends in the second."""

    def __init__(self) -> None:
        self.states = []

    def before_train_iter(self, *args, **kwargs) -> None:
        self.states.append(torch.get_rng_state())


def test_nothing_else_changes(tmp_path):
    """Random numbers, weights, averages and results of metrics are as without it."""
    ends = []
    for first in ([], [ValidateFirst()]):
        watch, settings = Watch(), validation()
        hooks = [EMAHook(begin_epoch=2), watch, *first]
        runner = toy_runner(tmp_path / str(len(first)), *hooks, **settings)
        runner.train()
        ends.append((runner.model.state_dict(), watch.states))
        assert settings["val_evaluator"][0].score == 2
    for key, one in ends[0][0].items():
        assert torch.equal(one, ends[1][0][key])
    assert all(map(torch.equal, ends[0][1], ends[1][1]))


def test_evaluators_of_others_are_not_asked(tmp_path):
    """They may need all images, so a name that they do not know now is no error."""
    hook = dict(save_best="score", rule="greater")
    toy_runner(tmp_path, ValidateFirst(), checkpoint=hook, **validation()).train()
    assert (tmp_path / "best_score_epoch_2.pth").exists()


class Late(Toy):
    """Fails in its second step."""

    steps = 0

    def forward(self, inputs, data_samples=None, mode="tensor"):
        self.steps += mode == "loss"
        if self.steps == 2:
            raise RuntimeError("a fault of the program")
        return super().forward(inputs, data_samples, mode)


def test_stage_ends_with_the_first_step(tmp_path):
    first = ValidateFirst()
    with pytest.raises(RuntimeError, match="a fault of the program"):
        toy_runner(tmp_path, first, model=Late()).train()
    assert first.stage == ""
