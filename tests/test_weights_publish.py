"""Publishing: what a training has written predicts the same in a fresh process."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain import get_model

from mmres_plugin.weights import publish_checkpoint, read_checkpoint
from mmres_plugin.weights.files import sha256

ROOT = Path(__file__).parents[1]
PUBLISH = ROOT / "tools/model_converters/publish_model.py"
PREDICT = """
import sys
import numpy as np
import torch
from mmpretrain import get_model
import mmres_plugin

weights, images, predictions = sys.argv[1:]
torch.set_num_threads(1)
model = get_model('sreresnet18_8xb32_in1k', pretrained=weights, head=dict(num_classes=10))
assert list(model._dataset_meta['classes']) == [str(digit) for digit in range(10)]
with torch.no_grad():
    np.save(predictions, model(torch.from_numpy(np.load(images))).numpy())
"""


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> tuple[Runner, Path]:
    """A few steps on the digits, with averaged weights, and the checkpoint."""
    folder = tmp_path_factory.mktemp("training")
    counts = ["--train-images=1", "--val-images=1", "--train-crops=40", "--val-crops=10"]
    build = [sys.executable, str(ROOT / "tools/datasets/build_digits.py"), *counts]
    subprocess.run([*build, f"--out={folder}/digits"], check=True, capture_output=True)
    cfg = Config.fromfile(ROOT / "configs/digits/sreresnet18_digits.py")
    cfg.work_dir = str(folder / "run")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=10, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(folder / "digits/classification")
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.custom_hooks = [dict(type="EMAHook", momentum=0.5)]
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner, folder / "run/epoch_1.pth"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_round_trip(tmp_path, training, suffix):
    runner, checkpoint = training
    command = [sys.executable, str(PUBLISH), str(checkpoint), str(tmp_path / f"digits{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    [path] = tmp_path.iterdir()
    assert f"wrote {path}" in done.stdout
    assert re.fullmatch(rf"digits-[0-9a-f]{{8}}{suffix}", path.name)
    assert path.stem[-8:] == sha256(path)[:8]
    assert path.stat().st_size < 0.4 * checkpoint.stat().st_size

    content = read_checkpoint(path)
    assert content.keys() == {"meta", "state_dict"}
    assert "cfg" not in content["meta"]

    # What validation would have measured: the averaged weights.
    averaged = next(hook for hook in runner.hooks if type(hook).__name__ == "EMAHook")
    images = np.random.default_rng(0).normal(size=(4, 3, 48, 48)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    with torch.no_grad():
        model = averaged.ema_model.module.eval()
        expected = model(torch.from_numpy(images)).numpy()
        plain = runner.model.eval()(torch.from_numpy(images)).numpy()
    assert not np.array_equal(expected, plain)
    files = [str(path), str(tmp_path / "images.npy"), str(tmp_path / "predictions.npy")]
    subprocess.run([sys.executable, "-c", PREDICT, *files], check=True, cwd=ROOT)
    np.testing.assert_array_equal(np.load(files[2]), expected)


def test_published_over_itself(tmp_path, training):
    """The source stays, whatever the name asked for."""
    source = tmp_path / "a.pth"
    source.write_bytes(training[1].read_bytes())
    path = publish_checkpoint(source, source)
    assert source.read_bytes() == training[1].read_bytes()
    assert path.parent == tmp_path
    assert sorted(tmp_path.iterdir()) == sorted([source, path])
    assert publish_checkpoint(source, source) == path  # the same content, the same hash
    get_model("sreresnet18_8xb32_in1k", pretrained=str(path), head=dict(num_classes=10))
