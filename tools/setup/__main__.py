"""Make the environment of this repository: ``make setup``, or ``python3 tools/setup``.

A second run does nothing; one after an interruption goes on or starts over, whichever is safe.
This file alone must be readable for Pythons that are too old.
"""

import os
import sys

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    fault = "old" if sys.version_info < (3, 10) else "new"
    sys.exit(
        "set-up stopped: Python {}.{} is too {}: mmres_plugin needs 3.10, 3.11 or 3.12. Name "
        "one that is installed, for example: make setup PYTHON=python3.12".format(
            *sys.version_info[:2], fault
        )
    )
if os.name != "posix":
    sys.exit("set-up stopped: this set-up runs on Linux and macOS. On Windows use WSL.")

from environment import main

sys.exit(main())
