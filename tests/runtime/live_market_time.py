"""What a live process waits for, waited for in the market's time: a plugin for the tests of its faults."""

from __future__ import annotations

from functools import partial

import pytest

from runtime.live import service

from .live_faults import LEAST_S, SPEED

__all__ = ["as_often_in_market_time"]


@pytest.fixture
def as_often_in_market_time(monkeypatch):
    """What happens so often a second of ours happens so often a second of the market's."""
    monkeypatch.setattr(service, "_TOLD_S", service._TOLD_S / SPEED)
    monkeypatch.setattr(service, "Snapshots", partial(service.Snapshots, least_s=LEAST_S))
