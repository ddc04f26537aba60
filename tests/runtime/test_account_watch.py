"""The watch says at every prefix of a day what a plain look at its trades says; what is wrong is read the worse way."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.errors import InputError
from runtime.account_watch import DAY_NS, AccountWatch, Trade

EQUITY = 100_000.0
HOUR = 3_600_000_000_000


def oracle(trades: list[Trade], equity=EQUITY, pct=6.0, least=30) -> str | None:
    """Of all trades up to the last one; nothing is kept from one prefix to the next."""
    ended, today = None, []
    for trade in trades:
        if today and trade.t_ns // DAY_NS > today[-1].t_ns // DAY_NS:
            ended, today = today, []
            day_over = True
        else:
            day_over = False
        today.append(trade)
    nets = [Fraction(t.net_usd) for t in today]
    sums = list(accumulate(nets))
    fall = max([Fraction(0), *sums]) - sums[-1]
    if day_over and len(ended) >= 2 and _mean_is_negative(ended):
        return "negative_day"
    if fall * 100 > Fraction(pct) * Fraction(equity):
        return "drawdown"
    return "negative_day" if len(today) >= least and _mean_is_negative(today) else None


def _mean_is_negative(trades: list[Trade]) -> bool:
    return sum((Fraction(t.net_usd / t.notional_usd * 1e4) for t in trades), Fraction(0)) < 0


steps = st.lists(
    st.tuples(
        st.integers(1, DAY_NS // 8),
        st.one_of(st.sampled_from([-1500.0, -1000.0, -0.1, 0.0, 0.1, 0.3, 1000.0]), st.floats(-3000.0, 3000.0)),
        st.sampled_from([3000.0, 4000.0, 9999.9]),
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=100)
@given(steps)
def test_it_says_what_a_plain_look_says_at_every_prefix(told):
    trades, at = [], 20_000 * DAY_NS
    watch = AccountWatch(equity_usd=EQUITY, min_trades=10)
    for gap, net, notional in told:
        at += gap
        trades.append(Trade(at, net, notional))
        assert watch.update(*trades[-1]) == oracle(trades, least=10)


def test_both_limits_are_reached_by_such_days():
    """So that the property above has something to say."""
    seen = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        at, trades = 20_000 * DAY_NS + np.cumsum(rng.integers(1, DAY_NS // 40, 80)), []
        watch = AccountWatch(equity_usd=EQUITY, min_trades=10)
        for t, net in zip(at.tolist(), rng.normal(-50, 700, 80).tolist(), strict=True):
            trades.append(Trade(t, net, 10_000.0))
            reason = watch.update(*trades[-1])
            assert reason == oracle(trades, least=10)
            seen.add(reason)
    assert seen == {None, "drawdown", "negative_day"}


def fed(*nets, day=100, notional=10_000.0, **options):
    watch = AccountWatch(**options)
    return watch, [watch.update(day * DAY_NS + HOUR + i, net, notional) for i, net in enumerate(nets)]


def test_six_percent_is_not_yet_too_much():
    _, said = fed(-3000.0, -3000.0, -0.01)
    assert said == [None, None, "drawdown"]


def test_the_drawdown_is_from_the_days_peak():
    watch, said = fed(5000.0, 1.0, -4000.0, -2000.0, -1.0)
    assert said == [None, None, None, None, "drawdown"]
    assert watch.net_usd == -1000.0
    assert watch.drawdown_pct == pytest.approx(6.001)


def test_the_ir_is_asked_from_the_thirtieth_trade_on():
    watch, said = fed(*[-5.0, 4.0] * 14, -1.0, 3.0)  # 28, 29, 30
    assert said == [None] * 29 + ["negative_day"]
    assert watch.trades == 30
    nets = np.array([-5.0, 4.0] * 14 + [-1.0, 3.0])
    assert watch.ir == pytest.approx(nets.mean() / nets.std(ddof=1))
    _, even = fed(*[-5.0, 5.0] * 15)  # a mean of exactly nothing
    assert even == [None] * 30
    _, equal = fed(*[-0.25] * 30)
    assert equal[-1] == "negative_day"


@pytest.mark.parametrize(("nets", "says"), [((-1.0, -2.0), "negative_day"), ((-1.0,), None), ((-1.0, 2.0), None)])
def test_a_day_that_is_over_is_judged_once_with_fewer(nets, says):
    watch, said = fed(*nets)
    assert set(said) == {None}
    assert watch.at(100 * DAY_NS + DAY_NS - 1) is None
    assert watch.at(101 * DAY_NS) == says
    assert (watch.at(101 * DAY_NS), watch.at(105 * DAY_NS)) == (None, None)
    by_a_trade, _ = fed(*nets)
    assert by_a_trade.update(101 * DAY_NS, 5.0, 10_000.0) == says
    assert (by_a_trade.trades, by_a_trade.net_usd) == (1, 5.0)


def test_a_new_day_begins_at_nothing():
    watch, _ = fed(-5999.0)
    assert watch.update(101 * DAY_NS, -5999.0, 10_000.0) is None


def test_it_says_so_until_it_is_restarted():
    watch, said = fed(-6500.0, 1.0)
    assert said == ["drawdown", "drawdown"]
    watch.restart()
    assert watch.update(100 * DAY_NS + 2 * HOUR, -5000.0, 10_000.0) is None
    assert watch.update(100 * DAY_NS + 2 * HOUR + 1, -5000.0, 10_000.0) == "drawdown"


NAN, INF = math.nan, math.inf
NOT_TRUE = [
    (0, NAN, 1e4), (0, INF, 1e4), (0, -INF, 1e4), (0, 1.0, NAN), (0, 1.0, 0.0), (0, 1.0, -1e4), (0, 1.0, INF),
    (0, 10_001.0, 1e4), (0, -10_001.0, 1e4), (0, 10**400, 1e4), (None, 1.0, 1e4), ("1", 1.0, 1e4), (0.5, 1.0, 1e4),
    (-1, 1.0, 1e4), (2**63, 1.0, 1e4), (True, 1.0, 1e4), (0, None, 1e4), (0, "x", 1e4), (0, 1.0, None), (NAN, 1.0, 1e4),
    (INF, 1.0, 1e4),
]  # fmt: skip


@pytest.mark.parametrize("record", NOT_TRUE)
def test_a_record_that_cannot_be_true_trips_and_counts_for_nothing(record):
    watch, _ = fed(1.0)
    assert watch.update(*record) == "bad_record"
    assert (watch.trades, watch.net_usd) == (1, 1.0)


def test_a_time_far_ahead_of_the_newest_question_is_not_true():
    watch, now = AccountWatch(), 100 * DAY_NS
    assert watch.update(now + DAY_NS, 1.0, 1e4, asked_ns=now) is None
    assert watch.update(now + DAY_NS + 1, 1.0, 1e4, asked_ns=now) == "bad_record"


def test_the_same_again_counts_as_a_loss_and_not_as_a_gain():
    watch, at = AccountWatch(), 100 * DAY_NS
    for _ in range(2):
        watch.update(at, 50.0, 1e4)
        watch.update(at, -30.0, 1e4)
    assert (watch.trades, watch.net_usd) == (3, -10.0)
    watch.restart()  # and what was told stays told
    watch.update(at, 50.0, 1e4)
    assert watch.trades == 0


def test_a_record_of_a_day_that_is_over_counts_as_a_loss_and_not_as_a_gain():
    watch, _ = fed(1.0)
    assert watch.update(99 * DAY_NS, 500.0, 1e4) is None
    assert watch.net_usd == 1.0
    assert watch.update(99 * DAY_NS, -6_500.0, 1e4) == "drawdown"


def test_within_a_day_the_order_is_that_in_which_they_are_told():
    watch, at = AccountWatch(), 100 * DAY_NS
    assert watch.update(at + 5, -4000.0, 1e4) is None
    assert watch.update(at, -4000.0, 1e4) == "drawdown"


@pytest.mark.parametrize(
    "options",
    [{"equity_usd": 0.0}, {"equity_usd": NAN}, {"max_drawdown_pct": -1.0}, {"min_trades": 1}, {"min_trades": 2.5}],
)
def test_a_watch_is_not_made_of_nonsense(options):
    with pytest.raises(InputError, match=next(iter(options))):
        AccountWatch(**options)


def test_the_equity_is_ten_base_sizes_unless_told():
    assert AccountWatch().equity_usd == 100_000.0
    assert fed(-601.0, equity_usd=10_000.0)[1] == ["drawdown"]
