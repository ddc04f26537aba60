"""The walk over a tape and the facts made from it: against plain loops, in any cut, and on the real recordings."""

from __future__ import annotations

import math
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.events import BUY, DEPTH, EVENT_DTYPE, SELL, TRADE
from feature_repo.market.stylised import Facts, facts_of, facts_table
from feature_repo.market.summary import summarise
from feature_repo.market.walk import SIGN_LAGS, STEP_NS, TapeWalk
from feature_repo.market.walk_stats import Series, autocorrelation, mean_r2, r2, within_r2

from .walk_oracle import PlainWalk, plain_r2, plain_returns, random_tape

pytestmark = pytest.mark.slow

REAL = Path(__file__).parents[3] / "shared" / "data"
TICK = 0.01


def walk(events: np.ndarray, cuts=()) -> TapeWalk:
    out = TapeWalk(TICK)
    for part in np.split(events, sorted(cuts)):
        out.update(part)
    return out.finish()


def facts(events: np.ndarray) -> Facts:
    return facts_of(walk(events))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("wild", [True, False])
def test_windows_equal_plain_loops(seed, wild):
    events = random_tape(seed, 900, wild=wild)
    ours, plain = walk(events), PlainWalk(events, TICK)
    assert ours.windows["k"].tolist() == [w["k"] for w in plain.windows]
    for name in ours.windows.dtype.names:
        want = np.array([w[name] for w in plain.windows]).astype(ours.windows[name].dtype)
        np.testing.assert_array_equal(ours.windows[name], want, err_msg=name)
    times = {(s, t): int(ns) for s in (0, 1) for t, ns in enumerate(ours.spread_ns[s]) if ns}
    assert times == {key: ns for key, ns in plain.spread_ns.items() if ns}
    assert (ours.depth_messages, ours.quote_messages) == tuple(plain.messages)
    assert ours.orders == len(plain.signs)
    assert ours.sign_sum == sum(plain.signs)
    assert ours.price_step == float(f"{min(plain.steps):.6g}")
    s = np.array(plain.signs)
    for lag, product, pairs in zip(SIGN_LAGS, ours.sign_products, ours.sign_pairs, strict=True):
        assert pairs == max(len(s) - lag, 0)
        assert product == (int(s[lag:] @ s[:-lag]) if pairs else 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.lists(st.integers(0, 1500), max_size=8))
def test_no_cut_into_chunks_changes_a_bit(seed, cuts):
    events = random_tape(seed, 500)
    whole, cut = walk(events), walk(events, [c for c in cuts if c < len(events)])
    assert whole.windows.tobytes() == cut.windows.tobytes()
    assert whole.spread_ns.tobytes() == cut.spread_ns.tobytes()
    assert repr(facts_of(whole)) == repr(facts_of(cut))


def test_a_row_at_a_time_changes_nothing():
    events = random_tape(3, 200)
    assert walk(events).windows.tobytes() == walk(events, range(len(events))).windows.tobytes()


