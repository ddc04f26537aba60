"""The simulated market's clock: episodes, bursts and rates decide what happens next to the book."""

from __future__ import annotations

import numpy as np

from ..jit import kernel_jit
from . import sim_book
from .sim_book import (
    EV_DEPTH,
    EV_FORCED,
    EV_FUNDING,
    LOTS,
    absorb,
    improve,
    keep_depth,
    market,
    move,
    put_row,
    refresh_levels,
    size,
)

__all__ = ["LOG_DTYPE", "MARGIN", "STATE_DTYPE", "STOP_MINUTES", "run"]

_jit = kernel_jit(__file__, *sim_book.SOURCES)

SECOND, MINUTE = 1_000_000_000, 60_000_000_000
MARGIN = 256  # rows that one message may need at most
STOP_MINUTES = 16  # resting stops sit beyond the extremes of this many minutes
FALSE_START, STOP_RUN = 1, 3  # rows of sim_script.EPISODES

LOG_DTYPE = np.dtype(
    [(name, "i8") for name in ("t0_ns", "t1_ns", "t2_ns", "episode", "stage", "real", "informed", "side")]
    + [("amp_bps", "f8"), ("moved_bps", "f8")],
    align=True,
)
"""One row a stage: build-up from t0, push from t1 to t2 (exchange time); moved_bps: of the mid from t1 to t2."""

# Columns of a stage: sim_script.COLUMNS, a test compares both.
(SIDE, WHEN, AMP_LO, AMP_HI, BUILD_LO, BUILD_HI, DUR_LO, DUR_HI, TILT, PULSES, BIAS) = range(11)
(FORCED_LO, FORCED_HI, PASSIVE, INFORMED, PINNED, REACH, TO_CLOSE, OF_LAST_LO, OF_LAST_HI, CHANCE) = range(11, 21)

# What can happen next, each at its own rate, and what it comes down to.
(TRADE, REFRESH, DIFFUSE, PUSH, GIVE_BACK, BURST, REPAIR, FORCE, START, PULSE) = range(10)
(NOTHING, MARKET, MOVE, LEVELS, ADD, IMPROVE, LIQUIDATE, ABSORB) = range(8)

_INTS = """t stamp last_local next_second next_funding next_episode anchor sign logged
b_on b_side b_end b_pinned b_kept b_mid episode stage d real s_t0 s_t1 s_t2 s_mid side forced"""
_FLOATS = "x hot fast lean spike_ms revert b_force funding amp last used fade base span"
STATE_DTYPE = np.dtype([(k, "i8") for k in _INTS.split()] + [(k, "f8") for k in _FLOATS.split()], align=True)
"""b_: the running burst; s_: the running stage (episode -1: none); x: slow log activity; hot: self-excitation.

Mids are kept as bid + ask in ticks; revert is what noise bursts still have to give back, in ticks.
"""


@_jit
def _between(rng, row, lo):
    return row[lo] + (row[lo + 1] - row[lo]) * rng.random()


@_jit
def _reach_bps(extremes, minute, minutes, side, mid2):
    """Way from the mid to its extreme on one side over the last minutes."""
    k = 0 if side > 0 else 1
    far = mid2
    for back in range(minutes):
        at = extremes[k, (minute - back) % STOP_MINUTES]
        far = max(far, at) if side > 0 else min(far, at)
    return side * (far - mid2) / mid2 * 1e4


@_jit
def _start_burst(rng, st, side, seconds, pinned, kept, mid2):
    st.b_on, st.b_side, st.b_end = 1, side, st.t + int(seconds * SECOND)
    st.b_pinned, st.b_kept, st.b_mid = pinned, kept, mid2
    st.b_force = np.exp(0.35 * rng.standard_normal())


