"""The replay server as a client sees it: frames, snapshots, faults, and the command."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH_CLEAR, DEPTH_SNAPSHOT, KIND_MASK, SELL
from feature_repo.events import DEPTH as DEPTH_KIND
from feature_repo.market.binance import BinanceParser
from feature_repo.market.sequence import BookSequence, DepthDiff, Verdict
from runtime.live.replay_faults import Faults, Hang, Hangup, Pause, RestFault, Skip
from runtime.live.replay_server import ReplayServer, serving
from tests.feature_repo.binance_messages import MS, T0, record, snap, spot, trade, usdm

pytestmark = pytest.mark.slow  # it waits for sockets

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT.parent / "shared" / "data" / "binance_usdm_ethusdt"
DEPTH, TRADE = "ethusdt@depth@0ms", "ethusdt@trade"
ASK = "/fapi/v1/depth?symbol=ETHUSDT&limit=1000"


def on(stream, data):
    return {"stream": stream, "data": data}


def diff(k, b=(), a=()):
    """The k-th of diffs that continue each other, and ``SNAP`` from k = 1 on."""
    return on(DEPTH, usdm(100 + 10 * k - 9, 100 + 10 * k, 90 + 10 * k, b=b, a=a, t=T0 + k))


SNAP = snap(100, [["99.0", "1"], ["98.5", "3"]], [["101.0", "2"], ["102.50", "4"]])


def trades(n):
    return [on(TRADE, trade()) for _ in range(n)]


def lines_of(*files):
    read = (gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files)
    return [line for text in read for line in text.splitlines()]


def stamp(line):
    return int(line[:19])


def run(client, recording, **options):
    """What ``client(server)`` gives, against a server of its own; as fast as it takes it, unless told otherwise."""

    async def both():
        async with ReplayServer(recording, **{"speed": 0, "snapshot_wait_s": 0.0, **options}) as server:
            return await asyncio.wait_for(client(server), 30)

    return asyncio.run(both())


@asynccontextmanager
async def stream(server, *names, path="/stream"):
    url = f"{server.websocket}{path}?streams={'/'.join(names or server.streams)}"
    async with connect(url, compression=None, ping_interval=None, close_timeout=1) as connection:
        yield connection


async def frames_of(server, *names, path="/stream"):
    """All frames until the server closes, and the code it closes with."""
    frames = []
    async with stream(server, *names, path=path) as connection:
        try:
            while True:
                frames.append(await connection.recv(decode=False))
        except ConnectionClosed:
            return frames, connection.close_code


async def played(server, before=()):
    """Frames of one connection, after those of earlier ones."""
    return [*before, *(await frames_of(server))[0]]


async def asked(server, target=ASK, method="GET", hold=None):
    """Status, headers and body of one request; the connection stays open until ``hold`` is set."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.rest.rpartition(":")[2]))
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = await reader.read()
    if hold is not None:
        await hold.wait()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in rest)
    assert not first or int(headers["Content-Length"]) == len(body)
    return int(first.split()[1]) if first else None, headers, body


async def frames_and_snapshot(server):
    (frames, _), answer = await asyncio.gather(frames_of(server), asked(server))
    return frames, answer


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


# ---------------------------------------------------------------------------------------------------------- lines


def test_frames_and_the_snapshot_at_its_place_are_the_recording(tmp_path):
    messages = [*trades(2), diff(0), *trades(1), SNAP, diff(1), *trades(40)]
    first = record(tmp_path / "b.gz", messages[:4])
    second = record(tmp_path / "a", messages[4:], start=T0 + 100)
    frames, (status, headers, body) = run(frames_and_snapshot, [second, first], snapshot_wait_s=10)

    assert status == 200
    whole = sorted([*frames, headers["X-Local-Ts"].encode() + b" " + body], key=stamp)
    assert whole == lines_of(first, second)
    assert frames == sorted(frames, key=stamp)


