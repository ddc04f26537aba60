"""The simulated market's clock: rates decide what happens next to the book, and episodes bend a few of them.

Everything that moves the price moves the balance of the two best queues, and that balance has no drift that anybody
could know: a market order shifts it by its size less what makers expected of it (``_order``), orders that come and go
of themselves shift it either way alike. The two mechanisms of an edge lift this rule in one place each (``_child`` and
``_steer``), to the degree ``cfg.edge``.
"""

from __future__ import annotations

import numpy as np

from ..jit import kernel_jit
from .sim_book import (
    EV_FORCED,
    EV_FUNDING,
    LOTS,
    chase,
    even_out,
    flicker,
    keep_depth,
    market,
    open_market,
    pull,
    put_row,
    refresh,
    repair,
)

__all__ = ["BOOK", "FLOW", "LOG_DTYPE", "MARGIN", "METAORDERS", "STATE_DTYPE", "run"]

_jit = kernel_jit(__file__)

SECOND, MINUTE = 1_000_000_000, 60_000_000_000
MARGIN = 512  # rows that one message may need at most
METAORDERS = 5  # that trade at any time
FLOW, BOOK = 0, 1  # mechanisms
_LONGEST = 0.05  # s without a look at rates that change with the clock

LOG_DTYPE = np.dtype(
    [(name, "i8") for name in ("t0_ns", "t1_ns", "t2_ns", "side", "forced")] + [("moved_bps", "f8")], align=True
)
"""One row an episode: it starts at t0 and drifts towards ``side`` (if edge > 0) from t1 to t2, exchange time; the
mid moved by ``moved_bps`` from its first order on."""

(TRADE, PULL, PLACE, WITHDRAW, EVEN, REFRESH, REPAIR, BURST, TAIL, CHILD, STEER, CHASE, DEFEND) = range(13)

_INTS = "t stamp last_local next_second next_funding next_episode logged printed chase"
_PATH = "minute high low high_before low_before"
_EPISODE = "ep ep_side ep_t0 ep_t1 ep_t2 ep_mid ep_forced tail_end tail_side tail_forced metas_net"
_FLOATS = "base queue slow quick fast_heat slow_heat mood lean spike_ms funding value"
STATE_DTYPE = np.dtype(
    [(k, "i8") for k in f"{_INTS} {_PATH} {_EPISODE}".split()]
    + [(k, "f8") for k in _FLOATS.split()]
    + [(k, "i8", 2) for k in ("core", "fleet", "fleets")]
    + [(k, "i8", METAORDERS) for k in ("meta_side", "meta_left")],
    align=True,
)
"""base: activity now, 1 on average; queue: lots that makers want in a best queue; slow, quick: log activity of two
memories; heat: self-excitation, 0 at rest. ep: whether an episode runs. Mids are kept as bid + ask in ticks."""


@_jit
def _lots(rng, median_eth, spread):
    return 1 + int(median_eth * np.exp(spread * rng.standard_normal()) * LOTS)


@_jit
def _by_the_second(weather, cfg, st, activity):
    """Slow things: activity, the depth that goes with it, funding, spikes of delay."""
    st.next_second += SECOND
    keep = np.exp(-1.0 / cfg.slow_s)
    st.slow = keep * st.slow + cfg.slow_sd * np.sqrt(1.0 - keep * keep) * weather.standard_normal()
    keep = np.exp(-1.0 / cfg.quick_s)
    st.quick = keep * st.quick + cfg.quick_sd * np.sqrt(1.0 - keep * keep) * weather.standard_normal()
    level = st.slow + st.quick - 0.5 * (cfg.slow_sd * cfg.slow_sd + cfg.quick_sd * cfg.quick_sd)
    st.base = min(activity * np.exp(level), cfg.base_max)
    st.queue = cfg.queue_eth * LOTS * st.base**-cfg.thinning
    st.funding += 0.002 * (1e-4 - st.funding) + 1e-6 * weather.standard_normal()
    if weather.random() < cfg.spikes_per_hour / 3600.0:
        st.spike_ms = 15.0 + 40.0 * weather.standard_exponential()


@_jit
def _new_metaorder(rng, cfg, st, k):
    """Lillo, Mike and Farmer (2005): orders are worked in pieces, and how many pieces has a Pareto tail."""
    side = 1 if rng.random() < 0.5 else -1
    st.metas_net += side - st.meta_side[k]
    st.meta_side[k] = side
    st.meta_left[k] = int(min((1.0 - rng.random()) ** (-1.0 / cfg.meta_tail), 1e6))


