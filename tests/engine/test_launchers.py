"""Jobs of several processes that torchrun starts, with tools/dist_train.sh as users call it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import ENV, ROOT, free_port, run
from helpers.configs import classifier_config
from helpers.data import make_imagenet

from mmres_plugin.weights import read_checkpoint

LAUNCHER = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
# Nothing is drawn at random, and norms look at one image: then it does not matter to how many
# processes the images of a batch are dealt out.
PLAIN = """
model.update(backbone=dict(type='mmres_plugin.SReResNet', base_channels=8, stem_channels=8,
                           norm_cfg=dict(type='GN', num_groups=4)),
             head=dict(in_channels=64, num_classes=2, topk=(1,)))
val_evaluator = dict(topk=(1,))
train_dataloader.update(sampler=dict(shuffle=False))
train_dataloader['dataset']['pipeline'] = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A classifier's config, for data that lie beside it."""
    home = tmp_path_factory.mktemp("home")
    return classifier_config(home / "cls.py", make_imagenet(home / "imagenet"), PLAIN)


def job(config: Path, processes: int, log: Path, *options: object, **settings: object):
    """Start the processes of one machine of a job."""
    with log.open("w") as output:
        return subprocess.Popen(
            ["bash", ROOT / "tools/dist_train.sh", config, str(processes), *map(str, options)],
            env={**ENV, **LAUNCHER, **{name: str(value) for name, value in settings.items()}},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@pytest.mark.slow
def test_two_machines(config, tmp_path):
    """Two launchers find each other; the weights are those of one process with as many images."""
    where = dict(NNODES=2, PORT=free_port())
    options = ["--work-dir", tmp_path / "two"]
    machines = [
        job(config, 1, tmp_path / f"{rank}.log", *options, **where, NODE_RANK=rank)
        for rank in (0, 1)
    ]
    for rank, machine in enumerate(machines):
        assert machine.wait(300) == 0, (tmp_path / f"{rank}.log").read_text()[-4000:]
    options = ["--work-dir", tmp_path / "one", "--cfg-options", "train_dataloader.batch_size=4"]
    run("mmres", "train", config, *options)
    one, two = (
        read_checkpoint(tmp_path / name / "epoch_2.pth")["state_dict"] for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=0, atol=4e-6, msg=key)
