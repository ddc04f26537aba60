"""A stand-in for a venue on this machine: a recording, played over a websocket and a REST port like Binance's.

    python -m runtime.live.replay_server RECORDING [--speed 1] [--no-stamps] [--port 0]

It prints one JSON line with its addresses and serves until the end of the recording, SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError

from .replay_clients import Clients
from .replay_faults import Action, Faults, Hangup, Pause, Skip
from .replay_lines import Line, Recording, stream_of
from .replay_rest import DepthDesk

__all__ = ["ReplayServer", "main", "serving"]

_HOST = "127.0.0.1"
_LINES_A_TURN = 16  # lines played before anything else gets its turn


class _Pace:
    """When a line is due, by its recorded local time."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._anchor_s: float | None = None  # loop time at which local time 0 would have been due

    def _due_in(self, local_ns: int) -> float:
        now, at = asyncio.get_running_loop().time(), local_ns / SECOND_NS / self._speed
        if self._anchor_s is None:
            self._anchor_s = now - at
        return self._anchor_s + at - now

    async def until(self, local_ns: int) -> None:
        if self._speed and (left := self._due_in(local_ns)) > 0:
            await asyncio.sleep(left)

    def forgive(self, local_ns: int) -> None:
        """Playing stood still: what is overdue is due now, and all else that much later."""
        if self._speed and (left := self._due_in(local_ns)) < 0:
            self._anchor_s -= left


class ReplayServer:
    """Plays a recording, `<local_ts> <json>` a line, to websocket clients, and hands out its depth snapshot.

    **Websocket.** ``<websocket>/<anything>/stream?streams=a@depth@0ms/b@trade``, any number of connections; each gets
    the lines of the streams it names, and those that name no stream. A text frame is ``<local_ns> <json>``, the local
    time with 19 digits, or the JSON alone, byte for byte as recorded. Playing starts when ``connections`` are open. It
    waits for the slowest of them. When all are gone it stands still, and goes on where it is when as many are there
    again; what was on its way to a client when that one closed is lost. At the end they are closed with code 1000.

    **REST.** ``<rest>/fapi/v1/depth?symbol=...&limit=...``, or ``/dapi/v1/depth``, ``/api/v3/depth``. At the
    recording's first snapshot playing stands still, until a client has asked for it, has taken all of it and has closed
    its connection; requests that came earlier have waited for it, and all get it as recorded, whatever their limit. So
    what a client makes of the recording does not depend on how fast it asks. Any request later is answered from a book
    that the server keeps of what it has played; it continues by the sequence rule. Where the recording itself misses
    diffs, requests wait for its next snapshot, which is handed out like the first one. Snapshots of the recording never
    go over the websocket. Header ``X-Local-Ts``: local time in ns of the snapshot, or of the last line played.

    Lines without a readable local time or that are no UTF-8 text cannot be played; see ``left_out``.

    Parameters
    ----------
    recording : a file, plain or .gz, or several that continue each other, in any order
    speed : 1 is real time by the recorded local times, 10 is ten times as fast; 0 or None as fast as clients take it
    stamps : whether frames and answers carry the recorded local time
    connections : how many must be open for playing to start
    snapshot_wait_s : how long playing stands still at a snapshot that nobody asks for; a process that has to compile
        its kernels first asks late
    faults : what to do wrong
    port, rest_port : 0 for free ones

    Attributes
    ----------
    websocket, rest : where it serves, ``ws://127.0.0.1:<port>`` and ``http://127.0.0.1:<port>``; inside ``async with``
    streams : names of the streams in the first 20,000 lines
    symbol : the one that depth is answered for
    done : an asyncio.Event: the recording has ended, and the connections are closed
    sent : frames sent, over all connections
    position : number of the line being played, from 1, over all files
    waiting : REST requests that wait for a snapshot
    left_out : lines that could not be played, by reason

    Raises
    ------
    InputError
        When a file cannot be read, is no recording or is empty, or a parameter is out of range. On leaving the ``async
        with``: what stopped playing, such as a damaged .gz; clients were closed with code 1011 then.
    """

    def __init__(
        self,
        recording: Path | str | Sequence[Path | str],
        *,
        speed: float | None = 1.0,
        stamps: bool = True,
        connections: int = 1,
        snapshot_wait_s: float = 60.0,
        faults: Faults | None = None,
        port: int = 0,
        rest_port: int = 0,
    ) -> None:
        speed = 0.0 if speed is None else speed
        _at_least(0, "speed", speed, "0 for as fast as possible, 1 for real time")
        _at_least(1, "connections", connections, "the number of connections that the client opens")
        _at_least(0, "snapshot_wait_s", snapshot_wait_s, "seconds")
        self._recording = Recording(recording)
        self.streams = self._recording.streams
        self.symbol = self._recording.symbol
        self.websocket = self.rest = ""
        self.done = asyncio.Event()
        self.position = 0
        self._stamps, self._snapshot_wait_s = stamps, snapshot_wait_s
        self._faults = faults or Faults()
        self._ports = port, rest_port
        self._pace = _Pace(speed)
        self._desk = DepthDesk(self.symbol, stamps=stamps, faults=self._faults)
        self._clients = Clients(connections)
        self._skip = 0
        self._handed_out = False
        self._error: Exception | None = None
        self._done_for_threads = threading.Event()

    @property
    def sent(self) -> int:
        return self._clients.sent

    @property
    def left_out(self) -> Counter[str]:
        return self._recording.left_out

    @property
    def waiting(self) -> int:
        return self._desk.waiting

    def wait_done(self, timeout_s: float | None = None) -> bool:
        """As ``done.wait``, for other threads than the server's; whether it is done."""
        return self._done_for_threads.wait(timeout_s)

    async def __aenter__(self) -> ReplayServer:
        port, rest_port = self._ports
        self._rest_server = await asyncio.start_server(self._desk.serve, _HOST, rest_port)
        try:
            self.websocket = await self._clients.listen(_HOST, port)
        except BaseException:
            self._rest_server.close()
            raise
        self.rest = f"http://{_HOST}:{self._rest_server.sockets[0].getsockname()[1]}"
        self._player = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._player.cancel()
        await asyncio.wait({self._player})
        self._rest_server.close()
        await self._desk.close()
        await self._clients.close()
        if self._error is not None and kind is None:
            raise self._error

    async def _run(self) -> None:
        try:
            await self._play()
        except Exception as error:
            self._error = error  # a damaged file, or a fault that failed: told when the server is left
        self._desk.end()
        await self._clients.end(failed=self._error is not None)
        self.done.set()
        self._done_for_threads.set()

    async def _play(self) -> None:
        with closing(self._recording.lines()) as lines:
            for line in lines:
                if not line.number % _LINES_A_TURN:
                    await asyncio.sleep(0)
                skipped = self._skip > 0
                if skipped:
                    self._skip -= 1
                else:
                    await self._together(line)
                    await self._pace.until(line.local_ns)
                self.position, self._desk.local_ns = line.number, line.local_ns
                snapshot = line.snapshot()
                if snapshot is not None:
                    if not skipped and (self._desk.waiting or not self._handed_out):
                        await self._desk.hand_out(line.payload, line.local_ns, self._snapshot_wait_s)
                        self._pace.forgive(line.local_ns)
                    self._handed_out = True
                    self._desk.take(snapshot)
                    continue
                diff = line.diff()
                if diff is not None and diff.get("s", self.symbol) == self.symbol:
                    self._desk.book.diff(diff)
                if not skipped:
                    frame = line.stamped if self._stamps else line.payload
                    for action in self._faults.on_line(line.number, frame):
                        await self._do(action, line, frame)

    async def _do(self, action: Action, line: Line, frame: bytes) -> None:
        match action:
            case bytes():
                stream, before = line.stream if action is frame else stream_of(action), self._clients.sent
                while not await self._clients.send(action, stream):
                    await self._together(line)
                if action is frame and self._clients.sent > before:
                    self._desk.sent_ns = line.local_ns
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Hangup():
                await self._clients.hang_up()
                self._desk.sent_ns = 0  # it may never arrive
            case Skip(lines):
                self._skip += lines
            case _:
                raise TypeError(f"on_line gave {action!r}; bytes, Pause, Hangup and Skip are understood")

    async def _together(self, line: Line) -> None:
        """Until clients are there."""
        if await self._clients.together():
            self._pace.forgive(line.local_ns)