@_jit
def _start_episode(weather, cfg, st, mid2):
    """Whoever trades size does it rather against the way the price has come of late."""
    st.ep, st.ep_t0 = 1, st.t
    lean = cfg.value_share * np.tanh((st.value / mid2 - 1.0) * 1e4 / cfg.value_bps)
    st.ep_side = 1 if weather.random() < 0.5 + lean else -1
    st.ep_forced = 1 if weather.random() < cfg.forced_share else 0
    seconds = cfg.episode_s * (0.65 + 0.7 * weather.random())
    pause = 0.0 if cfg.mechanism == FLOW else 2.0 + 4.0 * weather.random()
    st.ep_t1 = st.t + int(pause * SECOND)
    st.ep_t2 = st.ep_t1 + int(seconds * SECOND)


@_jit
def _end_episode(st, log, mid2):
    entry = log[min(st.logged, len(log) - 1)]
    entry.t0_ns, entry.t1_ns, entry.t2_ns = st.ep_t0, st.ep_t1, st.ep_t2
    entry.side, entry.forced = st.ep_side, st.ep_forced
    entry.moved_bps = (mid2 - st.ep_mid) / mid2 * 1e4
    st.logged += 1
    st.ep = 0


@_jit
def _follow(st, mid2):
    """Extremes of the mid by minute."""
    minute = st.t // MINUTE
    if minute != st.minute:
        st.minute = minute
        st.high_before, st.low_before = st.high, st.low
        st.high = st.low = mid2
    st.high, st.low = max(st.high, mid2), min(st.low, mid2)


@_jit
def _rates(cfg, st, mid2, spread, rate):
    """Events a second of each kind; returns their sum."""
    heat = cfg.rest_heat + st.fast_heat + st.slow_heat
    hot = st.base * heat
    calm = np.sqrt(hot)
    root = np.sqrt(st.base)
    rate[TRADE] = cfg.trades * hot
    rate[PULL] = cfg.pulls * hot
    rate[PLACE] = cfg.fleeting * calm
    rate[WITHDRAW] = (st.fleets[0] + st.fleets[1]) / cfg.fleeting_s
    rate[EVEN] = cfg.evens * calm
    rate[REFRESH] = cfg.refreshes * calm
    rate[REPAIR] = cfg.repairs if spread > 1 else 0.0
    rate[BURST] = cfg.bursts * root
    rate[TAIL] = cfg.tail_trades if st.t < st.tail_end else 0.0
    rate[CHILD] = rate[STEER] = 0.0
    at_extreme = mid2 >= max(st.high, st.high_before) or mid2 <= min(st.low, st.low_before)
    rate[DEFEND] = cfg.defences * root if at_extreme else 0.0
    rate[CHASE] = cfg.chases if st.chase != 0 else 0.0
    if st.ep:
        if cfg.mechanism == FLOW:
            rate[CHILD] = cfg.children * np.sqrt(root)
        elif st.t >= st.ep_t1:
            rate[STEER] = cfg.steers * np.sqrt(root)
            rate[BURST] *= cfg.contest
    return rate.sum()


@_jit
def _order(rng, cfg, st, out, n, px, qty, count):
    """A market order of one of the metaorders at work. Makers know their sides: the queues feel only the surprise."""
    k = int(rng.random() * METAORDERS)
    expected = st.metas_net / METAORDERS
    d = st.meta_side[k]
    st.meta_left[k] -= 1
    if st.meta_left[k] <= 0:
        _new_metaorder(rng, cfg, st, k)
    st.fast_heat += cfg.branch_fast / (cfg.fast_s * cfg.trades * st.base)
    st.slow_heat += cfg.branch_slow / (cfg.slow_heat_s * cfg.trades * st.base)
    lots = _lots(rng, cfg.trade_eth, cfg.trade_spread)
    return market(rng, cfg, st, out, n, px, qty, count, d, lots, int(np.rint(expected * lots)))


@_jit
def _forced(rng, cfg, st, out, n, px, qty, count, d, lots, answer):
    """A liquidation: its row, then the trades that it causes."""
    first, st.printed = n, 0
    own = 0 if d > 0 else 1
    n = put_row(out, n, st, EV_FORCED[own], px[1 - own, 0], 0)
    n = market(rng, cfg, st, out, n, px, qty, count, d, lots, answer)
    out[first].qty = st.printed / LOTS
    return n


