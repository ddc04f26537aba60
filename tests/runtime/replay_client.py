"""A client of a replay server, what it is given to play, and what it gets."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runtime.live.replay_server import ReplayServer
from tests.feature_repo.binance_messages import T0, snap, trade, usdm

__all__ = [
    "ASK",
    "DEPTH",
    "PATIENCE_S",
    "ROOT",
    "SNAP",
    "TRADE",
    "asked",
    "diff",
    "frames_and_snapshot",
    "frames_of",
    "lines_of",
    "on",
    "played",
    "run",
    "stamp",
    "stream",
    "trades",
    "turns",
    "until",
]

ROOT = Path(__file__).resolve().parents[2]
DEPTH, TRADE = "ethusdt@depth@0ms", "ethusdt@trade"
ASK = "/fapi/v1/depth?symbol=ETHUSDT&limit=1000"
PATIENCE_S = 60.0  # for what must happen, on a machine that is busy with other things


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


def run(client, recording, *, within_s=PATIENCE_S, **options):
    """What ``client(server)`` gives, against a server of its own; as fast as it takes it, unless told otherwise."""

    async def both():
        async with ReplayServer(recording, **{"speed": 0, "snapshot_wait_s": 0.0, **options}) as server:
            return await asyncio.wait_for(client(server), within_s)

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


async def asked(server, target=ASK, method="GET", hold=None, taken=None):
    """Status, headers and body of one request; ``taken`` is set with them, the connection is open until ``hold`` is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.rest.rpartition(":")[2]))
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = await reader.read()
    if taken is not None:
        taken.set()
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
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def turns():
    """Turns of the loop, more than all that is under way needs: for what must not happen."""
    for _ in range(100):
        await asyncio.sleep(0.0005)