@pytest.mark.parametrize(("unit", "digits"), [(10**6, 19), (10**3, 16), (1, 13)])
def test_local_time_is_sent_in_ns(tmp_path, unit, digits):
    path = record(tmp_path / "r", trades(2), unit=unit)
    assert len(lines_of(path)[0].split()[0]) == digits
    assert [stamp(f) for f in run(played, path)] == [(T0 + 10) * MS, (T0 + 11) * MS]


def test_without_stamps_a_frame_is_the_json_byte_for_byte(tmp_path):
    odd = [' {"data":{"e":"trade", "s": "\u00e9"},  "stream":"ethusdt@trade"} ', '{"stream":"ethusdt@trade","data":{']
    path = record(tmp_path / "r", [f"{(T0 + k) * MS} {text}" for k, text in enumerate(odd)] + [SNAP])
    frames, (_, headers, body) = run(frames_and_snapshot, path, stamps=False, snapshot_wait_s=10)
    assert frames == [text.encode() for text in odd]
    assert "X-Local-Ts" not in headers
    assert json.loads(body) == SNAP


def test_each_connection_gets_the_streams_it_asked_for(tmp_path):
    messages = [diff(1), *trades(3), usdm(1, 2, 0), diff(2), {"result": None, "id": 1}, *trades(1)]
    path = record(tmp_path / "r", messages)

    async def client(server):
        assert server.streams == (DEPTH, TRADE)
        public = asyncio.create_task(frames_of(server, DEPTH, "no@such", path="/public/stream"))
        await asyncio.sleep(0.05)
        assert server.sent == 0  # one of two
        market = frames_of(server, TRADE, path="/market/stream")
        both = [frames for frames, _ in await asyncio.gather(public, market)]
        await server.done.wait()
        assert server.sent == sum(map(len, both))
        assert server.position == len(messages)
        return both

    lines = lines_of(path)
    public, market = run(client, path, connections=2)
    assert public == [lines[k] for k in (0, 4, 5, 6)]
    assert market == [lines[k] for k in (1, 2, 3, 4, 6, 7)]


def test_lines_that_cannot_be_played_are_left_out_and_counted(tmp_path):
    path = tmp_path / "r"
    good = [b"%d %b" % (k * MS, json.dumps(m).encode()) for k, m in enumerate(trades(3), start=T0)]
    path.write_bytes(b'cut":1}\n' + good[0] + b"\n\n" + good[1] + b"\n17 {}\n%d \xff\n" % (T0 * MS) + good[2])

    async def client(server):
        return await played(server), dict(server.left_out), server.position

    frames, left_out, position = run(client, path)
    assert frames == good
    assert left_out == {"local_ts is no whole number of 19 digits": 2, "the message is no UTF-8 text": 1}
    assert position == 7


def test_a_gz_that_is_cut_off_is_played_to_where_it_can_be_read(tmp_path):
    path = record(tmp_path / "r.gz", trades(300))
    lines = lines_of(path)
    path.write_bytes(path.read_bytes()[:-20])

    async def client(server):
        return await played(server), dict(server.left_out)

    frames, left_out = run(client, path)
    assert 0 < len(frames) <= 300
    assert frames == lines[: len(frames)]
    assert left_out == {"the file is cut off": 1}


def test_the_end_closes_with_1000_and_who_comes_later_is_closed_at_once(tmp_path):
    async def client(server):
        _, code = await frames_of(server)
        await server.done.wait()
        return code, await frames_of(server)

    assert run(client, record(tmp_path / "r", trades(2))) == (1000, ([], 1000))


def test_paths_that_serve_nothing_are_refused(tmp_path):
    async def client(server):
        for target, status in (("/ws/ethusdt@trade", 404), ("/stream", 400), ("/stream?streams=/", 400)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.websocket + target)
            assert refused.value.response.status_code == status

    run(client, record(tmp_path / "r", trades(2)))


# ------------------------------------------------------------------------------------------------------- snapshots


