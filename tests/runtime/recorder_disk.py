"""A disk with faults under a recorder: a plugin for the tests of what a recorder does then."""

from __future__ import annotations

import os

import pytest

from runtime.live import recorder as module

__all__ = ["disk"]


class Disk:
    """The recorder's module ``os``, with faults: set ``write``, ``fsync`` ... to what shall be called instead."""

    def __getattr__(self, name):
        return getattr(os, name)


@pytest.fixture
def disk(monkeypatch):
    fake = Disk()
    monkeypatch.setattr(module, "os", fake)
    return fake
