#!/usr/bin/env python3
"""Predict on images or videos: ``python demo/image_demo.py INPUT CONFIG_OR_NAME [CHECKPOINT]``."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parents[1] / "tools" / "predict.py"), run_name="__main__")
