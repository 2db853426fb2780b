"""The screen of a training or a check shows just that; the log file has everything."""

import sys

import pytest
from helpers import ENV, ROOT, run
from helpers.configs import detector_config
from helpers.data import make_coco

EXTRA = """
import warnings as _warnings
_warnings.warn('of my own')
del _warnings
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=15, val_interval=15)
train_dataloader.update(sampler=dict(_delete_=True, type='InfiniteSampler'), batch_sampler=None)
log_processor = dict(by_epoch=False)
model['backbone'].update(base_channels=8, stem_channels=8)
model['neck'].update(in_channels=[16, 32, 64])
"""


@pytest.mark.slow
def test_screen_of_fifteen_steps(tmp_path):
    """Fewer than 120 lines, a warning of one's own among them."""
    config = detector_config(tmp_path / "det.py", make_coco(tmp_path / "coco"), EXTRA)
    tool = ROOT / "tools/train.py"  # a process of its own, in which nothing has been imported
    said = run(tool, config, "--work-dir", tmp_path / "work", env=ENV)
    assert "15/15]" in said
    assert "of my own" in said
    assert len(said.splitlines()) < 120, said
    checked = run(sys.executable, "-m", "mmres_plugin", "check", config, env=ENV)
    assert "No faults." in checked
    words = ("export", config, "none", tmp_path / "a.onnx", "--size", 64, 96)
    exported = run(sys.executable, "-m", "mmres_plugin", *words, env=ENV)
    assert "detections agree" in exported
    noise = ("OneDL", "faster_coco_eval", "FileClient", "meshgrid", "treespec", "System env")
    assert not [text for text in noise if text in said + checked + exported]
    log = next(tmp_path.glob("work/*/*.log")).read_text()
    assert all(text in log for text in ("Config:", "System environment:", "Hooks will be executed"))