@_jit
def _start_stage(rng, cfg, st, stages, lengths, k, extremes, minute, mid2):
    """Enter the first stage from ``k`` on that applies, or end the episode."""
    e = st.episode
    while k < lengths[e] and stages[e, k, WHEN] != 0 and (stages[e, k, WHEN] > 0) != (st.real > 0):
        k += 1
    if k == lengths[e] or rng.random() >= stages[e, k, CHANCE]:
        st.episode = -1
        return
    row = stages[e, k]
    # Impact goes with volatility, here the range of a minute over the last three quarters of an hour.
    scale = min(max((st.span / cfg.span_bps) ** 0.7, 0.7), 1.7)
    st.stage, st.side = k, int(row[SIDE]) * st.d
    st.last = st.amp if st.amp > 0.0 else st.last
    st.amp = _between(rng, row, AMP_LO) * cfg.push_scale * scale + _between(rng, row, OF_LAST_LO) * st.last
    if row[REACH] > 0:
        st.amp += _reach_bps(extremes, minute, int(row[REACH]), st.side, mid2)
    seconds = _between(rng, row, DUR_LO)
    if row[TO_CLOSE] > 0:
        seconds = (MINUTE - st.t % MINUTE) / SECOND + 3.0 + 5.0 * rng.random()
        seconds += 60.0 if seconds < 22.0 else 0.0
    st.s_t0 = st.t
    st.s_t1 = st.t + int(_between(rng, row, BUILD_LO) * SECOND)
    st.s_t2 = st.s_t1 + int(seconds * SECOND)
    st.s_mid, st.forced = mid2, int(_between(rng, row, FORCED_LO) * LOTS)
    if row[PINNED] > 0:
        _start_burst(rng, st, st.side, seconds, 1, 1, mid2)


@_jit
def _end_stage(st, stages, log, mid2):
    entry = log[min(st.logged, len(log) - 1)]
    entry.t0_ns, entry.t1_ns, entry.t2_ns = st.s_t0, st.s_t1, st.s_t2
    entry.episode, entry.stage, entry.real, entry.side = st.episode, st.stage, st.real, st.side
    entry.informed = int(stages[st.episode, st.stage, INFORMED])
    entry.amp_bps, entry.moved_bps = st.amp, (mid2 - st.s_mid) / mid2 * 1e4
    st.logged += 1


@_jit
def _start_episode(rng, cfg, st, rates, handover, extremes, minute, mid2):
    """Pick an episode and its direction, against the way the price has come more often than not."""
    u, e = rng.random() * _episodes_a_day(rates, handover), -1
    while u >= 0.0 and e < len(rates) - 1:
        e += 1
        u -= rates[e, 0] * (rates[e, 2] if handover else 1.0)
    st.d = 1 if rng.random() < 0.5 - 0.45 * np.tanh((mid2 / st.anchor - 1.0) * 1e4 / cfg.anchor_bps) else -1
    if e == STOP_RUN:
        up = _reach_bps(extremes, minute, STOP_MINUTES, 1, mid2)
        down = _reach_bps(extremes, minute, STOP_MINUTES, -1, mid2)
        st.d = 1 if up < down else -1
        if min(up, down) > cfg.stop_reach_bps:
            e = FALSE_START
    st.episode, st.real = e, int(rng.random() < cfg.edge * rates[e, 1])


@_jit
def _episodes_a_day(rates, handover):
    total = 0.0
    for e in range(len(rates)):
        total += rates[e, 0] * (rates[e, 2] if handover else 1.0)
    return total


@_jit
def _by_the_second(rng, cfg, st):
    st.next_second += SECOND
    keep = np.exp(-1.0 / cfg.regime_s)
    st.x = keep * st.x + cfg.regime_sd * np.sqrt(1.0 - keep * keep) * rng.standard_normal()
    st.funding += 0.002 * (1e-4 - st.funding) + 1e-6 * rng.standard_normal()
    if rng.random() < cfg.spikes_per_hour / 3600.0:
        st.spike_ms = 15.0 + 40.0 * rng.standard_exponential()


@_jit
def _rates(cfg, st, row, activity, spread, mid2, rate):
    """Events a second of each kind; returns their sum."""
    st.base = activity * np.exp(st.x)
    act = st.base * (1.0 + st.hot)
    gap = cfg.gap_ticks * np.exp(0.4 * st.x)
    active, pinned = st.episode >= 0, st.b_on and st.b_pinned
    rate[:] = 0.0
    rate[TRADE] = cfg.trades * act * (1.5 if active and row[BIAS] != 0.0 else 1.0)
    rate[REFRESH] = cfg.refreshes * np.sqrt(act)
    rate[REPAIR] = 10.0 if spread > 5 else 0.0
    if not pinned:
        rate[DIFFUSE] = cfg.moves * act * (1.0 - row[PASSIVE] if active else 1.0)
        rate[GIVE_BACK] = min(abs(st.revert) / (gap * cfg.giveback_s), 6.0)
    st.used, st.fade = 0.0, 1.0
    if active and st.t >= st.s_t1:
        seconds = max((st.s_t2 - st.s_t1) / SECOND, 1e-3)
        st.used = (st.t - st.s_t1) / SECOND / seconds
        if st.amp > 0.0:
            st.fade = min(max((0.55 - st.used) / 0.4, 0.0), 1.0)
        if st.amp > 0.0 and not pinned:
            speed = st.amp / seconds
            behind = st.used * st.amp - st.side * (mid2 - st.s_mid) / mid2 * 1e4
            rate[PUSH] = min(max(speed + behind / 8.0, 0.0), 3.0 * speed) * mid2 * 0.5e-4 / gap
    if active and st.forced > 0:
        rate[FORCE] = 2.5
    if st.b_on:
        rate[BURST] = cfg.burst_actions * st.b_force * (2.0 if pinned else 1.0)
    else:
        rate[START] = cfg.bursts * np.sqrt(act)
        rate[PULSE] = row[PULSES] * 1e-3 * st.fade if active else 0.0
    return rate.sum()


