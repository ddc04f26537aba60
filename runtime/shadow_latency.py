"""Order latency of a replay: one constant, or what the tape's own feed took at that moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from feature_repo.constants import BASE_LATENCY_NS, SECOND_NS
from feature_repo.events import EXCH, LOCAL
from feature_repo.market.hft_files import HftFiles

__all__ = ["ORDER_LATENCY_DTYPE", "feed_latency", "round_trip"]

ORDER_LATENCY_DTYPE = np.dtype([("req_ts", "i8"), ("exch_ts", "i8"), ("resp_ts", "i8"), ("_padding", "i8")], align=True)
"""hftbacktest's order_latency_dtype: a request that leaves at ``req_ts`` (local) reaches the exchange at ``exch_ts``
and is answered by ``resp_ts``; linear between rows."""


def feed_latency(hft_events: np.ndarray | HftFiles, *, every_ns: int = SECOND_NS) -> np.ndarray:
    """Order latencies as long as the feed's own, each way, sampled once in ``every_ns``.

    A row holds what the newest message had taken when the sample was made, so nothing later than the request is used
    but for the interpolation to the next sample. A feed of less than ``BASE_LATENCY_NS`` counts as that much: an order
    does not arrive before it was sent.

    Parameters
    ----------
    hft_events : EVENT_DTYPE [E] from ``to_hftbacktest``, or the files of ``write_hft``; on the corrected local clock
    every_ns : distance of the samples

    Returns
    -------
    ORDER_LATENCY_DTYPE [L], increasing in all three times; empty for a tape without a message that was seen both at the
    exchange and here
    """
    parts = [hft_events] if isinstance(hft_events, np.ndarray) else map(_read, hft_events.paths)
    sampled = [_newest(part, every_ns) for part in parts]
    local, exch = (np.concatenate(column) for column in zip(*sampled, strict=True))
    last = np.flatnonzero(np.diff(local // every_ns, append=np.iinfo(np.int64).max))
    local, exch = local[last], exch[last]
    took = np.maximum(local - exch, BASE_LATENCY_NS)
    out = np.zeros(len(local), ORDER_LATENCY_DTYPE)
    out["req_ts"] = local
    # A later request never overtakes an earlier one, nor does its answer.
    out["exch_ts"] = _increasing(out["req_ts"] + took)
    out["resp_ts"] = _increasing(out["exch_ts"] + took)
    return out


def _read(path: Path) -> np.ndarray:
    with np.load(path) as file:
        return file["data"]


def _newest(events: np.ndarray, every_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """(local, exchange) times of the last message of each step that was seen at both ends."""
    both = (events["ev"] & np.uint64(EXCH)).astype(bool) & (events["ev"] & np.uint64(LOCAL)).astype(bool)
    local, exch = events["local_ts"][both], events["exch_ts"][both]  # rows with both flags are in both orders
    last = np.flatnonzero(np.diff(local // every_ns, append=np.iinfo(np.int64).max))
    return local[last], exch[last]


def _increasing(t: np.ndarray) -> np.ndarray:
    steps = np.arange(len(t))
    return np.maximum.accumulate(t - steps) + steps


@njit
def _at(times, took_from, t):
    """Latency at ``t``: linear between the rows of ``times``, constant beyond them."""
    n = times.shape[0]
    if t < times[0]:
        return took_from[0] - times[0]
    if t >= times[n - 1]:
        return took_from[n - 1] - times[n - 1]
    lo, hi = 0, n - 1  # times[lo] <= t < times[hi]
    while hi - lo > 1:
        m = (lo + hi) // 2
        if times[m] <= t:
            lo = m
        else:
            hi = m
    a, b = took_from[lo] - times[lo], took_from[hi] - times[hi]
    return a + np.int64((b - a) / (times[hi] - times[lo]) * (t - times[lo]))


@njit
def round_trip(lat, t, constant_ns):
    """Nanoseconds from a request that leaves at ``t`` to its answer.

    Parameters
    ----------
    lat : ORDER_LATENCY_DTYPE [L]; empty: ``constant_ns`` each way
    """
    if lat.shape[0] == 0:
        return 2 * constant_ns
    there = _at(lat["req_ts"], lat["exch_ts"], t)
    return there + _at(lat["exch_ts"], lat["resp_ts"], t + there)
