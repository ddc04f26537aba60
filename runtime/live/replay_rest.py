"""The REST side of a replay server: depth snapshots over a minimal HTTP/1.1, one answer a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import orjson

from .replay_book import TextBook
from .replay_faults import Faults, Hang
from .snapshots import SENT_HEADER, STAMP_HEADER

__all__ = ["DepthDesk"]

DEPTH_PATHS = ("/fapi/v1/depth", "/dapi/v1/depth", "/api/v3/depth")
_DEFAULT_LIMIT = 1000
_CLIENT_S = 10.0
"""How long a client may take to ask, and to close after the answer."""


class _Offer:
    """A recorded snapshot, while playing stands still at it."""

    def __init__(self, body: bytes, local_ns: int) -> None:
        self.body, self.local_ns = body, local_ns
        self.takers = 0
        self.taken = False
        self.changed = asyncio.Event()


class DepthDesk:
    """Answers depth requests: with a recorded snapshot while one is handed out, else from the book.

    A request that comes while the book is not valid, because no snapshot was played yet or because diffs are missing,
    waits for the next snapshot; at the end of the recording it gets a 503.

    Attributes
    ----------
    book : what has been played so far; the player gives it the diffs
    local_ns : local time of the last line played, ns UTC; set by the player
    sent_ns : of the last one that clients were sent as it is, 0 before; set by the player
    """

    def __init__(self, symbol: str, *, stamps: bool, faults: Faults) -> None:
        self.book = TextBook()
        self.local_ns = self.sent_ns = 0
        self._symbol, self._stamps, self._faults = symbol, stamps, faults
        self._asked = 0
        self._offer: _Offer | None = None
        self._ended = False
        self._waiting: list[asyncio.Future[_Offer | None]] = []
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def waiting(self) -> int:
        """Requests that wait for a snapshot."""
        return len(self._waiting)

    async def hand_out(self, body: bytes, local_ns: int, wait_s: float) -> None:
        """Offer a recorded snapshot to those who wait, or who ask within ``wait_s``; returns when they have it."""
        offer = self._offer = _Offer(body, local_ns)
        offer.takers = len(self._waiting)
        self._release(offer)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        try:
            while offer.takers or (not offer.taken and loop.time() < deadline):
                offer.changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(None if offer.takers else deadline):
                        await offer.changed.wait()
        finally:
            self._offer = None

    def take(self, snapshot: Mapping[str, Any]) -> None:
        """A snapshot is played, handed out or not."""
        self.book.snapshot(snapshot)
        if self.book.valid:
            self._release(None)

    def end(self) -> None:
        """Nothing more is played."""
        self._ended = True
        self._release(None)

    async def close(self) -> None:
        """Cut off every connection that is still open."""
        self.end()
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(list(self._open))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from the request to the client's end of it."""
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            async with asyncio.timeout(_CLIENT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            request = _Request(head, reader, writer)
            try:
                await self._answer(request)
            finally:
                request.close()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that says nothing, or is gone
        finally:
            del self._open[task]
            writer.close()

    def _release(self, offer: _Offer | None) -> None:
        """Let those go on who wait; each is one of the offer's takers."""
        for request in self._waiting:
            request.set_result(offer)
        self._waiting.clear()

    async def _answer(self, request: _Request) -> None:
        if request.method != "GET":
            await request.answer(405, _error(-1000, "Only GET is answered here."))
            return
        if request.path not in DEPTH_PATHS:
            await request.answer(404, _error(-1000, f"Depth is answered at {', '.join(DEPTH_PATHS)}."))
            return
        self._asked += 1
        fault = self._faults.on_request(self._asked)
        if isinstance(fault, Hang):
            if await request.gone_within(fault.seconds):
                return
        elif fault is not None:
            await request.answer(fault.status, fault.body, fault.headers)
            return
        limit = request.query.get("limit", str(_DEFAULT_LIMIT))
        if request.query.get("symbol") != self._symbol:
            await request.answer(400, _error(-1121, "Invalid symbol."))
        elif not (limit.isdecimal() and int(limit)):
            await request.answer(400, _error(-1130, "Data sent for parameter 'limit' is not valid."))
        else:
            await self._depth(request, int(limit))

    async def _depth(self, request: _Request, limit: int) -> None:
        offer = self._offer
        if offer is not None:
            offer.takers += 1
        elif not (self.book.valid or self._ended):
            released: asyncio.Future[_Offer | None] = asyncio.get_running_loop().create_future()
            self._waiting.append(released)
            await request.gone_before(released)
            if not released.done():
                self._waiting.remove(released)
                return
            offer = released.result()
        if offer is not None:
            try:
                if not request.gone and await request.answer(200, offer.body, self._stamp(offer.local_ns)):
                    offer.taken = True
            finally:
                offer.takers -= 1
                offer.changed.set()
        elif self.book.valid:
            await request.answer(200, self.book.answer(limit), self._stamp(self.local_ns))
        else:
            await request.answer(503, _error(-1001, "The recording has ended without a valid book."))

    def _stamp(self, local_ns: int) -> dict[str, str]:
        return {STAMP_HEADER: str(local_ns), SENT_HEADER: str(self.sent_ns)} if self._stamps else {}


class _Request:
    """What a client asks, and whether it is still there."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.method, target, *_ = (*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", "")
        self.path, _, query = target.partition("?")
        self.query = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        self._reader, self._writer = reader, writer
        self._gone = asyncio.create_task(self._until_eof())

    def close(self) -> None:
        """Watch for the client's end of the connection no longer."""
        self._gone.cancel()

    @property
    def gone(self) -> bool:
        """Whether the client has closed its connection, or only its side of it."""
        return self._gone.done()

    async def gone_within(self, seconds: float) -> bool:
        """Wait so long, or until the client is gone."""
        await asyncio.wait({self._gone}, timeout=seconds)
        return self.gone

    async def gone_before(self, released: asyncio.Future[Any]) -> None:
        """Wait for that, or until the client is gone."""
        await asyncio.wait({self._gone, released}, return_when=asyncio.FIRST_COMPLETED)

    async def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bool:
        """Answer, and wait until the client closes; False if the connection broke before."""
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        fields = {
            "Content-Type": "application/json;charset=UTF-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **(headers or {}),
        }
        head = f"HTTP/1.1 {status} {phrase}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        try:
            self._writer.write(head.encode("latin-1") + body)
            await self._writer.drain()
            self._writer.write_eof()
        except OSError:
            return False
        await asyncio.wait({self._gone}, timeout=_CLIENT_S)
        return not self.gone or self._gone.result()

    async def _until_eof(self) -> bool:
        """Until the client closes; False if the connection broke instead."""
        try:
            while await self._reader.read(1 << 12):
                pass
        except OSError:
            return False
        return True


def _error(code: int, message: str) -> bytes:
    """As Binance words an error."""
    return orjson.dumps({"code": code, "msg": message})
