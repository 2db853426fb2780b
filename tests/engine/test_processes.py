"""Several processes over gloo: what they agree on, and what a resumed training needs of each."""

import os
import traceback
from pathlib import Path

import pytest
import torch
from helpers import free_port
from helpers.forked import forkserver
from helpers.toy import Points, toy_runner
from mmengine.hooks import Hook

from mmres_plugin.engine import AverageLossHook, FiniteHook
from mmres_plugin.errors import UserError
from mmres_plugin.weights import read_checkpoint


def in_two_processes(function, *args) -> list:
    """What ``function(rank, *args)`` returns in each of two processes of a group."""
    context = forkserver()
    port = free_port()
    results = context.SimpleQueue()
    processes = [
        context.Process(target=_process, args=(rank, port, results, function, args))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    answers = dict(results.get() for _ in processes)
    for process in processes:
        process.join(60)
    return [answers[0], answers[1]]


def _process(rank: int, port: int, results, function, args) -> None:
    numbers = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_PORT=port)
    os.environ.update({name: str(number) for name, number in numbers.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    torch.distributed.init_process_group("gloo")
    try:
        answer = function(rank, *args)
    except UserError as error:
        answer = str(error)
    except Exception:
        answer = traceback.format_exc()
    results.put((rank, answer))
    os._exit(0)  # see end_process


class Losses(Hook):
    """Keeps the loss of each step, as a hook of this priority sees it."""

    def __init__(self, priority: int) -> None:
        self.priority, self.losses = priority, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append(outputs["loss"].item())


def distributed(work_dir: Path, *hooks, **settings):
    """The toy runner in this process of the group, on the CPU."""
    wrapper = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
    return toy_runner(
        work_dir, *hooks, launcher="pytorch", cfg=dict(model_wrapper_cfg=wrapper), **settings
    )


def logged_losses(rank: int, work_dir: Path):
    own, averaged = Losses(1), Losses(100)
    distributed(work_dir, own, AverageLossHook(), averaged).train()
    return own.losses, averaged.losses


def test_logged_loss_is_the_average(tmp_path):
    (own, averaged), (other, averaged_there) = in_two_processes(logged_losses, tmp_path)
    assert own != other
    assert averaged == averaged_there
    assert averaged == pytest.approx([(a + b) / 2 for a, b in zip(own, other, strict=True)])


class BrokenPoints(Points):
    """Of which number 5 has a value that is not finite."""

    def __getitem__(self, index: int) -> dict:
        item = super().__getitem__(index)
        if index == 5:
            item["inputs"][0] = float("inf")
        return item


def broken_training(rank: int, work_dir: Path):
    loader = dict(
        dataset=BrokenPoints(),
        batch_size=2,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
    )
    hooks = FiniteHook(), AverageLossHook()
    distributed(work_dir, *hooks, train_dataloader=loader).train()


def test_processes_end_together(tmp_path):
    """The second process met the image; both stop at that step, and both name it."""
    said = in_two_processes(broken_training, tmp_path)
    assert said[0] == said[1]
    assert "iteration 2 (loss nan, learning rate 0.01, images: 5.jpg, 7.jpg)" in said[0]


def resumed_training(rank: int, folder: Path):
    """The weights at the end of a training, and of one that continues from its first epoch.

    Statistics of norms are those of each process, and a checkpoint has those of the first.
    """
    states = []
    for name, more in (("whole", {}), ("again", dict(load_from=f"{folder}/whole/epoch_1.pth"))):
        seeds = dict(seed=0, diff_rank_seed=True)
        runner = distributed(folder / name, resume=bool(more), randomness=seeds, **more)
        runner.train()
        state = dict(runner.model.named_parameters()) if rank else runner.model.state_dict()
        states.append({key: tensor.tolist() for key, tensor in state.items()})
    return states


def test_random_states_of_all_processes(tmp_path):
    """Dropout differs between the processes, and the resumed training repeats it in each."""
    for whole, again in in_two_processes(resumed_training, tmp_path):
        assert whole == again
    states = read_checkpoint(tmp_path / "whole/epoch_1.pth")["random_states"]
    assert len(states) == 2
    assert states[0]["numpy"] != states[1]["numpy"]