@_jit
def _decide(rng, cfg, st, row, kind, qty, mid2):
    """What an event of this kind comes down to: (what, direction, lots)."""
    if kind == TRADE:
        if st.episode >= 0 and row[BIAS] != 0.0 and rng.random() < abs(row[BIAS]) * st.fade:
            st.sign = st.side if row[BIAS] > 0.0 else -st.side
        elif rng.random() > cfg.sign_memory:
            st.sign = 1 if rng.random() < 0.5 else -1
        st.hot += cfg.excite / st.base  # as many children in wild hours as in calm ones
        return MARKET, st.sign, min(size(rng, cfg.trade_eth, 1.0), qty[1 if st.sign > 0 else 0, 0] - 1)
    if kind == REFRESH:
        return LEVELS, 0, 0
    if kind == DIFFUSE:
        st.hot += cfg.excite / st.base
        traded = size(rng, 2.0 * cfg.trade_eth, 0.8) if rng.random() < 0.5 else 0
        return MOVE, 1 if rng.random() < 0.5 else -1, traded
    if kind == PUSH:
        return MOVE, st.side, 0 if rng.random() < row[PASSIVE] else size(rng, 3.0 * cfg.trade_eth, 0.8)
    if kind == GIVE_BACK:
        traded = 0 if rng.random() < 0.7 else size(rng, 2.0 * cfg.trade_eth, 0.8)
        return MOVE, 1 if st.revert > 0.0 else -1, traded
    if kind == BURST:
        u, d, lots = rng.random(), st.b_side, size(rng, cfg.burst_eth * st.b_force, 0.6)
        if st.b_pinned:
            return (ABSORB, d, 2 * lots) if u < 0.6 else (ADD, d, 2 * lots)
        if u < 0.45:
            return MARKET, d, lots
        return (MOVE, d, 0) if u < 0.55 else (ADD, d, lots)
    if kind == REPAIR:
        return IMPROVE, 1 if rng.random() < 0.5 else -1, 0
    if kind == FORCE:
        lots = min(size(rng, cfg.forced_eth, 0.7), st.forced)
        st.forced -= lots
        return LIQUIDATE, st.side, lots
    seconds = min(0.3 + 0.7 * rng.standard_exponential(), 3.0)
    if kind == PULSE:
        _start_burst(rng, st, st.side, seconds, 0, int(row[INFORMED]), mid2)
    else:
        _start_burst(rng, st, 1 if rng.random() < 0.5 else -1, seconds, 0, 0, mid2)
    return NOTHING, 0, 0


@_jit
def _do(rng, cfg, st, out, n, px, qty, count, what, d, lots):
    """Write the rows of one message."""
    own, hit = (0, 1) if d > 0 else (1, 0)
    if what == LIQUIDATE:
        n = put_row(out, n, st, EV_FORCED[own], px[hit, 0], lots)
    if what in (MARKET, LIQUIDATE):
        n = market(rng, cfg, st, out, n, px, qty, count, d, lots)
    elif what == MOVE:
        n = move(rng, cfg, st, out, n, px, qty, count, d, lots)
    elif what == LEVELS:
        n = refresh_levels(rng, cfg, st, out, n, px, qty, count)
    elif what == IMPROVE:
        n = improve(rng, cfg, st, out, n, px, qty, count, own)
    elif what == ABSORB:
        n = absorb(rng, cfg, st, out, n, px, qty, d, lots)
    elif what == ADD:
        qty[own, 0] += lots
        n = put_row(out, n, st, EV_DEPTH[own], px[own, 0], qty[own, 0])
    return keep_depth(rng, cfg, st, out, n, px, qty, count)


