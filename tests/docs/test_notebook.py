"""The notebook runs from top to bottom."""

import json
import re

import pytest
from helpers import ENV, ROOT

PATH = ROOT / "demo/finetune_digits.ipynb"
# Few images: the test is about the cells, not about accuracy. Scores are low after so few steps.
SIZES = "--train-images=24 --val-images=6 --train-crops=320 --val-crops=50"
SHORTER = {
    "mmres digits": f"mmres digits {SIZES}",
    "model = dict(": "model = dict(test_cfg=dict(score_thr=0.0), ",
}


def test_committed_notebook_has_no_outputs_and_hides_no_errors():
    cells = json.loads(PATH.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [(cell["execution_count"], cell["outputs"]) for cell in code] == [(None, [])] * len(code)
    commands = ["".join(cell["source"]) for cell in code if cell["source"][0].startswith("%%bash")]
    assert len(commands) == 6
    for text in commands:  # a failing command ends the cell, and what it says is shown
        assert text.startswith("%%bash -eo pipefail\n"), text
        assert "2>" not in text


@pytest.mark.slow
def test_notebook_runs(tmp_path, monkeypatch):
    """In a folder of its own: it trains, draws and exports, as it says."""
    import nbformat
    from nbclient import NotebookClient

    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(PATH, 4)
    for old, new in SHORTER.items():
        assert sum(old in cell.source for cell in notebook.cells) == 1
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert re.search(r"loaded (\d+) of \1 tensors of the backbone", text)
    assert "accuracy/top1: " in text and "coco/bbox_mAP_50: " in text
    assert "written: digits.onnx" in text
    assert "written: own.py" in text and "No faults." in text
    pictures = [output for output in outputs if output.output_type == "display_data"]
    assert len(pictures) == 4