@_jit
def _taker(rng, cfg, st, out, n, px, qty, count, d, lots, answer, forced):
    if forced:
        return _forced(rng, cfg, st, out, n, px, qty, count, d, lots, d * answer)
    return market(rng, cfg, st, out, n, px, qty, count, d, lots, d * answer)


@_jit
def _burst(rng, cfg, st, out, n, px, qty, count, d, forced, seconds):
    """One large order that nobody expected, with small ones in its wake that everybody expects."""
    st.tail_side, st.tail_forced = d, forced
    st.tail_end = st.t + int(seconds * SECOND)
    st.slow_heat += cfg.burst_heat
    lots = _lots(rng, cfg.burst_queues * st.queue / LOTS, cfg.burst_spread)
    return _taker(rng, cfg, st, out, n, px, qty, count, d, lots, 0, forced)


@_jit
def _child(rng, cfg, st, out, n, px, qty, count):
    """Mechanism FLOW: a piece of a large parent order, answered by makers but for a share that goes with ``edge``."""
    lots = _lots(rng, cfg.child_eth, 0.5)
    answer = int(np.rint((1.0 - cfg.edge * cfg.unanswered) * lots))
    return _taker(rng, cfg, st, out, n, px, qty, count, st.ep_side, lots, answer, st.ep_forced)


@_jit
def _steer(rng, cfg, st, out, n, px, qty, count):
    """Mechanism BOOK: makers give way towards the episode's side, or (the rest of 1 - ``edge``) either way alike."""
    d = st.ep_side
    if rng.random() >= cfg.edge:
        d = 1 if rng.random() < 0.5 else -1
    return pull(rng, cfg, st, out, n, px, qty, count, d, _lots(rng, cfg.steer_eth, 0.5))


@_jit
def _defend(rng, cfg, st, out, n, px, qty, count):
    """At an extreme somebody trades against it. Makers answer in full, and fleeting orders line up with them."""
    d = -1 if px[0, 0] + px[1, 0] >= max(st.high, st.high_before) else 1
    lots = _lots(rng, cfg.defence_eth, 0.5)
    n = market(rng, cfg, st, out, n, px, qty, count, d, lots, d * lots)
    return flicker(st, out, n, px, qty, 0 if d > 0 else 1, _lots(rng, 3.0 * cfg.defence_eth, 0.5))


@_jit
def _happen(rng, cfg, st, out, n, px, qty, count, kind):
    """Write the rows of one message."""
    if kind == TRADE:
        return _order(rng, cfg, st, out, n, px, qty, count)
    if kind == PULL:
        d = 1 if rng.random() < 0.5 else -1
        return pull(rng, cfg, st, out, n, px, qty, count, d, _lots(rng, cfg.pull_eth, cfg.trade_spread))
    if kind == PLACE:
        side = 1 if rng.random() < 0.5 else 0
        lots = _lots(rng, cfg.fleeting_queues * st.queue / LOTS, cfg.fleeting_spread)
        return flicker(st, out, n, px, qty, side, lots)
    if kind == WITHDRAW:
        side = 1 if rng.random() * (st.fleets[0] + st.fleets[1]) < st.fleets[1] else 0
        return flicker(st, out, n, px, qty, side, 0)
    if kind == EVEN:
        return even_out(cfg, st, out, n, px, qty)
    if kind == REFRESH:
        levels = int(cfg.levels + rng.random())
        return refresh(rng, cfg, st, out, n, px, qty, count, levels)
    if kind == REPAIR:
        return repair(rng, st, out, n, px, qty)
    if kind == BURST:
        d = 1 if rng.random() < 0.5 else -1
        forced = 1 if rng.random() < cfg.forced_bursts else 0
        seconds = min(0.4 + cfg.tail_s * rng.standard_exponential(), 8.0)
        return _burst(rng, cfg, st, out, n, px, qty, count, d, forced, seconds)
    if kind == TAIL:
        lots = _lots(rng, cfg.tail_eth, 0.6)
        return _taker(rng, cfg, st, out, n, px, qty, count, st.tail_side, lots, lots, st.tail_forced)
    if kind == CHILD:
        return _child(rng, cfg, st, out, n, px, qty, count)
    if kind == DEFEND:
        return _defend(rng, cfg, st, out, n, px, qty, count)
    if kind == CHASE:
        return chase(rng, cfg, st, out, n, px, qty, count)
    return _steer(rng, cfg, st, out, n, px, qty, count)


