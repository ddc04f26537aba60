"""Candidates of a user's entries: at their windows, judged as any other, and those that the signals would have made."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo import build_features, simulate_tape
from feature_repo.constants import MODEL, MS_NS, ORDER, SIGNAL, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.table import QUOTE_DTYPE
from meta_models.labels import OUTCOMES, label_candidates
from runtime.candidate import Candidate, Entry, SigType, Tier, is_sound
from runtime.context import context_rows
from runtime.decision import Reason
from runtime.entries import Entries, UserEntry, check_span, entries_to_candidates, read_entries
from runtime.gate import GuardsOnly
from runtime.signals import find_candidates

from .gate_builders import FEE, LOT, T0, TICK, MiniTable, flow, quiet_table, window

# ---------------------------------------------------------------- candidates


TABLE = quiet_table(50)
SPAN = (T0 + 1, T0 + 50 * WINDOW_NS + 30 * MS_NS)
"""Of a tape that begins after T0 and ends within the window after the table's last."""


def entry(
    ts_ns: int, side: int = 1, sig_type: SigType = SigType.MOMENTUM, number: int = 2, **more: object
) -> UserEntry:
    return UserEntry(number, ts_ns, side, sig_type, **{"price": 2000.0, **more})


def made(*many: UserEntry, table: MiniTable = TABLE, span_ns: tuple[int, int] = SPAN) -> list[Candidate]:
    return entries_to_candidates(Entries(Path("mine.csv"), "line", many), table, span_ns)


def told(*many: UserEntry) -> str:
    with pytest.raises(InputError) as error:
        made(*many)
    return str(error.value)


@pytest.mark.parametrize(("after_ns", "k"), [(1, 1), (WINDOW_NS - 1, 1), (WINDOW_NS, 1), (WINDOW_NS + 1, 2)])
def test_an_entry_is_decided_by_the_first_window_that_ends_at_or_after_it(after_ns, k):
    (c,) = made(entry(T0 + after_ns))
    assert (c.ts_ns, c.expiry_ns) == (T0 + k * WINDOW_NS, T0 + k * WINDOW_NS + SIGNAL.expiry_ms * MS_NS)


def test_an_entry_on_the_first_event_of_a_tape_is_decided_by_its_first_window():
    (c,) = made(entry(T0), span_ns=(T0, SPAN[1]))
    assert c.ts_ns == T0 + WINDOW_NS


def test_nothing_after_its_window_moves_a_candidate():
    before = made(entry(T0 + 10 * WINDOW_NS - 5))
    other = quiet_table(50)
    other.market[10:] = np.zeros(40, other.market.dtype)
    other.market["t_ns"] = TABLE.market["t_ns"]
    assert made(entry(T0 + 10 * WINDOW_NS - 5), table=other) == before
    other.market["atr"][9] *= 2
    assert made(entry(T0 + 10 * WINDOW_NS - 5), table=other) != before


def test_times_outside_the_tape_are_told_by_line_with_its_span():
    said = told(entry(SPAN[0] - 1, number=7), entry(T0 + WINDOW_NS, number=8), entry(SPAN[1] + 1, number=9))
    assert "2 of 3 entries" in said
    assert "line 7: 2023-11-14 22:13:00.000 is before the tape" in said
    assert "line 8" not in said
    assert "line 9: 2023-11-14 22:13:05.030 is after the end of the tape" in said
    assert f"({SPAN[0]} to {SPAN[1]} ns)" in said


def test_after_the_last_whole_window_nothing_can_be_decided():
    assert len(made(entry(T0 + 50 * WINDOW_NS))) == 1
    assert "line 2: 2023-11-14 22:13:05.000: the tape has no whole 100 ms window" in told(
        entry(T0 + 50 * WINDOW_NS + 1)
    )


def test_a_hole_in_the_table_is_not_jumped():
    holed = MiniTable(np.delete(TABLE.X, slice(10, 20), 0), np.delete(TABLE.market, slice(10, 20)))
    with pytest.raises(InputError, match="no whole 100 ms window"):
        made(entry(T0 + 12 * WINDOW_NS), table=holed)
    assert made(entry(T0 + 21 * WINDOW_NS), table=holed)[0].ts_ns == T0 + 21 * WINDOW_NS


