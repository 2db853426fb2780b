"""Fixtures of all tests."""

import functools
import os

import pytest


def pytest_addoption(parser) -> None:
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="run all cases where the slow tests take a sample",
    )


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """A command within this process leaves its default scope, and how torch reads files."""
    yield
    from mmengine.registry import DefaultScope  # not at the top: some tests hide packages

    DefaultScope._instance_dict.clear()
    os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD", None)


@pytest.fixture(autouse=True, scope="session")
def metafiles_are_read_once():
    """For each ``_base_`` in another package, MMEngine parses all metafiles of that package."""
    from mmengine.config import utils

    utils.load = functools.cache(utils.load)
