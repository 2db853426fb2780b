"""Another name of examples/run_onnx.py, which runs classifiers and detectors alike."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "run_onnx.py"

if __name__ == "__main__":
    runpy.run_path(str(EXAMPLE), run_name="__main__")
