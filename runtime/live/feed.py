"""The venue's websocket streams: opened, watched, opened again. The only file of the runtime that loads websockets."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedOK

from feature_repo.market.binance import FEED_LOST

from .inbox import Inbox

__all__ = ["ENDED", "Feed"]

ENDED = "closed"
"""Why a connection is down that the other side closed in good order."""

_LARGEST = 16 << 20
_BACKOFF_S = (0.25, 30.0)
_STAMP_DIGITS = 19
_PING_S = 20.0
_GOODBYE_S = 0.5
"""For the other side to answer a close: behind messages that nobody reads any more its answer is never seen."""


class Feed:
    """Puts every message of some combined streams into an inbox, in a thread with an event loop of its own.

    A connection that ends, fails, or says nothing for ``silence_s`` is opened again, after a wait that doubles up to
    30 s and starts afresh once a message has come. Pings are answered, and sent, by the library. When the connection
    that carries depth is lost, ``FEED_LOST`` is put: the book is not to be trusted from there on, whatever comes first
    afterwards.

    Parameters
    ----------
    routes : address by name; the first carries depth
    inbox : gets the messages
    stamped : the frames are those of a replay, `<local_ns> <json>`
    on_route : called with (name, whether it is open, why not), from the feed's thread
    silence_s : without a message for so long the connection that carries depth is opened anew
    ends : a connection that the other side closes in good order is the end: of a replay, which is not pinged, as it may
        be far ahead of what is read
    """

    def __init__(
        self,
        routes: Mapping[str, str],
        inbox: Inbox,
        *,
        stamped: bool = False,
        on_route: Callable[[str, bool, str], None] = lambda *_: None,
        silence_s: float = 15.0,
        backoff_s: tuple[float, float] = _BACKOFF_S,
        ends: bool = False,
    ) -> None:
        self._routes, self._inbox, self._stamped, self._on_route = dict(routes), inbox, stamped, on_route
        self._silence_s, self._backoff_s, self._ends = silence_s, backoff_s, ends
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="feed", daemon=True)

    def start(self) -> None:
        """Open the connections; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Close them, and wait for the thread. The inbox is closed then."""
        self._stopping = True
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # it closed meanwhile
                self._loop.call_soon_threadsafe(self._cancel)
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _serve(self) -> None:
        try:
            asyncio.run(self._all())
        finally:
            self._inbox.close()

    async def _all(self) -> None:
        self._loop = asyncio.get_running_loop()
        depth = next(iter(self._routes))
        self._tasks = [
            asyncio.create_task(self._follow(name, url, depth=name == depth)) for name, url in self._routes.items()
        ]
        if self._stopping:
            self._cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, name: str, url: str, *, depth: bool) -> None:
        wait_s, most_s = self._backoff_s
        while True:
            heard, ended = [0], False
            why = ENDED
            try:
                async with connect(
                    url, max_size=_LARGEST, ping_interval=None if self._ends else _PING_S, close_timeout=_GOODBYE_S
                ) as socket:
                    self._on_route(name, True, "")
                    watch = asyncio.create_task(self._watch(socket, heard)) if depth else None
                    try:
                        await self._read(socket, heard)
                        ended = self._ends
                    finally:
                        if watch is not None:
                            watch.cancel()
            except Exception as error:  # whatever a network or a library may do: it is told, and opened again
                why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            finally:
                self._on_route(name, False, why)
                if depth and not ended:
                    self._inbox.put(FEED_LOST)
            if ended:
                return
            wait_s = self._backoff_s[0] if heard[0] else min(2 * wait_s, most_s)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # not all clients at the same moment

    async def _read(self, socket: ClientConnection, heard: list[int]) -> None:
        inbox, stamped = self._inbox, self._stamped
        async for frame in _frames(socket):
            heard[0] += 1
            if not stamped:
                inbox.put(frame)
            elif frame[_STAMP_DIGITS : _STAMP_DIGITS + 1] == b" " and frame[:_STAMP_DIGITS].isdigit():
                inbox.put(frame[_STAMP_DIGITS + 1 :], int(frame[:_STAMP_DIGITS]))
            while inbox.full:
                heard[0] += 1  # it is we who pause
                await asyncio.sleep(0.001)

    async def _watch(self, socket: ClientConnection, heard: list[int]) -> None:
        """Close a connection that says nothing: it may be dead without knowing."""
        before = -1
        while heard[0] != before:
            before = heard[0]
            await asyncio.sleep(self._silence_s)
        socket.transport.abort()


async def _frames(socket: ClientConnection) -> AsyncIterator[bytes]:
    """Frames as bytes until the other side closes in good order."""
    try:
        while True:
            yield await socket.recv(decode=False)
    except ConnectionClosedOK:
        return
