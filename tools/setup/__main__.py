"""Make the environment: ``make setup``. Pythons that are too old must be able to read this file."""

import os
import sys

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(
        "set-up stopped: Python {}.{} is too {}: mmres_plugin needs 3.10, 3.11 or 3.12. Name one "
        "that is installed, for example: make setup PYTHON=python3.12".format(
            *sys.version_info[:2], "old" if sys.version_info < (3, 10) else "new"
        )
    )
if os.name != "posix":
    sys.exit("set-up stopped: this set-up runs on Linux and macOS. On Windows use WSL.")

from installer import main

main()
