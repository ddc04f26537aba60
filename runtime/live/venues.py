"""Where each venue's public market data is, and which of its streams come by which route.

Reference: Binance API documentation, websocket market streams. USD-M has routed endpoints since April 2026: a stream
that is asked for by the other route is silent.
"""

from __future__ import annotations

from typing import NamedTuple

from feature_repo.errors import InputError

__all__ = ["ENDPOINTS", "Endpoints", "routes_of", "snapshot_url", "streams_of"]


class Endpoints(NamedTuple):
    """Addresses of one venue.

    Attributes
    ----------
    public : websocket base of the book: depth and bookTicker
    market : websocket base of the rest; the same as ``public`` where the venue has one route: one connection then
    rest : base of the depth snapshot, which is at ``depth``
    """

    public: str
    market: str
    rest: str
    depth: str


ENDPOINTS = {
    "binance_usdm": Endpoints(
        "wss://fstream.binance.com/public",
        "wss://fstream.binance.com/market",
        "https://fapi.binance.com",
        "/fapi/v1/depth",
    ),
    "binance_coinm": Endpoints(
        "wss://dstream.binance.com", "wss://dstream.binance.com", "https://dapi.binance.com", "/dapi/v1/depth"
    ),
    "binance_spot": Endpoints(
        "wss://stream.binance.com:9443", "wss://stream.binance.com:9443", "https://api.binance.com", "/api/v3/depth"
    ),
}

_LIMIT = 1_000
_BOOK = ("depth", "bookTicker")


def streams_of(venue: str, symbol: str, trades: str = "aggTrade") -> list[str]:
    """Names of the streams that the features need.

    Parameters
    ----------
    trades : "aggTrade", or "trade" for each single one
    """
    names = ["depth@100ms", "bookTicker", trades]
    if venue != "binance_spot":
        names += ["forceOrder", "markPrice@1s"]
    return [f"{symbol.lower()}@{name}" for name in names]


def routes_of(endpoints: Endpoints, streams: list[str]) -> dict[str, str]:
    """Address of each connection by the name of its route; that which carries depth is first.

    Raises
    ------
    InputError
        Without a depth stream: there would be no book.
    """
    book = [s for s in streams if s.partition("@")[2].startswith(_BOOK)]
    rest = [s for s in streams if s not in book]
    if not any("@depth" in s for s in book):
        raise InputError(f"the streams {', '.join(streams) or 'none'}", "a depth stream among them", "Add @depth@100ms")
    if endpoints.public == endpoints.market:
        return {"all": _combined(endpoints.public, book + rest)}
    routes = {"public": _combined(endpoints.public, book)}
    return routes | ({"market": _combined(endpoints.market, rest)} if rest else {})


def snapshot_url(endpoints: Endpoints, symbol: str) -> str:
    """Address of the depth snapshot."""
    return f"{endpoints.rest}{endpoints.depth}?symbol={symbol}&limit={_LIMIT}"


def _combined(base: str, streams: list[str]) -> str:
    return f"{base}/stream?streams={'/'.join(streams)}"
