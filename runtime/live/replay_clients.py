"""The websocket side of a replay server: who is connected, what each asked for, and sending to all of them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

__all__ = ["Clients"]

_PATH_END = "/stream"
_SEND_BUFFER = 1 << 18  # of the operating system, a connection
_FLUSH_POLL_S = 0.002
_GOODBYE_S = 1.0  # for clients to close, when the server is left before the end


class _Client(NamedTuple):
    connection: ServerConnection
    streams: frozenset[str]

    @property
    def is_open(self) -> bool:
        return self.connection.state is State.OPEN


class Clients:
    """Connections to ``<anything>/stream?streams=<name>/<name>``.

    Parameters
    ----------
    needed : how many must be open at first, and again after all have gone

    Attributes
    ----------
    sent : frames sent, over all connections
    """

    def __init__(self, needed: int) -> None:
        self.sent = 0
        self._needed = needed
        self._clients: list[_Client] = []
        self._came = asyncio.Event()
        self._complete = False  # as many were there as are needed, and not all of them have gone since
        self._ended = False

    async def listen(self, host: str, port: int) -> str:
        """Accept connections; the address."""
        # Neither pings nor timeouts: a client that compiles or is debugged for a minute is slow, and not gone.
        self._server: Server = await serve(
            self._serve,
            host,
            port,
            process_request=_refusal,
            compression=None,
            ping_interval=None,
            close_timeout=None,
        )
        return f"ws://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def together(self) -> bool:
        """Wait until clients are there; whether that took any waiting."""
        if self._complete and self._open():
            return False
        while self._open() < self._needed:
            self._came.clear()
            await self._came.wait()
        self._complete = True
        return True

    async def send(self, frame: bytes, stream: str | None) -> bool:
        """Send to those who want the stream, None to all; False where all were gone before anyone had it."""
        reached = False
        for client in self._clients.copy():
            if client.is_open and (stream is None or stream in client.streams):
                with suppress(ConnectionClosed):
                    await client.connection.send(frame, text=True)
                    self.sent += 1
                    reached = True
        return reached or self._open() > 0

    async def hang_up(self) -> None:
        """Cut all off without a closing handshake, once what was sent has left this process."""
        cut = self._clients.copy()
        for client in cut:
            transport = client.connection.transport
            while transport.get_write_buffer_size() and not transport.is_closing():
                await asyncio.sleep(_FLUSH_POLL_S)
        for client in cut:
            client.connection.transport.abort()
        for client in cut:
            await client.connection.wait_closed()
        self._complete = False

    async def end(self, *, failed: bool) -> None:
        """Close all, when each has taken what was sent; who comes later is closed at once."""
        self._ended = True
        code = CloseCode.INTERNAL_ERROR if failed else CloseCode.NORMAL_CLOSURE
        await asyncio.gather(*(client.connection.close(code) for client in self._clients))

    async def close(self) -> None:
        """Stop serving; who does not close in time is cut off."""
        self._server.close()
        try:
            await asyncio.wait_for(self._server.wait_closed(), _GOODBYE_S)
        except TimeoutError:
            for connection in list(self._server.handlers):
                connection.transport.abort()
            await self._server.wait_closed()

    def _open(self) -> int:
        return sum(client.is_open for client in self._clients)

    async def _serve(self, connection: ServerConnection) -> None:
        """One connection, until it is closed."""
        if self._ended:
            return
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        assert connection.request is not None
        client = _Client(connection, _streams_of(connection.request.path))
        self._clients.append(client)
        self._came.set()
        try:
            with suppress(ConnectionClosed):
                async for _ in connection:
                    pass  # read on, so that pings are answered
        finally:
            self._clients.remove(client)
            self._complete = self._complete and self._open() > 0


def _streams_of(target: str) -> frozenset[str]:
    names = parse_qs(urlsplit(target).query).get("streams", [""])[-1]
    return frozenset(name for name in names.split("/") if name)


def _refusal(connection: ServerConnection, request: Request) -> Response | None:
    """The answer to a client that asks for no stream."""
    if not urlsplit(request.path).path.endswith(_PATH_END):
        return connection.respond(404, f"Streams are served at <anything>{_PATH_END}?streams=<name>/<name>\n")
    if not _streams_of(request.path):
        return connection.respond(400, "Name at least one stream: ?streams=<name>/<name>\n")
    return None
