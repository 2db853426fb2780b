"""Train a classifier or a detector: ``python tools/train.py CONFIG`` is ``mmres train CONFIG``."""

import sys

from mmres_plugin.cli import main

main(["train", *sys.argv[1:]])
