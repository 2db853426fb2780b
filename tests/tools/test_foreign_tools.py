"""MMDetection's and MMPretrain's own tools on our configs, in processes of their own."""

import sys

import pytest
from helpers import ROOT, run
from helpers.data import make_coco
from mmengine.config import Config

import mmres_plugin
from mmres_plugin.cli import foreign_tools

TOOLS = foreign_tools()
UPSTREAM = "mmengine does not support to load mmres_plugin config"
SMALL = """
model = dict(backbone=dict(depth=18, init_cfg=None, frozen_stages=-1, norm_eval=False,
                           norm_cfg=dict(type='BN', requires_grad=True)),
             neck=dict(in_channels=[64, 128, 256, 512]), test_cfg=dict(score_thr=0.0))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,
                        dataset=dict(data_root={root!r}))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root={root!r}))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={root!r} + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=2)
"""
BY_PATH = '_base_ = __import__("mmres_plugin").config_path("sreresnet/fcos_sreresnet50_1x.py")\n'
BY_NAME = '_base_ = "mmres_plugin::sreresnet/fcos_sreresnet50_1x.py"\n'


def test_paths_of_shipped_configs():
    path = mmres_plugin.config_path("sreresnet/fcos_sreresnet50_1x.py")
    assert Config.fromfile(path).model.type == "FCOS"
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*fcos_sreresnet50_1x\.py"):
        mmres_plugin.config_path("sreresnet/fcos_sreresnet50_1.py")


def test_both_bases_are_the_same_config(tmp_path):
    configs = []
    for name, base in (("path", BY_PATH), ("name", BY_NAME)):
        (tmp_path / f"{name}.py").write_text(base)
        configs.append(Config.fromfile(tmp_path / f"{name}.py").to_dict())
    assert configs[0] == configs[1]


@pytest.mark.slow
def test_training_and_testing_of_mmdetection(tmp_path):
    root = make_coco(tmp_path / "coco", train=2, val=1)
    small = SMALL.format(root=str(root))
    (tmp_path / "by_path.py").write_text(BY_PATH + small)
    (tmp_path / "by_name.py").write_text(BY_NAME + small)
    assert UPSTREAM in run(TOOLS["mmdet/train"], "by_name.py", code=1, cwd=tmp_path)
    scales = ["train_dataloader.dataset.pipeline.2", "test_dataloader.dataset.pipeline.1"]
    options = ["--cfg-options", *(f"{place}.scale=(80,64)" for place in scales)]
    by_name = [sys.executable, "-m", "mmres_plugin", "run", "mmdet/train", "by_name.py"]
    run(TOOLS["mmdet/train"], "by_path.py", *options, cwd=tmp_path)
    run(*by_name, *options, cwd=tmp_path)
    dumped = ["work_dirs/by_name/by_name.py", "--work-dir", "dumped"]
    run(TOOLS["mmdet/train"], *dumped, cwd=tmp_path)
    for folder in ("work_dirs/by_path", "work_dirs/by_name", "dumped"):
        assert (tmp_path / folder / "epoch_1.pth").is_file()
    arguments = ["dumped/by_name.py", "dumped/epoch_1.pth"]
    assert "bbox_mAP" in run(TOOLS["mmdet/test"], *arguments, cwd=tmp_path)
    code = (
        "from mmdet.apis import DetInferencer\n"
        "found = DetInferencer('dumped/by_name.py', 'dumped/epoch_1.pth', 'cpu')('coco/val2017')\n"
        "print(len(found['predictions']), 'predicted')\n"
    )
    assert "1 predicted" in run(sys.executable, "-c", code, cwd=tmp_path)


@pytest.mark.slow
def test_tools_of_mmpretrain(tmp_path):
    """The cost of a shipped config as it is, and of one whose base is a path of ours."""
    shipped = ROOT / "configs/sreresnet/sreresnet18_8xb32_in1k.py"
    size = ["--shape", "64"]
    assert "FLOPs" in run(
        TOOLS["mmpretrain/analysis_tools/get_flops"], shipped, *size, cwd=tmp_path
    )
    (tmp_path / "own.py").write_text(
        '_base_ = __import__("mmres_plugin").config_path("sreresnet/sreresnet18_8xb32_in1k.py")\n'
    )
    assert "FLOPs" in run(
        TOOLS["mmpretrain/analysis_tools/get_flops"], "own.py", *size, cwd=tmp_path
    )
