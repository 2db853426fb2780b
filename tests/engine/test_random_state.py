"""A resumed training draws the same random numbers, and sees the same images, in the same order."""

import pytest
import torch
from helpers.configs import classifier_config
from helpers.data import make_imagenet
from mmengine.hooks import Hook

from mmres_plugin.config import load_config
from mmres_plugin.engine.runner import build_runner
from mmres_plugin.weights import read_checkpoint

SMALL = {
    "model.backbone.drop_path_rate": 0.5,
    "model.backbone.base_channels": 8,
    "model.backbone.stem_channels": 8,
    "model.head": dict(in_channels=64, num_classes=2, topk=(1,)),
    "val_evaluator.topk": (1,),
    "train_dataloader.collate_fn": dict(type="default_collate"),
}
BY_EPOCH = {"train_cfg": dict(by_epoch=True, max_epochs=2, val_interval=1)}
INSIDE_EPOCH = {
    **BY_EPOCH,
    "default_hooks.checkpoint": dict(type="CheckpointHook", by_epoch=False, interval=3),
}
BY_ITERATION = {
    "train_cfg": dict(by_epoch=False, max_iters=6, val_interval=2),
    "train_dataloader.sampler": dict(type="InfiniteSampler", shuffle=True),
    "default_hooks.checkpoint": dict(type="CheckpointHook", by_epoch=False, interval=2),
    "param_scheduler": dict(type="LinearLR", by_epoch=False, end=6),
}


class Watch(Hook):
    """Keeps what the training sees, and the state of torch's generator, of each step."""

    def __init__(self) -> None:
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        names = [sample.img_path for sample in data_batch["data_samples"]]
        self.seen[runner.iter] = (names, data_batch["inputs"], torch.get_rng_state())


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return classifier_config(home / "cls.py", make_imagenet(home / "imagenet"))


def train(config, work_dir, options, **more):
    """Train in ``work_dir``; the model at the end, and what :class:`Watch` has seen."""
    cfg = load_config(str(config), SMALL)
    for key, value in options.items():
        part, _, name = key.rpartition(".")
        (cfg[part] if part else cfg)[name] = value
    cfg.update(work_dir=str(work_dir), launcher="none", visualizer=None, **more)
    cfg.experiment_name = str(work_dir)
    runner = build_runner(cfg)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return runner.model.state_dict(), watch.seen


slow = pytest.mark.slow
CASES = [
    pytest.param(INSIDE_EPOCH, 2, None, id="inside an epoch"),
    pytest.param(BY_ITERATION, 2, 0, id="iterations", marks=slow),
    pytest.param(BY_EPOCH, 2, 0, id="epochs", marks=slow),
    pytest.param(BY_EPOCH, 0, None, id="epochs, no workers", marks=slow),
    pytest.param(BY_ITERATION, 0, None, id="iterations, no workers", marks=slow),
    pytest.param(INSIDE_EPOCH, 0, 0, id="inside an epoch, no workers", marks=slow),
]


@pytest.mark.parametrize(("loop", "workers", "seed"), CASES)
def test_resumed_is_uninterrupted(config, tmp_path, loop, workers, seed):
    """Images, order, crops and drop path are the same, and so is each tensor at the end."""
    options = {
        **loop,
        "train_dataloader.num_workers": workers,
        "train_dataloader.persistent_workers": workers > 0,
        "randomness": dict(seed=seed),
    }
    whole, seen = train(config, tmp_path / "whole", options)
    first = min((tmp_path / "whole").glob("*_?.pth"))  # the others are as if they were never made
    resume = dict(resume=True, load_from=str(first))
    again, seen_again = train(config, tmp_path / "again", options, **resume)
    assert min(seen_again) == read_checkpoint(first)["meta"]["iter"] > 0
    for step, (names, images, state) in seen_again.items():
        assert names == seen[step][0]
        assert torch.equal(images, seen[step][1])
        assert torch.equal(state, seen[step][2])
    assert [name for name, t in whole.items() if not torch.equal(t, again[name])] == []