@_jit
def _episode(weather, rng, cfg, st, log, out, n, px, qty, count, mid2, activity):
    """Start an episode, with a burst, or end the one that runs."""
    if st.ep:
        _end_episode(st, log, mid2)
        return n
    st.next_episode += int(weather.standard_exponential() * 1440 * MINUTE / (cfg.episodes * activity))
    _start_episode(weather, cfg, st, mid2)
    d = st.ep_side
    if cfg.mechanism == BOOK and weather.random() < 0.5:
        d = -d  # the price is to come back
    seconds = min(0.4 + cfg.tail_s * weather.standard_exponential(), 8.0)
    n = _burst(rng, cfg, st, out, n, px, qty, count, d, st.ep_forced, seconds)
    st.ep_mid = px[0, 0] + px[1, 0]  # an episode is judged by what comes after its first, surprising order
    return n


@_jit
def run(weather, rng, cfg, st, hours, px, qty, count, log, out, t_end):
    """Play the market from where it is until ``out`` or ``log`` is nearly full or local time is past ``t_end``.

    Where a call stops leaves no trace: what is drawn does not depend on it. The last message may be after ``t_end``.

    Parameters
    ----------
    weather : draws what does not depend on the book, so that a seed has one weather at every edge and rate
    rng : draws the rest
    hours : float64 [24], activity by hour UTC
    px, qty : int64 [2, BOOK_SLOTS], count : int64 [2], the book
    log : LOG_DTYPE [>= 1], out : EVENT_DTYPE [> MARGIN]; ``st.logged`` counts the rows of this call's log

    Returns
    -------
    Rows written
    """
    rate = np.zeros(13)
    n = 0
    st.logged = 0
    if count[0] == 0:
        for k in range(METAORDERS):
            _new_metaorder(rng, cfg, st, k)
        n = open_market(rng, cfg, st, out, px, qty, count)
        st.value = st.high = st.low = st.high_before = st.low_before = px[0, 0] + px[1, 0]
    while n < len(out) - MARGIN and st.logged < len(log) and st.last_local < t_end:
        hour = (st.t // (60 * MINUTE)) % 24
        if st.t >= st.next_second:
            _by_the_second(weather, cfg, st, hours[hour])
            st.value += (px[0, 0] + px[1, 0] - st.value) / cfg.value_s
        mid2 = px[0, 0] + px[1, 0]
        _follow(st, mid2)
        total = _rates(cfg, st, mid2, px[1, 0] - px[0, 0], rate)
        wait = rng.standard_exponential() / total
        dt = min(wait, _LONGEST)
        st.t += 20_000 + int(dt * SECOND)
        st.fast_heat *= np.exp(-dt / cfg.fast_s)
        st.slow_heat *= np.exp(-dt / cfg.slow_heat_s)
        st.spike_ms *= np.exp(-dt / 0.6)
        keep = np.exp(-dt / cfg.mood_s)
        st.mood = keep * st.mood + cfg.mood_sd * np.sqrt(1.0 - keep * keep) * rng.standard_normal()
        st.lean = st.mood
        if st.ep and cfg.mechanism == BOOK:
            st.lean += cfg.tilt * st.ep_side
        delay_ms = 5.0 + 0.5 * np.exp(0.7 * rng.standard_normal()) + st.spike_ms
        st.stamp = max(st.t + int(delay_ms * 1e6), st.last_local + 1_000)
        first = n
        if st.t >= st.next_funding:
            st.next_funding += int(cfg.funding_every_s * SECOND)
            n = put_row(out, n, st, EV_FUNDING, (mid2 + 1) // 2, 0)
            out[first].fval = st.funding
            out[first].ival = (st.t // (480 * MINUTE) + 1) * 480 * MINUTE
        elif (st.ep and st.t >= st.ep_t2) or (not st.ep and st.t >= st.next_episode):
            n = _episode(weather, rng, cfg, st, log, out, n, px, qty, count, mid2, hours[hour])
            n = keep_depth(rng, cfg, st, out, n, px, qty, count)
        elif wait == dt:
            u, kind = rng.random() * total, 0
            while kind < len(rate) - 1 and u >= rate[kind]:
                u -= rate[kind]
                kind += 1
            n = _happen(rng, cfg, st, out, n, px, qty, count, kind)
            n = keep_depth(rng, cfg, st, out, n, px, qty, count)
        if n > first:
            st.last_local = st.stamp
    return n
