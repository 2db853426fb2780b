"""The weights that come with the plugin, without a network."""

import json
import os
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT, call, run
from mmpretrain import get_model, inference_model

from mmres_plugin.hub import hub_model
from mmres_plugin.weights.by_name import FOLDER

NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
# CIFAR-10's test images as files, a folder per class.
CIFAR = Path(os.environ.get("CIFAR10_TEST", ROOT / "data/cifar10/test"))


def drawings() -> dict[str, np.ndarray]:
    """Drawings of 64×64 pixels that a network of CIFAR-10 should know, in BGR."""
    ship = np.full((64, 64, 3), (230, 190, 150), np.uint8)
    ship[36:] = (130, 90, 40)
    cv2.fillPoly(ship, [np.array([(6, 34), (58, 34), (50, 46), (14, 46)])], (60, 50, 60))
    cv2.rectangle(ship, (22, 24), (42, 34), (235, 235, 235), -1)
    cv2.rectangle(ship, (30, 14), (35, 24), (40, 40, 200), -1)
    airplane = np.full((64, 64, 3), (235, 200, 160), np.uint8)
    cv2.ellipse(airplane, (32, 32), (27, 4), -8, 0, 360, (240, 240, 240), -1)
    wing, tail = [(30, 32), (38, 31), (26, 52), (20, 52)], [(8, 36), (14, 35), (6, 22), (2, 22)]
    for part in (wing, tail):
        cv2.fillPoly(airplane, [np.array(part)], (205, 205, 210))
    truck = np.full((64, 64, 3), (225, 205, 185), np.uint8)
    truck[48:] = 120
    cv2.rectangle(truck, (4, 14), (40, 46), (235, 235, 240), -1)
    cv2.rectangle(truck, (42, 24), (59, 46), (180, 80, 30), -1)
    for x in (13, 32, 52):
        cv2.circle(truck, (x, 47), 6, (20, 20, 20), -1)
    return {"ship": ship, "airplane": airplane, "truck": truck}


@pytest.mark.parametrize("name", NAMES)
def test_drawings_are_recognised(name, monkeypatch, tmp_path):
    def refuse(*args):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    model = get_model(name, pretrained=True)
    for kind, image in drawings().items():
        cv2.imwrite(str(tmp_path / f"{kind}.png"), image)
        found = inference_model(model, image)
        assert found["pred_class"] == kind and found["pred_score"] > 0.6
    call("predict", tmp_path, name, "--out-dir", tmp_path / "out", "--no-pictures")
    results = json.loads((tmp_path / "out/predictions.json").read_text())["results"]
    for result in results:
        assert result["predictions"][0]["class"] == Path(result["file"]).stem


def test_they_are_small_and_listed():
    assert len(NAMES) >= 4
    for name in NAMES:
        assert (FOLDER / f"{name}.safetensors").stat().st_size < 1.2e6
        assert hub_model(name).weights == f"mmres_plugin://{name}"


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR.is_dir(), reason=f"CIFAR-10 is not in {CIFAR}; see CIFAR10_TEST")
@pytest.mark.parametrize("name", NAMES)
def test_accuracy(name, tmp_path):
    """Within what JPEG copies of the images may change."""
    model = hub_model(name)
    folder = f"test_dataloader.dataset.data_root={CIFAR}"
    said = run(
        *("mmres", "test", model.config.filename, model.weights, "--work-dir", tmp_path),
        *("--cfg-options", folder),
    )
    top1 = float(said.rpartition("accuracy/top1: ")[2].split()[0])
    assert top1 == pytest.approx(model.results[0].metrics["Top 1 Accuracy"], abs=0.5)