def test_playing_stands_still_at_the_snapshot_until_a_client_has_taken_it_and_closed(tmp_path):
    path = record(tmp_path / "r", [*trades(3), SNAP, diff(1), *trades(5)])

    async def client(server):
        early = asyncio.create_task(asked(server, "/fapi/v1/depth?symbol=BTCUSDT"))
        assert (await early)[0] == 400  # no wait for what there will not be
        playing = asyncio.create_task(frames_of(server))
        await until(lambda: server.position == 4)
        await asyncio.sleep(0.05)
        assert (server.position, server.sent) == (4, 3)

        closing = asyncio.Event()
        taking = asyncio.create_task(asked(server, ASK.replace("1000", "1"), hold=closing))
        await asyncio.sleep(0.05)
        assert (server.position, server.sent) == (4, 3)
        closing.set()
        _, headers, body = await taking
        return body, headers["X-Local-Ts"], (await playing)[0]

    lines = lines_of(path)
    body, local_ts, frames = run(client, path, snapshot_wait_s=20)
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

    bodies = run(client, path, snapshot_wait_s=20)
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
    frames, _ = run(frames_and_snapshot, path, snapshot_wait_s=20)
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


# ---------------------------------------------------------------------------------------------------------- faults


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
        await until(lambda: server.position == 62)
        await asyncio.sleep(0.05)
        assert server.position == 62
        skipped = json.loads((await asked(server))[2])["lastUpdateId"]
        then = await asyncio.gather(again, frames_of(server, DEPTH))
        return [f for f, _ in first], [f for f, _ in then], skipped

    lines = lines_of(path)
    first, then, skipped = run(client, path, faults=Cut(), connections=2)
    assert first == [lines[1:59], [lines[59]]]
    assert then == [lines[63:], [lines[62]]]
    assert skipped == 120  # the book has taken what nobody was sent


def test_when_all_clients_are_gone_playing_stands_still_and_nothing_is_skipped(tmp_path):
    path = record(tmp_path / "r", [*trades(3), SNAP, *trades(3)])

    async def client(server):
        async with stream(server) as connection:
            first = [await connection.recv(decode=False) for _ in range(3)]
        await asked(server)
        await asyncio.sleep(0.05)
        assert (server.sent, server.position) == (3, 4)
        return first + await played(server)

    assert run(client, path, snapshot_wait_s=20) == [line for k, line in enumerate(lines_of(path)) if k != 3]


def test_a_snapshot_that_is_skipped_is_in_the_book_all_the_same(tmp_path):
    class Away(Faults):
        def on_line(self, n, frame):
            return [frame, Skip(3)] if n == 1 else [frame]

    path = record(tmp_path / "r", [*trades(2), SNAP, diff(1), *trades(2)])

    async def client(server):
        asking = asyncio.create_task(asked(server))
        await until(lambda: server.waiting)
        return await played(server), await asking

    frames, (status, _, body) = run(client, path, faults=Away(), snapshot_wait_s=20)
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

    wrong, right = run(client, path, faults=Down(), snapshot_wait_s=20)
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


# ------------------------------------------------------------------------------------------------- speed and memory


@pytest.mark.parametrize(("speed", "least"), [(1.0, 0.29), (3.0, 0.09), (None, 0.0)])
def test_speed(tmp_path, speed, least):
    path = record(tmp_path / "r", trades(4), step=100)

    began = time.monotonic()
    assert run(played, path, speed=speed) == lines_of(path)
    assert time.monotonic() - began > least


def test_a_client_that_does_not_read_stops_playing(tmp_path):
    n, size = 120, 200_000
    path = record(tmp_path / "r", [on(TRADE, trade(pad="x" * size)) for _ in range(n)])

    async def client(server):
        async with stream(server) as connection:
            before = -1
            while server.sent > before:
                before = server.sent
                await asyncio.sleep(0.2)
            got = 0
            async for _ in connection:
                got += 1
            return before, got

    in_flight, got = run(client, path)
    assert in_flight * size < n * size / 2
    assert got == n


