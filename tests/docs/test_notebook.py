"""The notebook: what is committed is small and whole, and it runs from top to bottom."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from helpers import ENV, ROOT

PATH = ROOT / "demo/finetune_digits.ipynb"
# Few images: the run is about the cells, not about accuracy.
SHORTER = {"--train-images 240 --val-images 40": "--train-images 24 --val-images 6"}
SHORTER |= {"--train-crops 6400 --val-crops 500": "--train-crops 320 --val-crops 50"}


def test_committed_notebook_is_small_and_has_run():
    assert PATH.stat().st_size < 150_000
    cells = json.loads(PATH.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert "error" not in kinds and kinds.count("display_data") >= 2


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
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert re.search(r"loaded (\d+) of \1 tensors of the backbone", text)
    assert "accuracy/top1: " in text and "coco/bbox_mAP_50: " in text
    assert "written: digits.onnx" in text
    pictures = [output for output in outputs if output.output_type == "display_data"]
    assert len(pictures) == 2
