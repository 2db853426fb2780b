"""Freed memory stays with the process: seen by the pages that the kernel has to supply again."""

import os
import platform
import re
import sys

import pytest
from helpers import ROOT, run

from mmres_plugin.memory import keep_memory

PAGE = (ROOT / "docs/deployment.md").read_text("utf-8")
ENVIRONMENT = dict(re.findall(r"(MALLOC_\w+)=(\d+)", PAGE))
PROGRAM = """
import resource, sys, threading
import torch
from mmres_plugin.memory import keep_memory

def allocate():
    for _ in range(8):
        torch.ones(2**24)  # 64 MiB, freed at once

def count():
    allocate()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    allocate()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if "keep" in sys.argv:
    assert keep_memory()
count()
thread = threading.Thread(target=count)  # as servers run their networks
thread.start()
thread.join()
"""


def page_faults(*args: str, **variables: str) -> list[int]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    env |= variables
    output = run(sys.executable, "-W", "ignore", "-c", PROGRAM, *args, env=env)
    return [int(line) for line in output.split()]


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_pages_are_supplied_once():
    """By the function, and by the variables that the documentation names."""
    assert len(ENVIRONMENT) == 3
    returned = page_faults()
    for kept in (page_faults("keep"), page_faults(**ENVIRONMENT)):
        assert len(returned) == len(kept) == 2
        for before, after in zip(returned, kept, strict=True):
            assert after < before / 10


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_memory() is False
