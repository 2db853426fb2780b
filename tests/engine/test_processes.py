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
    """What ``function(*args)`` returns in each of two processes of a group."""
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
        answer = function(*args)
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


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def answers(home) -> dict[str, list]:
    """What each function of :data:`ALL` says in each of two processes of a group."""
    both = in_two_processes(everything, home)
    assert all(isinstance(one, dict) for one in both), both
    return {name: [one[name] for one in both] for name in both[0]}


def logged_losses(work_dir: Path):
    own, averaged = Losses(1), Losses(100)
    distributed(work_dir, own, AverageLossHook(), averaged).train()
    return own.losses, averaged.losses


def test_logged_loss_is_the_average(answers):
    (own, averaged), (other, averaged_there) = answers["logged_losses"]
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


def broken_training(work_dir: Path) -> str:
    loader = dict(
        dataset=BrokenPoints(),
        batch_size=2,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
    )
    hooks = FiniteHook(), AverageLossHook()
    with pytest.raises(UserError) as error:
        distributed(work_dir, *hooks, train_dataloader=loader).train()
    return str(error.value)


def test_processes_end_together(answers):
    """The second process met the image; both stop at that step, and both name it."""
    said = answers["broken_training"]
    assert said[0] == said[1]
    assert "iteration 2 (loss nan, learning rate 0.01, images: 5.jpg, 7.jpg)" in said[0]


def resumed_training(folder: Path):
    """The weights at the end of a training, and of one that continues from its first epoch.

    Statistics of norms are those of each process, and a checkpoint has those of the first.
    """
    states = []
    for name, more in (("whole", {}), ("again", dict(load_from=f"{folder}/whole/epoch_1.pth"))):
        seeds = dict(seed=0, diff_rank_seed=True)
        runner = distributed(folder / name, resume=bool(more), randomness=seeds, **more)
        runner.train()
        state = dict(runner.model.named_parameters()) if runner.rank else runner.model.state_dict()
        states.append({key: tensor.tolist() for key, tensor in state.items()})
    return states


def everything(home: Path) -> dict:
    return {one.__name__: one(home / one.__name__) for one in ALL}


ALL = (logged_losses, resumed_training, broken_training)


def test_random_states_of_all_processes(answers, home):
    """Dropout differs between the processes, and the resumed training repeats it in each."""
    for whole, again in answers["resumed_training"]:
        assert whole == again
    path = home / "resumed_training/whole/epoch_1.pth"
    states = read_checkpoint(path)["random_states"]
    assert len(states) == 2
    assert states[0]["numpy"] != states[1]["numpy"]
