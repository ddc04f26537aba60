"""Names in Binance's messages: events of market streams that are not modelled, depth streams, contracts.

Reference: Binance API documentation, websocket market streams of spot, USD-M and COIN-M.
"""

from __future__ import annotations

import re

__all__ = ["NOT_MODELLED", "depth_stream", "is_coinm"]

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