@contextmanager
def serving(recording: Path | str | Sequence[Path | str], **options: Any) -> Iterator[ReplayServer]:
    """A ``ReplayServer`` in a thread with an event loop of its own; takes its parameters, and raises what it raises.

    Leaving closes everything, also while it plays. Its counters may be read from any thread; of ``done`` use
    ``wait_done``.
    """
    server = ReplayServer(recording, **options)
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    ended: Future[None] = Future()

    async def serve_until_stopped() -> None:
        stop = asyncio.Event()
        async with server:
            begun.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            ended.set_result(asyncio.run(serve_until_stopped()))
        except BaseException as error:
            (ended if begun.done() else begun).set_exception(error)

    thread = threading.Thread(target=run, name="replay server", daemon=True)
    thread.start()
    loop, stop = begun.result()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
    ended.result()


def _at_least(least: float, name: str, value: float, meaning: str) -> None:
    if not (isfinite(value) and value >= least):
        raise InputError(f"{name} is {value}", f"a number of at least {least}: {meaning}", f"Change {name}")


async def _serve_command(server: ReplayServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with server:
        where = {"websocket": server.websocket, "rest": server.rest, "streams": list(server.streams)}
        print(json.dumps(where), flush=True)
        either = [asyncio.create_task(event.wait()) for event in (stop, server.done)]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for task in either:
            task.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.live.replay_server",
        description="Play a Binance recording over a websocket and a REST port of this machine.",
    )
    parser.add_argument("recording", nargs="+", type=Path, help="files, plain or .gz, that continue each other")
    parser.add_argument("--speed", type=float, default=1.0, help="1: real time; 0: as fast as clients take it")
    parser.add_argument("--no-stamps", action="store_true", help="send the JSON without the recorded local time")
    parser.add_argument("--port", type=int, default=0, help="of the websocket; 0: a free one")
    parser.add_argument("--rest-port", type=int, default=0, help="of REST; 0: a free one")
    parser.add_argument("--connections", type=int, default=1, help="how many must be open for playing to start")
    given = parser.parse_args(arguments)
    try:
        server = ReplayServer(
            given.recording,
            speed=given.speed,
            stamps=not given.no_stamps,
            connections=given.connections,
            port=given.port,
            rest_port=given.rest_port,
        )
        asyncio.run(_serve_command(server))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, OverflowError) as error:
        print(f"No port could be opened ({error}). Give another --port, or 0 for a free one.", file=sys.stderr)
        return 2
    if server.left_out:
        what = ", ".join(f"{n} x {reason}" for reason, n in server.left_out.items())
        print(f"Lines that could not be played: {what}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
