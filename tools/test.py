"""Evaluate a checkpoint: ``python tools/test.py CONFIG FILE`` is ``mmres test CONFIG FILE``."""

import sys

from mmres_plugin.cli import main

main(["test", *sys.argv[1:]])
