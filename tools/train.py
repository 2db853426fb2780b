"""Train a classifier or a detector: ``python tools/train.py CONFIG`` is ``mmres train CONFIG``."""

import sys

from mmres_plugin.cli import main

if __name__ == "__main__":  # processes that are spawned import this file
    main(["train", *sys.argv[1:]])
