"""Binance messages to test with: spot and USD-M, prices around 100."""

from __future__ import annotations

import gzip
import json
from itertools import count

import numpy as np

from feature_repo.events import KIND_MASK
from feature_repo.market.binance import BinanceParser

__all__ = ["BOOK", "MS", "T0", "feed", "kinds", "record", "snap", "spot", "trade", "usdm"]

MS = 1_000_000
T0 = 1_721_347_200_000  # ms, 2024-07-19 00:00 UTC


def usdm(first, final, prev, b=(), a=(), t=T0, s="ETHUSDT"):
    return {"e": "depthUpdate", "E": t + 1, "T": t, "s": s, "U": first, "u": final, "pu": prev, "b": b, "a": a}


def spot(first, final, b=(), a=(), t=T0, s="NEXOUSDT"):
    return {"e": "depthUpdate", "E": t, "s": s, "U": first, "u": final, "b": b, "a": a}


def snap(last_id, bids, asks, t=T0):
    body = {"lastUpdateId": last_id, "bids": bids, "asks": asks}
    return body if t is None else {**body, "E": t + 1, "T": t}


_TRADE_IDS = count(1)


def trade(px="100.0", qty="1.0", m=False, t=T0, s="ETHUSDT", **more):
    """A trade with the next id of all."""
    ids = {"t": next(_TRADE_IDS)}
    return {"e": "trade", "E": t, "T": t, "s": s, **ids, "p": px, "q": qty, "X": "MARKET", "m": m, **more}


def feed(messages, parser=None, step=MS):
    """Rows of messages that arrive 1 ms apart, the first 10 ms after T0."""
    parser = parser or BinanceParser()
    for k, m in enumerate(messages):
        parser.parse(T0 * MS + 10 * MS + k * step, json.dumps(m).encode())
    return parser, parser.take()


def kinds(rows):
    return [int(k) for k in rows["ev"] & np.uint64(KIND_MASK)]


def record(path, messages, start=T0 + 10, unit=MS, step=1):
    """A recording: a message a line, ``step`` ms apart; a str is written as it is."""
    lines = [
        m if isinstance(m, str) else f"{(start + k * step) * unit} {json.dumps(m)}" for k, m in enumerate(messages)
    ]
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


BOOK = snap(100, [["99.0", "1"]], [["101.0", "2"]])
