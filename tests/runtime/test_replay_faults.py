"""What a replay server is told to do wrong, it does: to frames, to connections and to requests."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from runtime.live.replay_faults import Faults, Hang, Hangup, Pause, RestFault, Skip
from tests.feature_repo.binance_messages import record

from .replay_client import (
    DEPTH,
    PATIENCE_S,
    SNAP,
    TRADE,
    asked,
    diff,
    frames_of,
    lines_of,
    played,
    run,
    trades,
    turns,
    until,
)

pytestmark = pytest.mark.slow  # it waits for sockets


def test_frames_are_lost_repeated_swapped_and_broken(tmp_path):
    class Bad(Faults):
        kept = None

        def on_line(self, n, frame):
            if n == 5:
                self.kept = frame
            return {
                2: [],
                3: [frame, frame],
                5: [],
                6: [frame, self.kept],
                7: [frame[:60]],
                8: [b"{"],
            }.get(n, [frame])

    path = record(tmp_path / "r", [*trades(8), diff(1)])

    async def client(server):
        return [f for f, _ in await asyncio.gather(frames_of(server, TRADE), frames_of(server, DEPTH))]

    lines = lines_of(path)
    of_trade, of_depth = run(client, path, faults=Bad(), connections=2)
    assert of_trade == [lines[0], lines[2], lines[2], lines[3], lines[5], lines[4], lines[6][:60], b"{"]
    assert of_depth == [b"{", lines[8]]  # what names no stream goes to all


def test_a_held_frame_goes_to_those_who_want_its_stream(tmp_path):
    class Late(Faults):
        def on_line(self, n, frame):
            if n == 1:
                self.first = frame
                return []
            return [frame, self.first]

    path = record(tmp_path / "r", [diff(1), *trades(1)])

    async def client(server):
        return [f for f, _ in await asyncio.gather(frames_of(server, TRADE), frames_of(server, DEPTH))]

    lines = lines_of(path)
    assert run(client, path, faults=Late(), connections=2) == [[lines[1]], [lines[0]]]


def test_a_pause_stands_still(tmp_path):
    class Slow(Faults):
        def on_line(self, n, frame):
            return [Pause(0.2), frame] if n == 2 else [frame]

    path = record(tmp_path / "r", trades(3))
    began = time.monotonic()
    assert run(played, path, faults=Slow()) == lines_of(path)
    assert time.monotonic() - began > 0.19


def test_after_a_hangup_playing_goes_on_when_all_clients_are_back(tmp_path):
    class Cut(Faults):
        def on_line(self, n, frame):
            return [frame, Hangup(), Skip(2)] if n == 60 else [frame]

    path = record(tmp_path / "r", [SNAP, *trades(58), diff(1), diff(2), *trades(1), diff(3), *trades(10)])

    async def client(server):
        async def both():
            return await asyncio.gather(frames_of(server, TRADE), frames_of(server, DEPTH))

        first = await both()
        assert [code for _, code in first] == [1006, 1006]
        again = asyncio.create_task(frames_of(server, TRADE))
        await until(lambda: server.position == 62 and server._clients._open() == 1)
        await turns()
        assert server.position == 62
        skipped = json.loads((await asked(server))[2])["lastUpdateId"]
        then = await asyncio.gather(again, frames_of(server, DEPTH))
        return [f for f, _ in first], [f for f, _ in then], skipped

    lines = lines_of(path)
    first, then, skipped = run(client, path, faults=Cut(), connections=2)
    assert first == [lines[1:59], [lines[59]]]
    assert then == [lines[63:], [lines[62]]]
    assert skipped == 120  # the book has taken what nobody was sent


def test_a_snapshot_that_is_skipped_is_in_the_book_all_the_same(tmp_path):
    class Away(Faults):
        def on_line(self, n, frame):
            return [frame, Skip(3)] if n == 1 else [frame]

    path = record(tmp_path / "r", [*trades(2), SNAP, diff(1), *trades(2)])

    async def client(server):
        asking = asyncio.create_task(asked(server))
        await until(lambda: server.waiting)
        return await played(server), await asking

    frames, (status, _, body) = run(client, path, faults=Away(), snapshot_wait_s=PATIENCE_S)
    lines = lines_of(path)
    assert frames == [lines[0], *lines[4:]]
    assert (status, json.loads(body)["bids"]) == (200, SNAP["bids"])


def test_requests_are_answered_wrongly_and_late(tmp_path):
    class Down(Faults):
        def on_request(self, k):
            return {
                1: RestFault(500),
                2: RestFault(418, b'{"code":-1003}', {"Retry-After": "7"}),
                3: RestFault(200, b'{"lastUpdateId":'),
                4: Hang(0.2),
            }.get(k)

    path = record(tmp_path / "r", [*trades(1), SNAP, *trades(1)])

    async def client(server):
        playing = asyncio.create_task(played(server))
        wrong = [await asked(server) for _ in range(3)]
        began = time.monotonic()
        right = await asked(server)
        assert time.monotonic() - began > 0.19
        await playing
        return wrong, right

    wrong, right = run(client, path, faults=Down(), snapshot_wait_s=PATIENCE_S)
    assert [(status, body) for status, _, body in wrong] == [
        (500, b""),
        (418, b'{"code":-1003}'),
        (200, b'{"lastUpdateId":'),
    ]
    assert wrong[1][1]["Retry-After"] == "7"
    assert right[2] == json.dumps(SNAP).encode()


def test_what_a_fault_gets_wrong_is_told(tmp_path):
    class Wrong(Faults):
        def on_line(self, n, frame):
            return ["text"]

    codes = []

    async def client(server):
        codes.append((await frames_of(server))[1])

    with pytest.raises(TypeError, match="on_line gave 'text'"):
        run(client, record(tmp_path / "r", trades(2)), faults=Wrong())
    assert codes == [1011]