# ---------------------------------------------------------------------------------------------- thread and command


def test_serving_in_a_thread(tmp_path):
    path = record(tmp_path / "r", [SNAP, *trades(3)])
    with serving(path, speed=0, snapshot_wait_s=20) as server:
        assert not server.wait_done(0.01)

        async def client():
            frames = asyncio.create_task(played(server))
            url = server.rest + ASK
            body = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
            return body, await frames

        body, frames = asyncio.run(client())
        assert server.wait_done(10)
        assert body == json.dumps(SNAP).encode()
        assert frames == lines_of(path)[1:]


@pytest.mark.slow
def test_leaving_closes_everything_while_it_plays(tmp_path):
    path = record(tmp_path / "r", [*trades(2), SNAP, *trades(2)])

    async def client():
        with ExitStack() as stack:
            server = stack.enter_context(serving(path, speed=0.01))
            waiting = asyncio.create_task(asked(server))
            playing = asyncio.create_task(frames_of(server))
            silent, writer = await asyncio.open_connection("127.0.0.1", int(server.websocket.rpartition(":")[2]))
            await until(lambda: server.sent)
            await asyncio.to_thread(stack.close)
        assert await silent.read() == b""
        writer.close()
        return (await waiting)[0], (await playing)[1]

    assert asyncio.run(client()) == (None, 1001)


def test_a_damaged_gz_is_told_on_leaving(tmp_path):
    path = record(tmp_path / "r.gz", trades(21_000))  # more than are read at the start
    path.write_bytes(path.read_bytes()[:-8] + b"\1" * 8)
    with pytest.raises(InputError, match="is damaged"), serving(path, speed=0) as server:
        assert asyncio.run(frames_of(server))[1] == 1011


def command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "runtime.live.replay_server", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _Told:
    """Addresses that the command printed."""

    def __init__(self, line):
        told = json.loads(line)
        self.websocket, self.rest, self.streams = told["websocket"], told["rest"], told["streams"]


def test_the_command_serves_to_the_end(tmp_path):
    path = record(tmp_path / "r", [*trades(2), "", diff(1)])
    process = command(path, "--speed", "0", "--no-stamps")
    server = _Told(process.stdout.readline())
    assert server.streams == [TRADE, DEPTH]
    assert asyncio.run(played(server)) == [line.split(b" ", 1)[1] for line in lines_of(path) if line]
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_on_a_signal(tmp_path, name):
    process = command(record(tmp_path / "r", trades(2)))
    assert _Told(process.stdout.readline()).rest
    process.send_signal(name)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, {}, "cannot be read"),
        (b"", {}, "is empty"),
        (b"a,b\n1,2\n", {}, "is no recording"),
        (b"1721347200000000000 \xff\n", {}, "no line that can be played"),
        (b"1721347200000000000 {}\n", {"speed": -1.0}, "speed is -1.0"),
        (b"1721347200000000000 {}\n", {"speed": float("nan")}, "speed is nan"),
        (b"1721347200000000000 {}\n", {"connections": 0}, "connections is 0"),
        (b"1721347200000000000 {}\n", {"snapshot_wait_s": -0.1}, "snapshot_wait_s is -0.1"),
    ],
)
def test_bad_input(tmp_path, content, options, said):
    path = tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        ReplayServer(path, **options)
    with pytest.raises(InputError, match=said), serving([path], **options):
        pass


def test_no_file_and_a_folder_are_bad_input(tmp_path):
    for recording in ([], tmp_path):
        with pytest.raises(InputError):
            ReplayServer(recording)


@pytest.mark.parametrize("more", [[], ["--speed", "-1"]])
def test_the_command_says_bad_input_in_a_sentence(tmp_path, more):
    path = tmp_path / "missing" if not more else record(tmp_path / "r", trades(1))
    process = command(path, *more)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert error.count("\n") == 1
    assert "Traceback" not in error


# -------------------------------------------------------------------------------------------------- real recording


