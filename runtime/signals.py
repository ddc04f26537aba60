"""The five built-in signals: when flow crosses a profile's thresholds, and what kind of entry that is. No look-ahead.

A candidate fires at t_k when the pair (side * ofi_z, side * cvd_z) of a profile holds that did not hold in the window
before; both windows must be valid. The strictest tier newly crossed is stored, and the most specific type wins:

1. liquidation: forced flow towards ``side`` makes up a cluster. Sliced IOC with the flow.
2. reclaim: a level broke and the next bar closed back inside (levels.py); the flow now reverses the break. IOC.
3. divergence: the mid is at or beyond its 60 s extreme against ``side``; outside hand-over windows the flow must exceed
   the tier's minimum by ``SIGNAL.divergence_extra_z``, otherwise the entry is judged as one of the types below. Limit
   on the retest at the best quote of the own side.
4. reversion: the price is stretched away from VWAP and the flow points back to it. IOC.
5. momentum: everything else. IOC.

:class:`SignalDetector` takes one window at a time; :func:`find_candidates` does the same for a whole table. Both use
the same crossing test, the same level machine and the same :func:`make_candidate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from feature_repo.constants import LABEL, MS_NS, SIGNAL, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS

from .candidate import Candidate, Entry, SigType, Tier
from .levels import BarBuilder, ReclaimMachine, bar_index, closed_bars
from .profiles import PROFILES

__all__ = [
    "LIQUIDATION_DOMINANCE",
    "SignalDetector",
    "SignalTable",
    "est_slip_bps",
    "exp_reward_bps",
    "find_candidates",
    "make_candidate",
    "r_bps",
]

LIQUIDATION_DOMINANCE = 3.0
"""A cluster is one-sided when it is this many times the forced flow of the other side."""

_OFI_Z, _CVD_Z, _SESSION, _VWAP_DEV = (CHANNELS.index(n) for n in ("ofi_z", "cvd_z", "session_flag", "vwap_dev_signed"))
_STRICT_FIRST = sorted(PROFILES.values(), key=lambda p: p.tier)
_BY_TIER = {p.tier: p for p in _STRICT_FIRST}
_LOOSEST = float(np.nextafter(np.float32(min(p.ofi_z_min for p in _STRICT_FIRST)), np.float32(0)))
_PROGRESS_EVERY = 1_000


class SignalTable(Protocol):
    """What :func:`find_candidates` reads of a feature table."""

    @property
    def X(self) -> np.ndarray: ...  # float32 [K, 24]

    @property
    def market(self) -> np.ndarray: ...  # MARKET_DTYPE [K]

    @property
    def symbol(self) -> str: ...

    @property
    def tick(self) -> float: ...


def exp_reward_bps(sig_type: SigType, market_row: np.void) -> float:
    """The reward that the EV gate judges, bps of the mid; NaN while VWAP or ATR is not ready."""
    mid = float(market_row["mid"])
    if sig_type in (SigType.DIVERGENCE, SigType.REVERSION):
        return abs(float(market_row["vwap"]) - mid) / mid * 1e4
    return 0.5 * float(market_row["atr"]) / mid * 1e4


def r_bps(reward_bps: float, mid: float, tick: float) -> float:
    """Barrier unit: +0.9 R is the reward, and -1.1 R at least ``LABEL.min_tick_sl`` ticks. NaN without a reward."""
    if math.isnan(reward_bps):
        return math.nan
    return max(reward_bps / LABEL.R_target, LABEL.min_tick_sl * tick / mid * 1e4 / LABEL.R_stop)


def est_slip_bps(side: int, entry: Entry, market_row: np.void) -> float:
    """Entry by walking the book (a maker pays nothing), half the spread at the exit, and realised drift.

    Returns
    -------
    float
        bps of the mid; inf where the book cannot fill the base size.
    """
    walk = 0.0
    if entry is Entry.IOC:
        walk = float(market_row["slip_buy_bps" if side > 0 else "slip_sell_bps"])
    return walk + 0.5 * float(market_row["spread_bps"]) + float(market_row["drift_bps"])


def make_candidate(
    symbol: str, tick: float, row_x: np.ndarray, market_row: np.void, side: int, tier: Tier, armed_side: int
) -> Candidate:
    """Type, prices and costs of a crossing.

    Parameters
    ----------
    row_x : float32 [24], of the window that crossed
    market_row : MARKET_DTYPE scalar of the same window
    armed_side : side of the reverse entry that a reclaimed level allows in this window, 0 for none
    """
    sig_type = _sig_type(row_x, market_row, side, tier, armed_side)
    entry = Entry.MAKER if sig_type is SigType.DIVERGENCE else Entry.IOC
    mid, ts_ns = float(market_row["mid"]), int(market_row["t_ns"])
    own_quote = float(market_row["bid" if side > 0 else "ask"])
    reward = exp_reward_bps(sig_type, market_row)
    return Candidate(
        ts_ns=ts_ns,
        symbol=symbol,
        side=side,
        sig_type=sig_type,
        tier=tier,
        price=own_quote if entry is Entry.MAKER else mid,
        R_bps=r_bps(reward, mid, tick),
        exp_reward_bps=reward,
        est_slip_bps=est_slip_bps(side, entry, market_row),
        entry=entry,
        expiry_ns=ts_ns + SIGNAL.expiry_ms * MS_NS,
        reclaimed=sig_type is SigType.RECLAIM,
    )


def _sig_type(row_x: np.ndarray, market_row: np.void, side: int, tier: Tier, armed_side: int) -> SigType:
    with_flow, against = float(market_row["liq_buy"]), float(market_row["liq_sell"])
    if side < 0:
        with_flow, against = against, with_flow
    if with_flow >= SIGNAL.liquidation_cluster_usd and with_flow >= LIQUIDATION_DOMINANCE * against:
        return SigType.LIQUIDATION
    if armed_side == side:
        return SigType.RECLAIM
    mid = float(market_row["mid"])
    at_extreme = mid <= float(market_row["low"]) if side > 0 else mid >= float(market_row["high"])
    extra = 0.0 if row_x[_SESSION] > 0 else SIGNAL.divergence_extra_z
    if at_extreme and side * float(row_x[_OFI_Z]) >= _BY_TIER[tier].ofi_z_min + extra:
        return SigType.DIVERGENCE
    if side * float(row_x[_VWAP_DEV]) <= -SIGNAL.reversion_dev:
        return SigType.REVERSION
    return SigType.MOMENTUM


def _crossings(t_ns: np.ndarray, ofi_z: np.ndarray, cvd_z: np.ndarray, ok: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Side (int8 [K], 0 for none) and tier (int8 [K]) of the crossing at each row; the first row never crosses."""
    ofi_z, cvd_z = ofi_z.astype(np.float64), cvd_z.astype(np.float64)
    side, tier = np.zeros(len(t_ns), np.int8), np.zeros(len(t_ns), np.int8)
    comparable = ok[1:] & ok[:-1] & (np.diff(t_ns) == WINDOW_NS)
    for s in (1, -1):
        for profile in reversed(_STRICT_FIRST):  # the strictest writes last
            pair = (s * ofi_z >= profile.ofi_z_min) & (s * cvd_z >= profile.cvd_z_min)
            new = 1 + np.flatnonzero(comparable & pair[1:] & ~pair[:-1])
            side[new], tier[new] = s, profile.tier
    return side, tier


