"""A training that takes a fraction of a second: MMEngine's runner, with a model of three layers."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn


class Points(torch.utils.data.Dataset):
    """Eight points with a name each, moved a little each time they are read."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        point = torch.arange(4.0) + index + np.random.rand()
        sample = BaseDataElement(metainfo={"img_path": f"{index}.jpg"})
        return {"inputs": point, "data_samples": sample}


class Toy(BaseModel):
    """Batch norm, dropout and a linear layer; its loss is what they put out, squared."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        out = self.layers(torch.stack(tuple(inputs))).square().mean()
        return {"loss": out} if mode == "loss" else [out]


class Score(BaseMetric):
    """A score that each validation improves."""

    def __init__(self) -> None:
        super().__init__()
        self.score = 0

    def process(self, data_batch, data_samples) -> None:
        self.results.append(0)

    def compute_metrics(self, results) -> dict:
        self.score += 1
        return {"score": self.score}


def validation() -> dict:
    """Settings of :func:`toy_runner` with which it validates after each epoch."""
    sampler = dict(type="DefaultSampler", shuffle=False)
    loader = dict(dataset=Points(), batch_size=4, num_workers=0, sampler=sampler)
    return dict(val_cfg={}, val_dataloader=loader, val_evaluator=[Score()])


def toy_runner(work_dir: Path, *hooks, **settings) -> Runner:
    """A runner of two epochs of four steps on :class:`Points`, with our checkpoint hook.

    Args:
        work_dir: Where it writes.
        *hooks: More hooks.
        **settings: Arguments of :class:`mmengine.runner.Runner` that replace those here, and
            ``checkpoint``, those of the checkpoint hook.
    """
    checkpoint = {"type": "SafeCheckpointHook", "interval": 1, **settings.pop("checkpoint", {})}
    torch.manual_seed(0)
    defaults = dict(
        model=Toy(),
        train_dataloader=dict(
            dataset=Points(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=True),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9)),
        param_scheduler=dict(type="LinearLR", by_epoch=False, start_factor=1.0, end=8),
        default_hooks=dict(checkpoint=checkpoint, logger=dict(type="LoggerHook", interval=1)),
        custom_hooks=list(hooks),
        experiment_name=uuid4().hex,
        randomness=dict(seed=0),
        cfg=ConfigDict(),
    )
    return Runner(work_dir=str(work_dir), **{**defaults, **settings})