def test_the_span_alone_can_be_checked_before_there_is_a_table():
    with pytest.raises(InputError, match=r"line 3: .* is after the end of the tape"):
        check_span(Entries(Path("m"), "line", (entry(SPAN[0]), entry(SPAN[1]), entry(SPAN[1] + 1, number=3))), SPAN)
    check_span(Entries(Path("m"), "line", (entry(SPAN[0]), entry(SPAN[1]))), SPAN)


def test_two_of_one_side_in_one_window_are_told():
    t = T0 + 5 * WINDOW_NS
    said = told(entry(t - 9), entry(t, -1, number=3), entry(t, number=4), entry(t + 1, number=5))
    assert "1 of 4 entries cannot be used\n  line 4: the 100 ms window and side of line 2 again" in said


def test_another_symbol_is_told():
    assert "line 2: symbol BTCUSDT, the tape's is ETHUSDT-SIM" in told(entry(T0 + WINDOW_NS, symbol="BTCUSDT"))
    assert made(entry(T0 + WINDOW_NS, symbol="ETHUSDT-SIM"))[0].symbol == "ETHUSDT-SIM"


def test_candidates_come_in_time_order():
    many = [entry(T0 + k * WINDOW_NS, s, number=n) for n, (k, s) in enumerate([(9, -1), (3, 1), (9, 1), (5, 1)])]
    assert [(c.ts_ns - T0, c.side) for c in made(*many)] == [
        (k * WINDOW_NS, s) for k, s in ((3, 1), (5, 1), (9, -1), (9, 1))
    ]


def test_price_tier_and_style_are_the_users():
    got = made(*(entry(T0 + (1 + t) * WINDOW_NS, -1, t, price=1990.0 + t, tier=Tier(t % 3)) for t in SigType))
    assert [(c.sig_type, c.price, c.tier) for c in got] == [(t, 1990.0 + t, Tier(t % 3)) for t in SigType]
    assert {c.sig_type for c in got if c.entry is Entry.MAKER} == {SigType.DIVERGENCE}
    assert {c.sig_type for c in got if c.reclaimed} == {SigType.RECLAIM}


@pytest.mark.parametrize(
    ("R_bps", "exp_reward_bps", "wanted"),
    [
        (None, None, (40.0 / 0.9, 40.0)),  # half of an ATR of 80 bps
        (None, 18.0, (20.0, 18.0)),
        (30.0, None, (30.0, 40.0)),
        (30.0, 18.0, (30.0, 18.0)),
        (1e-3, None, (1e-3, 40.0)),  # below six ticks: the gate's to judge
    ],
)
def test_what_is_given_stays_and_the_rest_is_computed(R_bps, exp_reward_bps, wanted):
    (c,) = made(entry(T0 + WINDOW_NS, R_bps=R_bps, exp_reward_bps=exp_reward_bps))
    assert (c.R_bps, c.exp_reward_bps) == pytest.approx(wanted, rel=1e-12)


def gate_says(c: Candidate, table: MiniTable) -> Reason:
    gate = GuardsOnly("A", fee=FEE, symbol=table.symbol, tick=TICK, lot=LOT)
    row = table.market[np.searchsorted(table.market["t_ns"], c.ts_ns)]
    return gate.decide(c, c.ts_ns + ORDER.compute_ms * MS_NS, window(), row).reason


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, Reason.ALLOW),
        ({"R_bps": 6 * TICK / 2000 * 1e4 / 1.1}, Reason.ALLOW),
        ({"R_bps": 5.9 * TICK / 2000 * 1e4 / 1.1}, Reason.MIN_STOP),
        ({"price": 2021.0}, Reason.PRICE),
        ({"exp_reward_bps": 10.0}, Reason.EV),
        ({"sig_type": SigType.RECLAIM}, Reason.ALLOW),
        ({"tier": Tier.B}, Reason.TIER),
    ],
)
def test_the_gate_judges_a_users_entry_as_any_other(more, reason):
    (c,) = made(entry(T0 + WINDOW_NS, **more))
    assert gate_says(c, TABLE) is reason


