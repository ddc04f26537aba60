"""Names in Binance's messages, and what a message is by them: events that are not modelled, depth streams, contracts.

Reference: Binance API documentation, websocket market streams of spot, USD-M and COIN-M.
"""

from __future__ import annotations

import re
from typing import Any

from .checks import BadRow

__all__ = ["NOT_MODELLED", "depth_stream", "is_coinm", "other_kind"]

NOT_MODELLED = frozenset(
    {
        "1dTicker",
        "1hTicker",
        "24hrMiniTicker",
        "24hrTicker",
        "4hTicker",
        "CommodityUpdate",
        "EquityUpdate",
        "assetIndexUpdate",
        "avgPrice",
        "blockTrade",
        "compositeIndex",
        "continuous_kline",
        "contractInfo",
        "indexPriceUpdate",
        "indexPrice_kline",
        "kline",
        "markPrice_kline",
        "openInterest",
        "referencePrice",
        "serverShutdown",
    }
)
"""Well-formed, and of no use here: skipped by name. Any other name that is not modelled is none of Binance's."""

_CONTROL = {"result", "error", "code", "method", "generated"}
_COINM = re.compile(r"USD_(PERP|\d{6})$")
_PARTIAL = re.compile(r"@depth(5|10|20)(@|$)")


def is_coinm(symbol: str) -> bool:
    """Whether a futures symbol is a COIN-M contract: ETHUSD_PERP, ETHUSD_240927; USD-M delivery has ETHUSDT_240927."""
    return _COINM.search(symbol) is not None


def depth_stream(stream: str) -> str:
    """What a depthUpdate of this stream is: ``diff``, ``partial`` or ``rpi``; a message without stream name is a diff.

    RPI depth (retail orders included) numbers its diffs like the book's own, and is a book of its own.
    """
    if _PARTIAL.search(stream):
        return "partial"
    return "rpi" if "@rpiDepth" in stream else "diff"


def other_kind(message: dict[str, Any], data: dict[str, Any], stream: str) -> tuple[str | None, str]:
    """What a message is that its field 'e' alone does not tell.

    Parameters
    ----------
    message, data : as received, and what is in its wrapper if it has one
    stream : its name; empty without a wrapper

    Returns
    -------
    (kind, ""), or (None, as what it is to be skipped)

    Raises
    ------
    BadRow
        For what is no message of Binance's.
    """
    kind = data.get("e")
    if kind == "depthUpdate":
        what = depth_stream(stream)
        if what == "rpi":
            return None, "RPI depth stream"
        return "depthUpdate" if what == "diff" else "partialDepth", ""
    if kind is None:
        if "lastUpdateId" in data:
            return "partialDepth" if stream and depth_stream(stream) == "partial" else "snapshot", ""
        if "u" in data and "B" in data and "A" in data:
            return "bookTicker", ""  # of spot, which names no event
        if message.get("ofi_meta") == "feed lost":
            return "feed lost", ""
        if not _CONTROL.isdisjoint(message):
            return None, "control or unnamed message"
        raise BadRow("unknown kind: no field 'e'")
    if type(kind) is not str:
        raise BadRow("field 'e' is no text")
    if kind not in NOT_MODELLED:
        raise BadRow(f"unknown kind {kind[:40]!r}")
    return None, kind
