"""Fixtures of all tests."""

import pytest


@pytest.fixture(autouse=True)
def no_default_scope():
    """A run leaves its default scope behind, in which the look-ups of later tests would start."""
    yield
    from mmengine.registry import DefaultScope  # not at the top: some tests hide packages

    DefaultScope._instance_dict.clear()
