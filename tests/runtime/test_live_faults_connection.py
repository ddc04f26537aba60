"""A connection that drops, says nothing, or is not answered at the end."""

from __future__ import annotations

import time
from functools import partial

import pytest

from runtime.live import feed as feed_module
from runtime.live import service
from runtime.live.feed import Feed
from runtime.live.inbox import Inbox
from runtime.live.replay_faults import Hangup, Skip
from runtime.live.replay_server import serving

from .live_faults import FAULT_S, PATIENCE_S, During, assert_blind_once, once, play
from .live_run import assert_safe

pytest_plugins = ("tests.runtime.live_recordings", "tests.runtime.live_market_time")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_often_in_market_time")]


@pytest.mark.long
def test_a_connection_that_drops_is_opened_again_and_the_book_fetched_anew(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, once(part, Hangup(), Skip(800)))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.view.reconnects == 1
    assert "No connection: the route all is down." in run.reasons


@pytest.mark.long
def test_a_connection_that_says_nothing_is_given_up(part, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "Feed", partial(service.Feed, silence_s=5.0))

    def say_nothing(n, frame):
        if n == faults.first:
            yield from faults.until(lambda run: run.view.reconnects)
        yield frame

    faults = During(part, FAULT_S, FAULT_S + 1, say_nothing)
    run = play(part, bundle, tmp_path, faults)
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert 1 <= run.view.reconnects <= 3
    assert "No connection: the route all is down." in run.reasons


def test_a_process_that_is_told_to_end_waits_for_nobody(short, monkeypatch):
    """With messages on their way that nobody will read: the venue's answer to a close is behind them.

    The library waits for ten seconds by itself, and here for ten minutes.
    """
    connect = feed_module.connect
    monkeypatch.setattr(feed_module, "connect", lambda url, **given: connect(url, **{"close_timeout": 600.0, **given}))
    inbox = Inbox(time.time_ns)
    with serving(short.path, speed=0, stamps=False, snapshot_wait_s=0) as server:
        feed = Feed({"all": f"{server.websocket}/stream?streams={'/'.join(server.streams)}"}, inbox)
        feed.start()
        while not len(inbox):
            time.sleep(0.005)
        feed.close()
        feed._thread.join(PATIENCE_S)
        assert not feed._thread.is_alive()
