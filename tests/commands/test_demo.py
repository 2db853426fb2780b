"""The demo at its reduced size, run as a user runs it, and its two pictures."""

import json
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pictures
import pytest
import torch
from helpers import ROOT, run

from mmres_plugin.weights import read_checkpoint


def run_demo(cwd: Path, *args: str, code: int = 0) -> str:
    return run(ROOT / "demo/digits_demo.py", "--quick", "--device=cpu", *args, cwd=cwd, code=code)


def assert_drawn(path: Path) -> None:
    image = cv2.imread(str(path))
    assert image is not None and image.std() > 10, f"{path} is missing or blank"


@pytest.mark.slow
def test_demo_from_nothing(tmp_path):
    """All steps, their results, and a rerun that trains nothing again."""
    output = run_demo(tmp_path)
    work_dir = tmp_path / "work_dirs" / "demo_quick"
    assert "Average Precision  (AP) @[ IoU=0.50:0.95" in output
    assert_drawn(work_dir / "demo_predictions.png")
    assert_drawn(work_dir / "demo_curves.png")
    checkpoint = re.search(r"checkpoint of the detector +(\S+\.pth)", output)[1]
    last = (work_dir / "classifier" / "last_checkpoint").read_text().strip()
    detector, classifier = (read_checkpoint(path)["state_dict"] for path in (checkpoint, last))
    # Stage 1 is frozen: the detector still has the very weights of the classifier there.
    frozen, trained = "backbone.layer1.0.conv1.weight", "backbone.layer4.1.conv2.weight"
    assert torch.equal(detector[frozen], classifier[frozen])
    assert not torch.equal(detector[trained], classifier[trained])

    again = run_demo(tmp_path)
    assert again.count("finished before") == 2
    assert "Epoch(train)" not in again
    assert not (tmp_path / "data").exists(), "the short data must not replace the whole one"


@pytest.mark.slow
def test_failing_step_ends_the_demo(tmp_path):
    (tmp_path / "demo" / "digits").mkdir(parents=True)
    (tmp_path / "demo" / "digits" / "mine.txt").write_text("mine")
    output = run_demo(tmp_path, "--work-dir=demo", code=1)
    assert "was not made by this command" in output
    assert "The demo stopped: mmres digits ended with exit code 2" in output


def test_predictions_are_marked_right_wrong_or_missed(tmp_path, monkeypatch):
    """A box of the right class in the right place is green, any other one red; a miss is white."""
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    cv2.imwrite(str(tmp_path / "val2017" / "1.jpg"), np.full((64, 64, 3), 90, np.uint8))
    truth = {
        "images": [{"id": 1, "file_name": "1.jpg", "photo": "a"}],
        "annotations": [
            {"image_id": 1, "category_id": 8, "bbox": [10, 10, 20, 20]},
            {"image_id": 1, "category_id": 3, "bbox": [40, 40, 20, 20]},
        ],
        "categories": [{"id": i + 1, "name": str(i)} for i in range(10)],
    }
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(truth))
    boxes = [[11.0, 10, 30, 30], [11, 10, 30, 30], [40, 40, 60, 60], [0, 0, 9, 9]]
    found = dict(bboxes=torch.tensor(boxes), labels=torch.tensor([7, 1, 7, 7]))
    found["scores"] = torch.tensor([0.9, 0.8, 0.7, 0.1])
    (tmp_path / "found.pkl").write_bytes(pickle.dumps([{"img_id": 1, "pred_instances": found}]))
    drawn = []
    monkeypatch.setattr(pictures, "draw_box", lambda axis, box, *what: drawn.append(what))
    pictures.draw_predictions(tmp_path, tmp_path / "found.pkl", tmp_path / "out.png")
    truth = [("7", pictures.TRUTH), ("2", pictures.TRUTH)]
    shown = [("7", pictures.RIGHT), ("1", pictures.WRONG), ("7", pictures.WRONG)]
    assert drawn == [*truth, *shown, ("2", pictures.MISSED)]
