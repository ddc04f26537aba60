"""The beginning of the ETHUSDT recording and a release of its symbol: a plugin for the tests of a live process."""

from __future__ import annotations

import pytest

from .live_run import ETHUSDT, first_part, release

__all__ = ["bundle", "part", "short", "whole"]


def _first(seconds, factory):
    if not ETHUSDT.is_dir():
        pytest.skip(f"no recording at {ETHUSDT}")
    return first_part(ETHUSDT.glob("*.gz"), seconds, factory.mktemp("recording") / "ethusdt.txt")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Two minutes: the book is old enough from 67 s on."""
    return _first(120, tmp_path_factory)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Four and a half minutes."""
    return _first(270, tmp_path_factory)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All eight minutes."""
    return _first(1_000, tmp_path_factory)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A tiny release for ETHUSDT."""
    return release(tmp_path_factory.mktemp("releases"), "binance_usdm", "ETHUSDT")