@_jit
def run(rng, cfg, st, stages, lengths, rates, hours, px, qty, count, extremes, log, out, n, t_stop):
    """Play the market until local time ``t_stop`` or until ``out`` is nearly full.

    Parameters
    ----------
    stages, lengths, rates : see sim_script.script
    hours : float64 [24, 2], activity and whether sessions hand over
    px, qty : int64 [2, BOOK_SLOTS], count : int64 [2], the book
    extremes : int64 [2, STOP_MINUTES], highs and lows of the mid by minute
    log : LOG_DTYPE, out : EVENT_DTYPE, both long enough

    Returns
    -------
    Rows written so far
    """
    rate = np.zeros(10)
    before = 0
    while n < len(out) - MARGIN:
        mid2 = px[0, 0] + px[1, 0]
        minute = (st.t // MINUTE) % STOP_MINUTES
        if st.t // MINUTE != before:
            if before > 0:
                done = before % STOP_MINUTES
                st.span += ((extremes[0, done] - extremes[1, done]) / mid2 * 1e4 - st.span) / 45.0
                extremes[:, minute] = mid2
            before = st.t // MINUTE
        extremes[0, minute] = max(extremes[0, minute], mid2)
        extremes[1, minute] = min(extremes[1, minute], mid2)
        if st.t >= st.next_second:
            _by_the_second(rng, cfg, st)
        if st.b_on and st.t >= st.b_end:
            st.b_on = 0
            if not st.b_kept and rng.random() < cfg.giveback_share:
                st.revert += (0.6 + 0.5 * rng.random()) * 0.5 * (st.b_mid - mid2)
        hour, k = (st.t // (60 * MINUTE)) % 24, -1
        if st.episode < 0 and st.t >= st.next_episode:
            st.next_episode += int(
                rng.standard_exponential() * 1440 * MINUTE / _episodes_a_day(rates, hours[hour, 1] > 0)
            )
            _start_episode(rng, cfg, st, rates, hours[hour, 1] > 0, extremes, minute, mid2)
            k = 0
        elif st.episode >= 0 and st.t >= st.s_t2:
            _end_stage(st, stages, log, mid2)
            k = st.stage + 1
        if k >= 0:
            _start_stage(rng, cfg, st, stages, lengths, k, extremes, minute, mid2)
        row = stages[max(st.episode, 0), st.stage]
        if st.episode >= 0 and st.t < st.s_t1:
            st.s_mid = mid2  # the push is measured from where the build-up leaves the price
        total = _rates(cfg, st, row, hours[hour, 0], px[1, 0] - px[0, 0], mid2, rate)
        wait = rng.standard_exponential() / total
        dt = min(wait, 0.05)  # rates change with the clock: look again after a while
        st.t += 20_000 + int(dt * SECOND)
        st.hot *= np.exp(-dt / cfg.hot_s)
        st.spike_ms *= np.exp(-dt / 0.6)
        keep = np.exp(-dt / cfg.lean_s)
        st.fast = keep * st.fast + cfg.lean_sd * np.sqrt(1.0 - keep * keep) * rng.standard_normal()
        st.lean = st.fast + (cfg.burst_lean * st.b_side if st.b_on else 0.0)
        if st.episode >= 0:
            st.lean += row[TILT] * st.side * st.fade
        delay_ms = 5.0 + 0.5 * np.exp(0.7 * rng.standard_normal()) + st.spike_ms
        st.stamp = max(st.t + int(delay_ms * 1e6), st.last_local + 1_000)
        if st.stamp >= t_stop:
            break
        first = n
        if st.t >= st.next_funding:
            st.next_funding += int(cfg.funding_every_s * SECOND)
            n = put_row(out, n, st, EV_FUNDING, (mid2 + 1) // 2, 0)
            out[first].fval = st.funding
            out[first].ival = (st.t // (480 * MINUTE) + 1) * 480 * MINUTE
        elif wait == dt:
            u, kind = rng.random() * total, 0
            while kind < len(rate) - 1 and u >= rate[kind]:
                u -= rate[kind]
                kind += 1
            what, d, lots = _decide(rng, cfg, st, row, kind, qty, mid2)
            if what != NOTHING:
                n = _do(rng, cfg, st, out, n, px, qty, count, what, d, lots)
            if kind == GIVE_BACK:
                left = st.revert - 0.5 * (px[0, 0] + px[1, 0] - mid2)
                st.revert = left if left * st.revert > 0.0 else 0.0
        if n > first:
            st.last_local = st.stamp
    return n
