"""A decision's window through Feast's online stores: exact, and not older than it says."""

from __future__ import annotations

import sqlite3
import threading

import numpy as np
import pytest

from feature_repo.constants import WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.market_row import MARKET_VALUES
from feature_repo.store import StoreError, open_store
from runtime.live import online
from runtime.live.online import OnlineWindow

from .online_windows import SYMBOL, T, assert_same, at, frame, number, window

pytest_plugins = ("tests.runtime.online_stores",)
pytestmark = [pytest.mark.usefixtures("either"), pytest.mark.slow]


def test_what_was_pushed_is_read_bit_for_bit():
    online = OnlineWindow(SYMBOL, T=T)
    assert online.push(*window(1))
    assert_same(online.snapshot_at(at(1)), window(1))
    assert online.push(*window(2))
    assert_same(online.snapshot_at(at(2)), window(2))
    assert_same(OnlineWindow(SYMBOL, T=T).snapshot_at(at(2)), window(2))  # as another process sees it


def test_a_missing_key_is_none():
    assert OnlineWindow(SYMBOL, T=T).snapshot_at(at(1)) is None
    assert OnlineWindow("ETHUSDT", T=T).push(*window(1))
    assert OnlineWindow(SYMBOL, T=T).snapshot_at(at(1)) is None


def test_an_older_push_is_refused():
    online = OnlineWindow(SYMBOL, T=T)
    assert online.push(*window(5))
    assert not online.push(*window(4))
    assert not online.push(*window(5))
    another = OnlineWindow(SYMBOL, T=T)
    assert not another.push(*window(4))
    assert_same(another.snapshot_at(at(5)), window(5))
    assert another.push(*window(6))


def test_a_reader_does_not_go_back_to_an_older_row():
    """Not even when a restart took the store itself back."""
    reader = OnlineWindow(SYMBOL, T=T)
    OnlineWindow(SYMBOL, T=T).push(*window(5))
    assert_same(reader.snapshot_at(at(5)), window(5))
    assert OnlineWindow(SYMBOL, T=T, restart=True).push(*window(3))
    assert_same(OnlineWindow(SYMBOL, T=T).snapshot_at(at(5)), window(3))  # the store did go back
    assert_same(reader.snapshot_at(at(5)), window(5))
    assert_same(reader.snapshot_at(at(3)), window(3))  # a replay: the newer one is not known yet at this time


def test_a_restart_replaces_once():
    OnlineWindow(SYMBOL, T=T).push(*window(9))
    replay = OnlineWindow(SYMBOL, T=T, restart=True)
    assert replay.push(*window(2))
    assert not replay.push(*window(1))
    assert_same(replay.snapshot_at(at(2)), window(2))


def test_the_age_is_judged_by_the_row_and_the_time_given():
    online = OnlineWindow(SYMBOL, T=T, ttl_ns=3 * WINDOW_NS)
    online.push(*window(5))
    assert_same(online.snapshot_at(at(8)), window(5))
    assert online.snapshot_at(at(8) + 1) is None
    assert_same(online.snapshot_at(at(4)), window(5))  # from the future: the gate sees its time and denies
    assert_same(online.snapshot_at(at(6)), window(5))


def test_a_restart_forgets_one_symbol_only():
    OnlineWindow("ETHUSDT", T=T).push(*window(9))
    assert OnlineWindow(SYMBOL, T=T, restart=True).push(*window(1))
    assert_same(OnlineWindow("ETHUSDT", T=T).snapshot_at(at(9)), window(9))


def test_pushing_and_reading_threads_see_whole_windows_and_never_an_older_one():
    """Two pushers in wrong order, on stores of their own, and a reader."""
    OnlineWindow(SYMBOL, T=T).push(*window(0))
    reader = OnlineWindow(SYMBOL, T=T)
    failures, last = [], 25

    def push(order):
        try:
            store = open_store()
            for k in order:
                store.write_to_online_store("window_sequence", df=frame(k))
        except sqlite3.Error as error:
            failures.append(error)

    orders = [list(range(1, last)), list(range(last, 0, -1))]
    threads = [threading.Thread(target=push, args=[order]) for order in orders]
    for thread in threads:
        thread.start()
    seen = [0]
    while any(thread.is_alive() for thread in threads):
        seen.append(number(reader.snapshot_at(at(0))))
    assert not failures
    assert seen == sorted(seen)
    assert number(reader.snapshot_at(at(0))) == last


def test_windows_of_one_process_share_their_store():
    """Feast keeps what it resolved of one registry: two stores that take turns would throw it away at each read."""
    from feast import utils

    first, second = OnlineWindow(SYMBOL, T=T), OnlineWindow("ETHUSDT", T=T)
    first.snapshot_at(at(0))
    kept = dict(utils._feature_resolution_cache)
    second.snapshot_at(at(0))
    first.snapshot_at(at(0))
    assert kept
    assert all(utils._feature_resolution_cache[key] is value for key, value in kept.items())


def test_a_window_of_another_length_is_an_error():
    OnlineWindow(SYMBOL, T=T).push(*window(1))
    with pytest.raises(StoreError, match=r"192 values.*read with T=8"):
        OnlineWindow(SYMBOL, T=16).snapshot_at(at(1))


def test_a_market_row_of_another_version_is_an_error(monkeypatch):
    pack = online.pack_market
    monkeypatch.setattr(online, "pack_market", lambda row: pack(row)[:-1])
    OnlineWindow(SYMBOL, T=T).push(*window(1))
    n = len(MARKET_VALUES)
    with pytest.raises(StoreError, match=rf"a stored market row of {n - 1} values.*the {n} of this version"):
        OnlineWindow(SYMBOL, T=T).snapshot_at(at(1))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, row: (x[1:], row),
        lambda x, row: (x.astype(np.float64), row),
        lambda x, row: (x, row[["t_ns", "bid"]]),
    ],
)
def test_a_push_of_another_shape_is_refused(change):
    with pytest.raises(InputError, match=r"Expected float32 \(8, 24\) with a MARKET_DTYPE row"):
        OnlineWindow(SYMBOL, T=T).push(*change(*window(1)))
