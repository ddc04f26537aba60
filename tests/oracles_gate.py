"""The gate's decision written down once more, as a list of plain ifs with literal thresholds.

Nothing here shares code with the gate but the candidate's types, the profiles' thresholds and the graph's session. It
is as slow as it is plain: every number is gathered when it is needed, and nothing is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from feature_repo.fields import FIELDS, MARKET_DTYPE
from feature_repo.instruments import FeeTier
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.profiles import Profile

__all__ = ["GateFacts", "PlainAnswer", "plain_decision"]

PlainAnswer = tuple[str, float, float, float]
"""Reason, p, size, p_breakeven."""


@dataclass(frozen=True)
class GateFacts:
    """What a gate knows before it is asked; ``session`` is None in the arm without a model."""

    symbol: str
    tick: float
    lot: float
    face_value: float
    min_notional: float
    base_size: float
    fee: FeeTier
    profile: Profile
    T: int
    session: Any = None
    model_fee: FeeTier | None = None
    tau: float = math.nan
    breakeven_guard: bool = False
    target_R: float = 0.9
    miss_R: float = -1.1
    edges: tuple[tuple[float, float], ...] = ()  # of ofi_z, spread and depth; none: every candidate has its parent only
    multipliers: Mapping[str, float] | None = None  # by "type/ofi/spread/depth/session"; None: rolled out in full
    cap: float = 1.0


def plain_decision(gate: GateFacts, candidate: Any, now_ns: Any, found: Any) -> PlainAnswer:
    """What the gate has to answer; ``found``: what its source gives, or the exception that it raises."""
    try:
        return _decision(gate, candidate, now_ns, found)
    except Exception:
        return "internal_error", math.nan, 0.0, math.nan


def _decision(gate: GateFacts, candidate: Any, now_ns: Any, found: Any) -> PlainAnswer:
    if not _sound(candidate):
        return _denied("bad_candidate")
    ts_ns, expiry_ns = int(candidate.ts_ns), int(candidate.expiry_ns)
    price, R = float(candidate.price), float(candidate.R_bps)
    reward, slip = float(candidate.exp_reward_bps), float(candidate.est_slip_bps)
    if candidate.symbol != gate.symbol:
        return _denied("wrong_symbol")
    if not ts_ns <= now_ns <= expiry_ns:
        return _denied("expired")
    fees = _fees(candidate, gate.fee)
    breakeven = math.nan
    if R > 0:
        breakeven = (fees + slip - gate.miss_R * R) / ((gate.target_R - gate.miss_R) * R)

    if isinstance(found, Exception):
        return _denied("store_error", breakeven)
    if found is None:
        return _denied("no_window", breakeven)
    try:
        x, market_row = found
    except (TypeError, ValueError):
        return _denied("store_error", breakeven)
    if isinstance(market_row, np.ndarray) and market_row.shape == ():
        market_row = market_row[()]
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.shape != (gate.T, 24):
        return _denied("no_window", breakeven)
    if not isinstance(market_row, np.void) or market_row.dtype != MARKET_DTYPE:
        return _denied("no_window", breakeven)

    def of_row(name: str) -> Any:
        return market_row[name].item()

    if not of_row("valid"):
        return _denied("no_window", breakeven)
    if of_row("t_ns") != ts_ns:
        return _denied("stale", breakeven)

    bid, ask, mid, spread = of_row("bid"), of_row("ask"), of_row("mid"), of_row("spread_bps")
    depth, age = of_row("depth_top5"), of_row("data_age_ms")
    sane = np.dot(x.ravel(), x.ravel()) <= 1e24
    if not (sane and 0 < bid < ask < math.inf and abs(mid - 0.5 * (bid + ask)) <= 1e-6 * mid):
        return _denied("not_finite", breakeven)
    if not (0 <= spread <= 1e4 and 0 <= depth <= 1e15 and math.isfinite(age)):
        return _denied("not_finite", breakeven)
    if not abs(price / mid - 1) * 1e4 <= 100:
        return _denied("price", breakeven)
    if not abs(age) <= 1_000:
        return _denied("data_age", breakeven)
    if not candidate.tier <= gate.profile.tier:
        return _denied("tier", breakeven)
    usual = of_row("spread_median_bps")
    if not (0 < usual <= 1e4 and spread <= gate.profile.thin_spread * usual):
        return _denied("spread", breakeven)
    if not depth >= of_row("depth_median") > 0:
        return _denied("depth", breakeven)
    if candidate.sig_type == SigType.RECLAIM and not candidate.reclaimed:
        return _denied("reclaim", breakeven)
    if not (0 <= reward <= 1e4 and 0 < R <= 2e4):
        return _denied("reward_unknown", breakeven)
    if not (0 <= slip <= gate.profile.max_slip_bps and slip <= 0.25 * reward):
        return _denied("slippage", breakeven)
    if not 1.1 * R * 1e-4 * mid / gate.tick >= gate.profile.min_tick_sl * (1 - 1e-9):
        return _denied("min_stop", breakeven)
    if not reward >= 2.0 * (fees + slip):
        return _denied("ev", breakeven)

    if gate.session is None:
        size = _whole_lots(gate, gate.base_size, price)
        return ("allow" if size > 0 else "size_too_small"), math.nan, size, breakeven
    p = _p(gate, candidate, x, spread)
    if not 0 <= p <= 1:
        return _denied("model_error", breakeven)
    floor = gate.tau
    if gate.breakeven_guard and not breakeven <= gate.tau:
        floor = breakeven
    if not p > floor:
        return "p_below_tau", p, 0.0, breakeven
    multiplier = _multiplier(gate, candidate, x, spread, depth)
    if not multiplier > 0:
        return "not_rolled_out", p, 0.0, breakeven
    size = _whole_lots(gate, gate.base_size * (p - gate.tau) * multiplier if p > gate.tau else 0.0, price)
    if not size > 0:
        return "size_too_small", p, 0.0, breakeven
    return "allow", p, size, breakeven


def _denied(reason: str, breakeven: float = math.nan) -> PlainAnswer:
    return reason, math.nan, 0.0, breakeven


def _sound(c: Any) -> bool:
    if not isinstance(c, Candidate):
        return False
    if not all(_whole(value) for value in (c.ts_ns, c.expiry_ns, c.side)):
        return False
    if not all(_number(value) for value in (c.price, c.R_bps, c.exp_reward_bps, c.est_slip_bps)):
        return False
    kinds = ((c.symbol, str), (c.sig_type, SigType), (c.tier, Tier), (c.entry, Entry), (c.reclaimed, bool))
    if not all(isinstance(value, kind) for value, kind in kinds):
        return False
    if c.side not in (1, -1) or not 0 < c.price < math.inf:
        return False
    if c.R_bps in (math.inf, -math.inf) or c.exp_reward_bps in (math.inf, -math.inf):
        return False
    return bool(c.est_slip_bps >= 0)


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return _whole(value) or isinstance(value, (float, np.floating))


def _fees(candidate: Candidate, fee: FeeTier) -> float:
    entry = fee.maker_bps if candidate.entry == Entry.MAKER else fee.taker_bps
    return entry + fee.taker_bps


def _p(gate: GateFacts, candidate: Candidate, x: np.ndarray, spread: float) -> float:
    """The graph asked with inputs that are filled in number by number."""
    turned, ctx = np.array(x, np.float32)[None], np.zeros((1, 8), np.float32)
    for c, field in enumerate(FIELDS):
        if field.alignment == "signed":
            turned[0, :, c] *= np.float32(candidate.side)
    cost = _fees(candidate, gate.model_fee) + float(candidate.est_slip_bps)
    ctx[0, candidate.sig_type.value] = 1.0
    for i, (over, under) in enumerate(
        ((candidate.R_bps, spread), (candidate.exp_reward_bps, cost), (candidate.est_slip_bps, 1.0))
    ):
        ratio = float(over) / under if under > 0 else math.nan
        ctx[0, 5 + i] = min(ratio, 50.0) if ratio > 0 else 0.0
    return float(gate.session.run(["p"], {"x": turned, "ctx": ctx})[0][0, 0])


def _multiplier(gate: GateFacts, candidate: Candidate, x: np.ndarray, spread: float, depth: float) -> float:
    """Of the candidate's bucket, else of its parent, else nothing."""
    if gate.multipliers is None:
        return 1.0
    names = [field.name for field in FIELDS]
    kind = candidate.sig_type.name.lower()
    session = "handover" if x[-1, names.index("session_flag")] > 0 else "other"
    values = (float(x[-1, names.index("ofi_z")]) * candidate.side, spread, depth)
    where = [("low", "mid", "high")[sum(v > e for e in pair)] for v, pair in zip(values, gate.edges, strict=False)]
    found = [gate.multipliers.get(f"{kind}/{'/'.join(states)}/{session}") for states in (where, ("all",) * 3)]
    return min(next((m for m in found if m is not None), 0.0), gate.cap)


def _whole_lots(gate: GateFacts, notional: float, price: float) -> float:
    if not 0 < notional < math.inf:
        return 0.0
    worth = gate.face_value if gate.face_value > 0 else price
    size = math.floor(notional / worth / gate.lot + 1e-9) * gate.lot * worth
    return size if size >= gate.min_notional else 0.0
