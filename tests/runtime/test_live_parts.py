"""The parts of the live shadow by themselves: addresses, the inbox, pushes, connections."""

from __future__ import annotations

import gzip
import json
import threading
import time

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.market.binance import FEED_LOST
from feature_repo.market.clock import ClockOffset
from runtime.live.feed import Feed
from runtime.live.inbox import Inbox
from runtime.live.pushing import PushedWindow, Pusher
from runtime.live.reader import LiveReader
from runtime.live.replay_faults import Faults, Hangup, Pause
from runtime.live.replay_server import serving
from runtime.live.venues import ENDPOINTS, routes_of, snapshot_url, streams_of

from ..feature_repo.binance_messages import MS, T0, record, trade, usdm
from .gate_builders import TS, market_row, window
from .live_run import following, release


def until(true, timeout_s=20.0):
    """Wait for it, and say whether it came."""
    end = time.monotonic() + timeout_s
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()


# --- addresses -----------------------------------------------------------------------------------------------------


def test_usdm_has_two_routes_and_the_others_one():
    streams = streams_of("binance_usdm", "ETHUSDT")
    assert routes_of(ENDPOINTS["binance_usdm"], streams) == {
        "public": "wss://fstream.binance.com/public/stream?streams=ethusdt@depth@100ms/ethusdt@bookTicker",
        "market": "wss://fstream.binance.com/market/stream?streams="
        "ethusdt@aggTrade/ethusdt@forceOrder/ethusdt@markPrice@1s",
    }
    spot = routes_of(ENDPOINTS["binance_spot"], streams_of("binance_spot", "NEXOUSDT", "trade"))
    assert spot == {
        "all": "wss://stream.binance.com:9443/stream?streams=nexousdt@depth@100ms/nexousdt@bookTicker/nexousdt@trade"
    }
    assert (
        snapshot_url(ENDPOINTS["binance_usdm"], "ETHUSDT")
        == "https://fapi.binance.com/fapi/v1/depth?symbol=ETHUSDT&limit=1000"
    )


def test_without_depth_there_is_nothing_to_follow():
    with pytest.raises(InputError, match="a depth stream among them"):
        routes_of(ENDPOINTS["binance_usdm"], ["ethusdt@trade"])


# --- the inbox -----------------------------------------------------------------------------------------------------


class Recorded(list):
    def put(self, local_ns, payload):
        self.append((local_ns, payload))


def test_stamps_never_fall_and_what_is_taken_is_what_was_recorded():
    times = iter([5, 9, 7, 7, 12])
    recorded = Recorded()
    inbox = Inbox(lambda: next(times), recorded, after_ns=6)
    stamps = [inbox.put(str(n).encode()) for n in range(5)]
    assert stamps == [6, 9, 9, 9, 12]
    taken = []
    while (message := inbox.pop()) is not None:
        taken.append((message.local_ns, message.payload))
    assert taken == recorded == [(6, b"0"), (9, b"1"), (9, b"2"), (9, b"3"), (12, b"4")]


def test_a_closed_inbox_takes_nothing_and_gives_what_it_has():
    inbox = Inbox(lambda: 1)
    inbox.put(b"a")
    inbox.close()
    inbox.put(b"b")
    assert inbox.take(0)
    assert inbox.pop().payload == b"a"
    assert inbox.pop() is None
    assert not inbox.take(0)


