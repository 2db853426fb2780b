"""A training that is over, for tests of what it leaves."""

import shutil
from pathlib import Path

import pytest
from helpers.toy import toy_runner


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The work dir of a training of two epochs."""
    work_dir = tmp_path_factory.mktemp("trained")
    toy_runner(work_dir).train()
    return work_dir


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    """A copy of it, with the times of its files."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))
