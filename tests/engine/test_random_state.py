"""A resumed training draws the same random numbers, and sees the same images, in the same order."""

import pytest
import torch
from helpers.toy import Points, toy_runner, validation

from mmres_plugin.weights import read_checkpoint

EVERY_THIRD = dict(checkpoint=dict(by_epoch=False, interval=3))
LOOPS = {
    "epochs": {},
    "inside an epoch": EVERY_THIRD,
    "iterations": dict(train_cfg=dict(by_epoch=False, max_iters=8, val_interval=2), **EVERY_THIRD),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [0, None])
def test_resumed_is_uninterrupted(tmp_path, loop, workers, seed):
    """Points, their order and their moves, dropout, and so each tensor at the end are the same."""
    kind = "InfiniteSampler" if loop == "iterations" else "DefaultSampler"
    ends = []
    for folder in ("whole", "again"):
        # Its first checkpoint, as if the later ones were never made.
        saved = min((tmp_path / "whole").glob("*_?.pth"), default=None)
        loader = dict(dataset=Points(), batch_size=2, num_workers=workers)
        loader.update(sampler=dict(type=kind, shuffle=True), persistent_workers=workers > 0)
        runner = toy_runner(
            tmp_path / folder,
            train_dataloader=loader,
            randomness=dict(seed=seed),
            resume=saved is not None,
            load_from=saved and str(saved),
            **LOOPS[loop],
            **validation(),
        )
        runner.train()
        ends.append(runner.model.state_dict())
    assert read_checkpoint(saved)["meta"]["iter"] == (4 if loop == "epochs" else 3)
    assert [key for key, one in ends[0].items() if not torch.equal(one, ends[1][key])] == []