def test_messages_of_many_threads_all_arrive_in_the_order_of_their_stamps():
    inbox = Inbox(time.monotonic_ns)
    threads = [threading.Thread(target=lambda: [inbox.put(b"x") for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stamps = [inbox.pop().local_ns for _ in range(len(inbox))]
    assert len(stamps) == 8_000
    assert stamps == sorted(stamps)


def test_a_chunk_ends_with_the_first_message_past_a_windows_end():
    """So that a decision is made before the messages behind it are read."""
    inbox, clock = Inbox(lambda: 1), ClockOffset()
    clock.settled = True
    for at_ms in (10, 60, 99, 100, 110, 120, 310):
        inbox.put(json.dumps(stream("aggTrade", trade(t=T0 + at_ms))).encode(), (T0 + at_ms) * MS)
    inbox.close()
    chunks = LiveReader(inbox, clock).chunks()
    assert [((chunk["local_ts"] - T0 * MS) // MS).tolist() for chunk in chunks] == [[10, 60, 99, 100], [110, 120, 310]]


# --- pushes --------------------------------------------------------------------------------------------------------


class Store:
    """Takes as long for a push as it is told to."""

    def __init__(self):
        self.pushed, self.go, self.error = [], threading.Event(), None

    def push(self, x, row):
        self.go.wait(20)
        if self.error is not None:
            raise self.error
        self.pushed.append(int(row["t_ns"]))
        self.held = (x, row)
        return True

    def snapshot_at(self, t_ns):
        return self.held


def rows(n):
    return [market_row(t_ns=TS + k * 100_000_000) for k in range(n)]


def test_a_window_that_a_newer_one_overtakes_is_not_pushed():
    store = Store()
    pusher = Pusher(store)
    first, *rest = rows(5)
    pusher.offer(window(), first)
    assert until(lambda: pusher._next is None)  # it is being pushed
    for row in rest:
        pusher.offer(window(), row)
    store.go.set()
    assert pusher.wait(int(rest[-1]["t_ns"]), 20)
    assert store.pushed == [int(first["t_ns"]), int(rest[-1]["t_ns"])]
    pusher.close()


def test_who_waits_for_a_window_gets_it_and_who_waits_in_vain_gets_what_there_is():
    store, (row, later) = Store(), rows(2)
    store.go.set()
    pusher = Pusher(store)
    source = PushedWindow(pusher, store)
    x = np.full_like(window(), 3.0)
    pusher.offer(x, row)
    assert until(lambda: pusher.wait(int(row["t_ns"]), 0))
    for t_ns in (int(row["t_ns"]), int(later["t_ns"])):
        found, market = source.snapshot_at(t_ns)
        assert (found == x).all()
        assert market["t_ns"] == row["t_ns"]
    pusher.close()


def test_a_push_that_fails_is_told_and_the_next_one_tried():
    store, told, (row, later) = Store(), [], rows(2)
    store.go.set()
    store.error = OSError("no such store")
    pusher = Pusher(store, on_push=lambda ms: told.append(ms >= 0), on_failure=told.append)
    pusher.offer(window(), row)
    assert pusher.wait(int(row["t_ns"]), 20)
    store.error = None
    pusher.offer(window(), later)
    assert pusher.wait(int(later["t_ns"]), 20)
    assert told == ["no such store", True]
    pusher.close()


# --- connections ---------------------------------------------------------------------------------------------------


def stream(name, data):
    return {"stream": f"ethusdt@{name}", "data": data}


MESSAGES = [
    message for k in range(40) for message in (stream("depth@100ms", usdm(k, k, k - 1)), stream("aggTrade", trade()))
]


def taken(inbox):
    messages = []
    while (message := inbox.pop()) is not None:
        messages.append(message.payload)
    return messages


def test_two_routes_are_two_connections_and_nothing_is_missing(tmp_path):
    record(tmp_path / "r.txt", MESSAGES)
    states = []
    with serving(tmp_path / "r.txt", speed=0, stamps=False, connections=2) as server:
        base = ENDPOINTS["binance_usdm"]._replace(
            public=f"{server.websocket}/public", market=f"{server.websocket}/market"
        )
        inbox = Inbox(time.time_ns)
        feed = Feed(routes_of(base, list(server.streams)), inbox, ends=True, on_route=lambda *s: states.append(s[:2]))
        feed.start()
        assert until(lambda: not feed._thread.is_alive())
    got = taken(inbox)
    lines = (tmp_path / "r.txt").read_bytes().splitlines()
    assert sorted(got) == sorted(line.partition(b" ")[2] for line in lines)
    assert set(states) == {(name, is_open) for name in ("public", "market") for is_open in (True, False)}


class Cut(Faults):
    def on_line(self, n, frame):
        return [frame, Hangup()] if n == 20 else [frame]


def test_a_cut_connection_is_opened_again_and_the_book_is_lost_in_between(tmp_path):
    record(tmp_path / "r.txt", MESSAGES)
    with serving(tmp_path / "r.txt", speed=0, stamps=False, faults=Cut()) as server:
        inbox = Inbox(time.time_ns)
        feed = Feed(
            routes_of(
                ENDPOINTS["binance_spot"]._replace(public=server.websocket, market=server.websocket),
                list(server.streams),
            ),
            inbox,
            backoff_s=(0.01, 0.1),
            ends=True,
        )
        feed.start()
        assert until(lambda: server.done.is_set() and not feed._thread.is_alive())
    got = taken(inbox)
    assert got.count(FEED_LOST) == 1
    assert got.index(FEED_LOST) == 20
    assert len(got) == len(MESSAGES) + 1


def test_a_process_that_starts_says_first_that_it_does_not_know_the_book(tmp_path):
    """What was recorded before may end with a book that looks valid. A replay is nothing but what was recorded."""
    bundle = release(tmp_path, "binance_usdm", "ETHUSDT")
    for replay in (False, True):
        recordings = tmp_path / f"{replay}"
        record(tmp_path / "r.txt", MESSAGES)
        with (
            serving(tmp_path / "r.txt", speed=0, stamps=replay, snapshot_wait_s=0) as server,
            following(server, bundle, tmp_path, replay=replay, recordings=recordings) as run,
        ):
            assert until(lambda run=run: run.progress()[0] > len(MESSAGES) / 2)
        (file,) = recordings.glob("*.gz")
        first, *_ = (line.partition(b" ")[2] for line in gzip.decompress(file.read_bytes()).splitlines())
        assert (first == FEED_LOST) is not replay


class Silent(Faults):
    def on_line(self, n, frame):
        return [frame, Pause(3.0)] if n == 20 else [frame]


def test_a_connection_that_says_nothing_is_given_up(tmp_path):
    record(tmp_path / "r.txt", MESSAGES)
    opened = []
    with serving(tmp_path / "r.txt", speed=0, stamps=False, faults=Silent()) as server:
        inbox = Inbox(time.time_ns)
        feed = Feed(
            routes_of(
                ENDPOINTS["binance_spot"]._replace(public=server.websocket, market=server.websocket),
                list(server.streams),
            ),
            inbox,
            backoff_s=(0.01, 0.1),
            silence_s=0.3,
            on_route=lambda name, is_open, why: opened.append(is_open),
        )
        feed.start()
        assert until(lambda: opened.count(True) >= 2)
        feed.close()
    assert FEED_LOST in taken(inbox)


def test_nobody_there_is_tried_again_until_it_is_closed():
    tries, inbox = [], Inbox(time.time_ns)
    feed = Feed(
        {"all": "ws://127.0.0.1:9/stream?streams=a@depth"},
        inbox,
        backoff_s=(0.01, 0.02),
        on_route=lambda name, is_open, why: tries.append((is_open, why)),
    )
    feed.start()
    assert until(lambda: len(tries) > 3)
    feed.close()
    assert not any(is_open for is_open, _ in tries)
    assert "refused" in tries[0][1].lower() or "Connect" in tries[0][1]
    while inbox.pop() is not None:
        pass
    assert not inbox.take(0)


def test_whatever_goes_wrong_with_a_connection_it_is_opened_again(monkeypatch):
    """Also what no library says that it raises: a route that stays down would need a person."""
    tries = []

    def broken(*_, **__):
        raise RuntimeError("no such thing")

    monkeypatch.setattr("runtime.live.feed.connect", broken)
    feed = Feed(
        {"all": "ws://127.0.0.1:9/stream?streams=a@depth"},
        Inbox(time.time_ns),
        backoff_s=(0.01, 0.02),
        on_route=lambda *told: tries.append(told),
    )
    feed.start()
    assert until(lambda: len(tries) > 2)
    feed.close()
    assert tries[0] == ("all", False, "RuntimeError: no such thing")
