"""The replay server's REST port: the recorded snapshot, the book after it, and what is refused."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest

from runtime.live.replay_faults import Faults, Hangup, Pause
from tests.feature_repo.binance_messages import MS, T0, record, snap, spot, usdm

from .replay_client import (
    ASK,
    DEPTH,
    PATIENCE_S,
    SNAP,
    asked,
    diff,
    frames_and_snapshot,
    frames_of,
    lines_of,
    on,
    played,
    run,
    stream,
    trades,
    turns,
    until,
)

pytestmark = pytest.mark.slow  # it waits for sockets


def test_playing_stands_still_at_the_snapshot_until_a_client_has_taken_it_and_closed(tmp_path):
    path = record(tmp_path / "r", [*trades(3), SNAP, diff(1), *trades(5)])

    async def client(server):
        early = asyncio.create_task(asked(server, "/fapi/v1/depth?symbol=BTCUSDT"))
        assert (await early)[0] == 400  # no wait for what there will not be
        playing = asyncio.create_task(frames_of(server))
        await until(lambda: server.position == 4)
        await turns()
        assert (server.position, server.sent) == (4, 3)

        closing, taken = asyncio.Event(), asyncio.Event()
        taking = asyncio.create_task(asked(server, ASK.replace("1000", "1"), hold=closing, taken=taken))
        await taken.wait()
        await turns()
        assert (server.position, server.sent) == (4, 3)
        closing.set()
        _, headers, body = await taking
        return body, headers["X-Local-Ts"], (await playing)[0]

    lines = lines_of(path)
    body, local_ts, frames = run(client, path, snapshot_wait_s=PATIENCE_S)
    assert f"{local_ts} ".encode() + body == lines[3]
    assert frames == lines[:3] + lines[4:]


def test_requests_that_came_early_wait_for_the_snapshot_and_those_given_up_do_not_count(tmp_path):
    path = record(tmp_path / "r", [*trades(3), SNAP, *trades(2)])

    async def client(server):
        _, given_up = await asyncio.open_connection("127.0.0.1", int(server.rest.rpartition(":")[2]))
        given_up.write(f"GET {ASK} HTTP/1.1\r\n\r\n".encode())
        early = [asyncio.create_task(asked(server)) for _ in range(2)]
        await until(lambda: server.waiting == 3)
        given_up.close()
        await until(lambda: server.waiting == 2)
        await played(server)
        return [(await task)[2] for task in early]

    bodies = run(client, path, snapshot_wait_s=PATIENCE_S)
    assert bodies == [json.dumps(SNAP).encode()] * 2


def test_a_snapshot_nobody_asks_for_holds_playing_up_for_so_long_only(tmp_path):
    path = record(tmp_path / "r", [*trades(2), SNAP, diff(1, b=[["99.0", "5"]]), *trades(2)])
    began = time.monotonic()
    assert run(played, path, snapshot_wait_s=0.2) == [line for k, line in enumerate(lines_of(path)) if k != 2]
    assert time.monotonic() - began > 0.19


class Stop(Faults):
    """Stands still after line n."""

    def __init__(self, n):
        self.n = n

    def on_line(self, n, frame):
        return [frame, Pause(60)] if n == self.n else [frame]


@asynccontextmanager
async def stopped_after(server, n):
    async with stream(server) as connection:
        drain = asyncio.create_task(_drain(connection))
        await until(lambda: server.position == n)
        yield
        drain.cancel()


async def _drain(connection):
    async for _ in connection:
        pass


def test_later_requests_are_answered_from_the_book(tmp_path):
    messages = [
        SNAP,
        on(DEPTH, usdm(50, 60, 49, b=[["1.0", "1"]])),  # held in the snapshot
        diff(1, b=[["99.0", "0.000"], ["100.00", "7"]], a=[["101.5", "6"]]),
        on("ethusdt@depth5@0ms", usdm(1, 2, 0, b=[["2.0", "1"]])),  # no diff
        on("btcusdt@depth@0ms", usdm(1, 2, 0, b=[["3.0", "1"]], s="BTCUSDT")),
        diff(2, a=[["101.0", "0"]]),
        *trades(2),
    ]
    path = record(tmp_path / "r", messages)

    async def client(server):
        async with stopped_after(server, 7):
            whole = await asked(server, "/dapi/v1/depth?symbol=ETHUSDT")
            top = await asked(server, "/api/v3/depth?limit=1&symbol=ETHUSDT")
            return whole, top

    (status, headers, body), (_, _, top) = run(client, path, faults=Stop(7))
    times = {"E": T0 + 3, "T": T0 + 2}
    bids, asks = [["100.00", "7"], ["98.5", "3"]], [["101.5", "6"], ["102.50", "4"]]
    assert (status, headers["X-Local-Ts"], headers["Connection"]) == (200, str((T0 + 16) * MS), "close")
    assert json.loads(body) == {"lastUpdateId": 120, **times, "bids": bids, "asks": asks}
    assert json.loads(top) == {"lastUpdateId": 120, **times, "bids": bids[:1], "asks": asks[:1]}


def test_the_book_of_spot_has_no_times(tmp_path):
    stream_name = "nexousdt@depth@100ms"
    first = snap(100, [["1.10", "1"]], [["1.20", "2"]], t=None)
    path = record(tmp_path / "r", [first, on(stream_name, spot(101, 103, b=[["1.11", "5"]])), *trades(1)])

    async def client(server):
        async with stopped_after(server, 2):
            return await asked(server, "/api/v3/depth?symbol=NEXOUSDT")

    body = run(client, path, faults=Stop(2))[2]
    assert json.loads(body) == {"lastUpdateId": 103, "bids": [["1.11", "5"], ["1.10", "1"]], "asks": [["1.20", "2"]]}


def test_where_the_recording_has_a_gap_requests_wait_for_its_next_snapshot(tmp_path):
    later = snap(300, [["98.0", "1"]], [["103.0", "2"]])
    path = record(tmp_path / "r", [SNAP, diff(1), diff(3), *trades(1), later, *trades(1), diff(50), *trades(1)])

    class Steps(Faults):
        def on_line(self, n, frame):
            return [frame, Hangup()] if n in (3, 7) else [frame]

    async def client(server):
        frames, answers = [], []
        for _ in range(2):
            frames += await played(server)
            answers.append(asyncio.create_task(asked(server)))
            await until(lambda: server.waiting)
        return await asyncio.gather(*answers, played(server, frames))

    handed_out, none, frames = run(client, path, faults=Steps())
    lines = lines_of(path)
    assert handed_out[1]["X-Local-Ts"].encode() + b" " + handed_out[2] == lines[4]
    assert none[0] == 503
    assert frames == [line for k, line in enumerate(lines) if k not in (0, 4)]


def test_a_later_snapshot_that_nobody_waits_for_is_passed_over(tmp_path):
    path = record(tmp_path / "r", [SNAP, *trades(2), SNAP, *trades(2)])
    frames, _ = run(frames_and_snapshot, path, snapshot_wait_s=PATIENCE_S)
    assert frames == [line for k, line in enumerate(lines_of(path)) if k not in (0, 3)]


def test_what_rest_refuses(tmp_path):
    path = record(tmp_path / "r", [*trades(1), diff(1)])

    async def client(server):
        answers = [
            await asked(server, target, method)
            for target, method in (
                ("/fapi/v1/ticker?symbol=ETHUSDT", "GET"),
                ("/fapi/v1/depth?symbol=BTCUSDT", "GET"),
                ("/fapi/v1/depth", "GET"),
                (ASK.replace("1000", "0"), "GET"),
                (ASK, "POST"),
            )
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.rest.rpartition(":")[2]))
        writer.write(b"\r\n\r\n")
        assert b"405" in await reader.readline()
        writer.close()
        return answers

    answers = run(client, path)
    assert [status for status, _, _ in answers] == [404, 400, 400, 400, 405]
    assert json.loads(answers[1][2]) == {"code": -1121, "msg": "Invalid symbol."}