@pytest.mark.slow
@pytest.mark.skipif(not RECORDING.is_dir(), reason="the recordings lie beside the project, not in it")
class TestRealRecording:
    """ETHUSDT, played once: what one client received, in the order it did, with a second snapshot on the way."""

    @pytest.fixture(scope="class")
    def received(self):
        async def client(server):
            told = []

            async def late():
                _, headers, body = await asked(server)
                told.append((len(frames), int(headers["X-Local-Ts"]), body))

            first, later, frames = asyncio.create_task(asked(server)), None, []
            async with stream(server) as connection:
                async for frame in connection:
                    frames.append(frame.encode())
                    if len(frames) == 30_000:
                        later = asyncio.create_task(late())
            await later
            return frames, await first, told[0]

        return run(client, sorted(RECORDING.glob("*.gz")), snapshot_wait_s=20)

    def test_frames_and_snapshot_are_the_recording(self, received):
        frames, (_, headers, body), _ = received
        lines = lines_of(*sorted(RECORDING.glob("*.gz")))
        at = next(k for k, line in enumerate(lines) if b'"lastUpdateId"' in line)
        assert headers["X-Local-Ts"].encode() + b" " + body == lines[at]
        assert frames[:at] == lines[:at]
        assert frames[at:] == lines[at + 1 :]

    def test_a_later_snapshot_continues_the_diffs(self, received):
        frames, _, (at, local_ns, body) = received
        snapshot = json.loads(body)
        assert 30_000 <= at < len(frames)
        assert local_ns in {stamp(frame) for frame in frames}
        assert list(snapshot) == ["lastUpdateId", "E", "T", "bids", "asks"]

        sequence, verdicts = BookSequence(), Counter()

        def judge(d):
            verdicts[sequence.judge(d)] += 1

        for k, frame in enumerate(frames[29_000:], start=29_000):
            if k == at:
                verdicts.clear()
                for held in sequence.snapshot(snapshot["lastUpdateId"]):
                    judge(held)
            if b"depthUpdate" in frame:
                d = json.loads(frame[20:])["data"]
                judge(DepthDiff(d["T"], d["U"], d["u"], d["pu"], [], [], [], []))
        assert verdicts[Verdict.APPLY] > 100
        assert set(verdicts) <= {Verdict.STALE, Verdict.APPLY}

    def test_its_book_is_that_of_the_first_snapshot_and_all_diffs(self, received):
        frames, (_, headers, body), (at, _, later) = received

        def kept(of, snapshot_ns, snapshot, before):
            """Both sides after all frames, price to quantity, by the parser."""
            parser = BinanceParser()
            for k, frame in enumerate(of):
                if k == before:
                    parser.parse(snapshot_ns, snapshot)
                if b"depthUpdate" in frame:
                    parser.parse(stamp(frame), frame[20:])
            assert parser.depth["snapshots"] == 1
            assert not parser.depth["depth_after_gap"]
            assert not parser.bad_rows
            return book_of(parser.take())

        lookback = 29_000
        from_first = kept(frames, int(headers["X-Local-Ts"]), body, 26)
        from_later = kept(frames[lookback:], stamp(frames[at]), later, at - lookback)
        for side in (BUY, SELL):
            best = sorted(from_first[side], reverse=side == BUY)[:200]
            assert {px: from_later[side].get(px) for px in best} == {px: from_first[side][px] for px in best}
            assert len(best) == 200


def book_of(rows):
    book = {BUY: {}, SELL: {}}
    for ev, px, qty in zip(rows["ev"].tolist(), rows["px"].tolist(), rows["qty"].tolist(), strict=True):
        side, kind = ev & (BUY | SELL), ev & KIND_MASK
        if kind == DEPTH_CLEAR:
            book[side].clear()
        elif kind in (DEPTH_KIND, DEPTH_SNAPSHOT):
            if qty:
                book[side][px] = qty
            else:
                book[side].pop(px, None)
    return book