def test_facts_equal_plain_loops():
    events = random_tape(11, 9_000, wild=False)
    ours, plain = facts(events), PlainWalk(events, TICK)
    for m, name in ((1, "100ms"), (10, "1s"), (100, "10s")):
        by = plain_returns(plain, 1, m)
        x, y = zip(*by.values(), strict=True)
        assert getattr(ours, f"r2_{name}") == pytest.approx(plain_r2(x, y), rel=1e-6)
        assert getattr(ours, f"std_{name}_bps") == pytest.approx(np.std(y), rel=1e-9)
        dx, dy = zip(*plain_returns(plain, 0, m).values(), strict=True)
        assert getattr(ours, f"depth_r2_{name}") == pytest.approx(plain_r2(dx, dy), rel=1e-6)
        if m < 100:
            pairs = [(by[n][0], by[n + 1][1]) for n in by if n + 1 in by]
            assert getattr(ours, f"next_r2_{name}") == pytest.approx(plain_r2(*zip(*pairs, strict=True)), rel=1e-4)
    y = np.array([r for _, r in plain_returns(plain, 1, 10).values()])
    z = (y - y.mean()) / y.std()
    assert ours.kurtosis_1s == pytest.approx(np.mean(z**4) - 3, rel=1e-9)
    size = np.abs(y) - np.abs(y).mean()
    assert ours.abs_acf_10s == pytest.approx(np.mean(size[10:] * size[:-10]) / np.mean(size**2), rel=1e-9)
    s = np.array(plain.signs) - np.mean(plain.signs)
    assert ours.sign_acf_1 == pytest.approx(np.mean(s[1:] * s[:-1]) / np.mean(s**2), abs=2e-3)
    held = {t: ns for (source, t), ns in plain.spread_ns.items() if source == 1}
    assert ours.spread_mean_ticks == pytest.approx(sum(t * ns for t, ns in held.items()) / sum(held.values()))
    orders = [w["orders"] for w in plain.windows]
    tens = np.add.reduceat(orders[: len(orders) // 10 * 10], np.arange(0, len(orders) // 10 * 10, 10))[1:]
    assert ours.fano_1s == pytest.approx(tens.var(ddof=1) / tens.mean(), rel=1e-9)
    minute = [
        (max(m) / min(m) - 1) * 1e4
        for k in range(0, len(plain.windows) - 599, 60)
        for m in [[(w["bid"][1] + w["ask"][1]) / 2 for w in plain.windows[k : k + 600]]]
        if not math.isnan(sum(m))
    ]
    assert ours.range_60s_bps == pytest.approx(np.mean(minute), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("source", [0, 1])
def test_longer_windows_leave_out_what_is_not_known(seed, source):
    events = random_tape(seed, 4_000)
    ours, plain = walk(events), PlainWalk(events, TICK)
    for m in (1, 3, 10):
        k, ofi, ret = Series(ours.windows, source).blocks(m)
        want = plain_returns(plain, source, m)
        assert k.tolist() == list(want)
        np.testing.assert_allclose(np.column_stack([ofi, ret]), list(want.values()), rtol=1e-9, atol=1e-9)


def test_pairs_lie_apart_by_exactly_the_lag():
    rng = np.random.default_rng(0)
    k = np.sort(rng.choice(400, 250, replace=False))
    x = rng.normal(size=250)
    at = {int(n): v for n, v in zip(k, x - x.mean(), strict=True)}
    pairs = [v * at[n + 5] for n, v in at.items() if n + 5 in at]
    assert autocorrelation(k, x, 5) == pytest.approx(np.mean(pairs) / np.var(x))


def test_the_next_return_is_of_the_window_right_after():
    events = random_tape(6, 4_000)
    by = plain_returns(PlainWalk(events, TICK), 1, 1)
    pairs = [(by[n][0], by[n + 1][1]) for n in by if n + 1 in by]
    assert len(pairs) < len(by) - 10
    assert facts(events).next_r2_100ms == pytest.approx(plain_r2(*zip(*pairs, strict=True)), rel=1e-6)


def test_without_best_quotes_the_depth_messages_tell():
    events = random_tape(5, 3_000, quotes=False, wild=False)
    f = facts(events)
    assert f.quotes_per_s == 0
    assert f.r2_1s == f.depth_r2_1s
    assert math.isfinite(f.r2_1s)


def test_a_clock_constant_changes_no_fact():
    events = random_tape(8, 3_000)
    later = events.copy()
    later["local_ts"] += 1_527_000_224
    # exch_ts only tells messages and orders apart.
    assert repr(facts(events)) == repr(facts(later))


def test_grouped_r2_equals_a_line_each():
    rng = np.random.default_rng(1)
    group = np.repeat([4, 5, 7], [40, 50, 60])
    x = rng.normal(size=150)
    y = np.array([1.0, 3.0, -2.0])[np.searchsorted([4, 5, 7], group)] * x + rng.normal(size=150) + group
    total = residual = 0.0
    for g in (4, 5, 7):
        at = group == g
        total += ((y[at] - y[at].mean()) ** 2).sum()
        residual += (1 - plain_r2(x[at], y[at])) * ((y[at] - y[at].mean()) ** 2).sum()
    assert within_r2(group, x, y) == pytest.approx(1 - residual / total)
    assert within_r2(group, x, y) > r2(x, y)


def test_mean_over_starts_equals_each_start_by_itself():
    w = walk(random_tape(2, 6_000, wild=False)).windows
    series = Series(w, 1)
    each = []
    for start in range(10):
        late = w.copy()
        late["k"] -= start
        each.append(r2(*Series(late[start:], 1).blocks(10)[1:]))
    # A start of its own also cuts off the windows before it: one of hundreds.
    assert mean_r2(series, 10) == pytest.approx(np.mean(each), abs=5e-3)


def test_fills_of_one_market_order_count_once():
    rows = [(TRADE | side, t, t, 100.0, 1.0, 0, 0, 0.0) for t, side in ((5, BUY), (5, BUY), (5, SELL), (9, SELL))]
    out = walk(np.array(rows, EVENT_DTYPE))
    assert (out.trades, out.orders, out.sign_sum) == (4, 3, -1)


def test_a_long_silence_is_left_out():
    events = random_tape(1, 300, wild=False)
    after = events[-40:].copy()
    after["local_ts"] += 30 * 86_400 * 1_000_000_000
    out = walk(np.concatenate([events, after]))
    assert len(out.windows) < len(walk(events).windows) + 200
    assert np.diff(out.windows["k"]).max() > 25_000_000


def test_too_short_gives_no_figure():
    for events in (np.empty(0, EVENT_DTYPE), random_tape(0, 2)):
        f = facts(events)
        assert math.isnan(f.r2_1s)
        assert math.isnan(f.sign_acf_1)
    assert all(math.isnan(v) for v in astuple(Facts()))


def test_a_book_of_many_levels_grows():
    n = 9_000
    rows = [(DEPTH | BUY, i, i, 100.0 - i * TICK, 1.0, 0, 0, 0.0) for i in range(n)]
    assert walk(np.array(rows, EVENT_DTYPE), [4_000]).price_step == TICK


def test_the_table_has_every_fact_and_one_column_each():
    f = facts(random_tape(4, 2_000, wild=False))
    table = facts_table({"real": f, "empty": Facts()})
    assert table[0] == ["fact", "real", "empty", "published"]
    assert len(table) == 1 + len(fields(Facts))
    assert {len(row) for row in table} == {4}
    assert all(row[2] == "N/A" for row in table[1:])
    assert any("Cont, Kukanov, Stoikov 2014" in row[3] for row in table)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings are not here")
def test_known_figures_of_the_real_recording():
    """R2 0.27 / 0.57 / 0.74, next 0.04 / 0.02, 10 s std 2.3 bps: from the best-quote stream, windows from the start."""
    from feature_repo.market.tape import read_tape

    tape = read_tape(REAL / "binance_usdm_ethusdt")
    f = summarise(tape).facts
    assert (f.r2_100ms, f.r2_1s, f.r2_10s) == pytest.approx((0.27, 0.57, 0.74), abs=0.025)
    assert (f.next_r2_100ms, f.next_r2_1s) == pytest.approx((0.04, 0.02), abs=0.01)
    assert f.std_10s_bps == pytest.approx(2.3, abs=0.05)
    assert f.one_tick_share > 0.99
    assert 900 < f.rows_per_s < 1100
    assert 7 < f.range_60s_bps < 9
    assert f.span_s == pytest.approx((tape.span_ns[1] - tape.span_ns[0]) / 1e9, abs=STEP_NS / 1e9)
