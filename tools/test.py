"""Evaluate a checkpoint: ``python tools/test.py CONFIG FILE`` is ``mmres test CONFIG FILE``."""

import sys

from mmres_plugin.cli import main

if __name__ == "__main__":  # processes that are spawned import this file
    main(["test", *sys.argv[1:]])