class SignalDetector:
    """One window at a time, live and in replay.

    Parameters
    ----------
    symbol : written into every candidate
    tick : price step, quote currency
    """

    def __init__(self, symbol: str, tick: float) -> None:
        self._symbol, self._tick = symbol, tick
        self._bars, self._levels = BarBuilder(), ReclaimMachine()
        self._t_ns = np.zeros(2, np.int64)  # the window before and this one, as the crossing test wants them
        self._flow = np.zeros((2, 2), np.float32)
        self._ok = np.zeros(2, bool)

    def update(self, row_x: np.ndarray, market_row: np.void) -> Candidate | None:
        """Take the window that just closed. A window that is not newer than the last one is ignored.

        Parameters
        ----------
        row_x : float32 [24]
        market_row : MARKET_DTYPE scalar; rows may be invalid, and windows may be missing
        """
        t_ns, mid = int(market_row["t_ns"]), float(market_row["mid"])
        if t_ns <= self._t_ns[1]:
            return None
        self._t_ns[0], self._flow[0], self._ok[0] = self._t_ns[1], self._flow[1], self._ok[1]
        self._t_ns[1], self._flow[1] = t_ns, (row_x[_OFI_Z], row_x[_CVD_Z])
        self._ok[1] = ok = bool(market_row["valid"]) and bool(np.isfinite(row_x).all()) and math.isfinite(mid)
        lost = self._bars.lost_before(t_ns)
        if lost is not None:
            self._levels.on_bar(lost)
        found = None
        if abs(self._flow[1, 0]) >= _LOOSEST:  # most windows stop here
            side, tier = _crossings(self._t_ns, self._flow[:, 0], self._flow[:, 1], self._ok)
            if side[1]:
                armed = self._levels.armed_side(bar_index(t_ns))
                s, t = int(side[1]), Tier(int(tier[1]))
                found = make_candidate(self._symbol, self._tick, row_x, market_row, s, t, armed)
        # After the signal: a bar's close is not yet a level to the window that closes it.
        bar = self._bars.update(t_ns, mid, ok)
        if bar is not None:
            self._levels.on_bar(bar)
        return found


def find_candidates(table: SignalTable, *, progress: Callable[[float], None] | None = None) -> list[Candidate]:
    """Every candidate of a table, in time order: what :class:`SignalDetector` gives over its rows.

    Raises
    ------
    InputError
        When the windows are not in time order.
    """
    market, X = table.market, table.X
    t_ns = np.ascontiguousarray(market["t_ns"])
    if len(t_ns) and (np.diff(t_ns) <= 0).any():
        raise InputError(
            f"a feature table of {table.symbol} whose windows are not in time order",
            "one row a window, oldest first",
            "Build the features again",
        )
    mid = np.ascontiguousarray(market["mid"])
    ok = market["valid"] & np.isfinite(X).all(axis=1) & np.isfinite(mid)
    side, tier = _crossings(t_ns, X[:, _OFI_Z], X[:, _CVD_Z], ok)
    bars, fed, levels = closed_bars(t_ns, mid, ok), 0, ReclaimMachine()
    rows = np.flatnonzero(side)
    found: list[Candidate] = []
    for n, i in enumerate(rows):
        index = bar_index(int(t_ns[i]))
        while bars[fed].index < index:
            levels.on_bar(bars[fed])
            fed += 1
        armed = levels.armed_side(index)
        found.append(make_candidate(table.symbol, table.tick, X[i], market[i], int(side[i]), Tier(int(tier[i])), armed))
        if progress is not None and n % _PROGRESS_EVERY == 0:
            progress((n + 1) / len(rows))
    if progress is not None:
        progress(1.0)
    return found