@pytest.mark.parametrize("sig_type", [SigType.MOMENTUM, SigType.DIVERGENCE])
@pytest.mark.parametrize("given_bps", [None, 25.0])
def test_an_entry_in_a_window_without_a_book_stays_and_is_denied(sig_type, given_bps):
    table = quiet_table(50)
    nothing = ("bid", "ask", "mid", "bid_qty", "ask_qty", "spread_bps", "vwap", "sigma_vwap", "high", "low", "atr")
    for name in nothing:
        table.market[name][9] = np.nan
    table.market["slip_buy_bps"][9] = table.market["slip_sell_bps"][9] = np.inf
    table.market["valid"][9] = False
    (c,) = made(entry(T0 + 10 * WINDOW_NS, sig_type=sig_type, exp_reward_bps=given_bps), table=table)
    assert c.est_slip_bps == math.inf
    assert math.isnan(c.R_bps)
    assert math.isnan(c.exp_reward_bps) if given_bps is None else c.exp_reward_bps == given_bps
    assert is_sound(c)
    assert gate_says(c, table) is Reason.NO_WINDOW
    assert np.isfinite(context_rows([c], table.market[9:10], FEE)).all()
    quotes = np.zeros(1, QUOTE_DTYPE)
    quotes["local_ts"] = quotes["exch_ts"] = T0
    for name in ("bid", "ask", "bid_qty", "ask_qty"):
        quotes[name] = np.nan
    (label,) = label_candidates(quotes, np.empty(0, [("exch_ts", "i8"), ("px", "f8")]), [c], FEE, end_ns=SPAN[1])
    assert (OUTCOMES[label["outcome"]], label["y"]) == ("invalid", -1)


# ---------------------------------------------------------------- the built-in signals, exported and read again


def assert_given_back(table: MiniTable, span_ns: tuple[int, int]) -> int:
    """Candidates written as the four columns by the csv module come back the same, but for the tier."""
    found = find_candidates(table)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("ts_ns", "side", "sig_type", "price"))
    writer.writerows((c.ts_ns, c.side, c.sig_type.name.lower(), c.price) for c in found)
    parsed = list(csv.reader(io.StringIO(out.getvalue())))[1:]
    many = [
        UserEntry(n, int(ts), int(side), SigType[sig_type.upper()], float(price))
        for n, (ts, side, sig_type, price) in enumerate(parsed, 2)
    ]
    back = made(*many, table=table, span_ns=span_ns)
    assert [repr(c) for c in back] == [repr(replace(c, tier=Tier.A)) for c in found]
    return len(found)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(1, 199), st.floats(-4, 4), st.floats(-4, 4), st.floats(1900, 2100), st.booleans()),
        max_size=40,
    )
)
def test_built_in_candidates_come_back_from_their_four_columns(drawn):
    table = quiet_table(200)
    for row, ofi_z, cvd_z, vwap, ready in drawn:
        flow(table, row, ofi_z, cvd_z)
        table.market["vwap"][row] = vwap
        table.market["atr"][row] = 4.0 if ready else np.nan
        table.market["low"][row] = 1999.0 + 2 * ready
    assert_given_back(table, (T0, T0 + 200 * WINDOW_NS))


@pytest.mark.slow
def test_candidates_of_a_simulated_hour_come_back_from_a_file(tmp_path):
    file = tmp_path / "entries"
    tape = simulate_tape(hours=1.0, seed=3)
    table = build_features(tape)
    found = find_candidates(table)
    assert len({c.sig_type for c in found}) >= 3
    assert len(found) > 50
    pl.DataFrame(
        {
            "ts_ns": [c.ts_ns for c in found],
            "side": [c.side for c in found],
            "sig_type": [c.sig_type.name for c in found],
            "price": [c.price for c in found],
            "tier": [c.tier.name for c in found],
        }
    ).write_parquet(file)
    back = entries_to_candidates(read_entries(file), table, tape.span_ns)
    assert [repr(c) for c in back] == [repr(c) for c in found]
    x, ok = table.windows(np.array([c.ts_ns for c in back]), MODEL.T)
    assert ok.mean() > 0.9
    assert np.isfinite(x).all()
