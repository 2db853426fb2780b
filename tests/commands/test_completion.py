"""Completion of ``mmres`` in bash, as a user switches it on."""

import os
import sys

import pytest
from helpers import ENV, ROOT, run

pytest.importorskip("argcomplete")

# Bash calls the function with the line up to the cursor.
ASK = """
eval "$(register-python-argcomplete mmres)"
_python_argcomplete mmres && echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("mmres co", "convert compare cost"),
        ("mmres train --res", "--resume"),
        ("mmres maps --layers x ca", "cam"),
        ("mmres train tests/conf", "tests/conftest.py"),
    ],
)
def test_completion(line, answer):
    path = os.pathsep.join([f"{sys.prefix}/bin", os.environ["PATH"]])
    env = {**ENV, "PATH": path, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    assert run("bash", "-c", ASK, env=env, cwd=ROOT).split() == answer.split()
