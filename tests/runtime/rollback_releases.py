"""A release that took another's place, and a gate on it with an account watch: a plugin for the tests of a rollback."""

from __future__ import annotations

import pytest

from runtime.account_watch import AccountWatch
from runtime.release_change import change
from runtime.serving import ServedFilter

from .release_folders import candidates
from .rollback_losses import BUCKETS

__all__ = ["releases", "served", "told"]


@pytest.fixture
def releases(tmp_path):
    """Model one trades, and model two has taken its place."""
    candidates(tmp_path, "one", "two", buckets=BUCKETS)
    change(tmp_path, "operator_small_live", tag="one", at_ns=1, why="")
    change(tmp_path, "operator_small_live", tag="two", at_ns=2, why="")
    return tmp_path


@pytest.fixture
def told():
    return []


@pytest.fixture
def served(releases, told):
    with ServedFilter(releases / "current", watch=AccountWatch(), alert=told.append) as gate:
        yield gate
