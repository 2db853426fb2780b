"""How long it takes to start, in seconds of CPU; run with ``-s``, it prints them."""

import resource
import statistics
import subprocess
import sys

import pytest
from helpers import ENV


def seconds(*words: str) -> float:
    """The median of three runs of Python with these words."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], env=ENV, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(found)


@pytest.mark.slow
def test_imports():
    """What the plugin adds to the networks of MMPretrain, which it needs."""
    names = ("mmpretrain", "mmpretrain.models", "mmres_plugin")
    times = {name: seconds("-c", f"import {name}") for name in names}
    for name, time in times.items():
        print(f"import {name}: {time:.2f} s, {time / times['mmpretrain']:.2f} times mmpretrain")
    assert times["mmres_plugin"] < 1.15 * times["mmpretrain.models"]


@pytest.mark.parametrize("words", ["--help", "--version", "train --help", "export --help"])
def test_help(words):
    script = "import sys; sys.argv[0] = 'mmres'; from mmres_plugin.cli import main; main()"
    assert seconds("-c", script, *words.split()) < 0.5  # as the command `mmres` starts
