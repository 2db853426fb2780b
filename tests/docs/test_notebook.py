"""The notebook runs from top to bottom, on fewer images, and what is committed of it is small."""

import re

import nbformat
import pytest
from helpers import ROOT
from nbclient import NotebookClient

PATH = ROOT / "demo/finetune_digits.ipynb"


def test_committed_notebook_is_small_and_without_errors():
    assert PATH.stat().st_size < 300_000
    cells = [cell for cell in nbformat.read(PATH, 4).cells if cell.cell_type == "code"]
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]


@pytest.mark.slow
def test_notebook_runs(tmp_path):
    notebook = nbformat.read(PATH, 4)
    (settings,) = [cell for cell in notebook.cells if "os.environ.update" in cell.source]
    for old, new in {
        "240": "24",
        "6400": "200",
        'EPOCHS="4"': 'EPOCHS="1"',
        "data/notebook": f"{tmp_path}/data",
        "work_dirs/notebook": f"{tmp_path}/work",
    }.items():
        assert old in settings.source
        settings.source = settings.source.replace(old, new)
    NotebookClient(notebook, timeout=1800, kernel_name="python3").execute(cwd=str(tmp_path))
    texts = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert re.search(r"loaded (\d+) of \1 tensors of the backbone", texts)
    assert "bbox_mAP_50:" in texts
    assert "(1, 256, 8, 8)" in texts
    assert (tmp_path / "work/backbone.onnx").exists()
