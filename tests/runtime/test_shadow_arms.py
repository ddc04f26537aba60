"""One pass for every arm: each arm gets what a replay of its own would give it, and what a plain loop says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from feature_repo.constants import MS_NS, ORDER
from feature_repo.errors import InputError
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.hft_files import write_hft
from runtime.arms import Remembered, decide_all
from runtime.bundle import load_bundle
from runtime.candidate import Entry
from runtime.gate import GuardsOnly
from runtime.shadow import replay
from runtime.shadow_account import account, portfolio
from runtime.shadow_types import BUSY, CONTROL_DTYPE, NO_DATA, OK, ORDER_DTYPE, UNFILLED

from .gate_builders import LOT, TICK, bundle_folder, candidate, quiet_market, window
from .label_tapes import best_quotes, random_tape
from .test_shadow import ETH, FEE

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process

LATENCY_NS = ORDER.order_latency_ms * MS_NS


@pytest.fixture(scope="module")
def market():
    tape = random_tape(3)
    quotes, lo = best_quotes(tape.events), tape.span_ns[0]
    ts = lo + np.arange(5, 405) * 250 * MS_NS
    o = np.zeros(len(ts), ORDER_DTYPE)
    o["ts_ns"], o["side"], o["R_bps"], o["notional"] = ts, np.where(np.arange(400) % 3, 1, -1), 6.0, 10_000.0
    o["entry"] = np.arange(400) % 2
    at = np.searchsorted(quotes["local_ts"], ts, side="right") - 1
    o["price"] = np.where(o["side"] > 0, quotes["bid"][at], quotes["ask"][at])
    return tape, to_hftbacktest(tape), o


def decisions(n, arms=6):
    return np.random.default_rng(0).random((arms, n)) < np.linspace(0.05, 1.0, arms)[:, None]


@pytest.mark.parametrize("exit", ["label", "runner"])
def test_an_arm_gets_what_a_replay_of_its_own_gives_it(market, exit):
    _, events, orders = market
    allowed = decisions(len(orders))
    together = replay(events, ETH, orders, allowed=allowed, exit=exit)
    trades = account(together, FEE, ETH)
    for a, row in enumerate(allowed):
        alone = replay(events, ETH, orders[row], allowed=np.ones((1, row.sum()), bool), every=False, exit=exit)
        own = portfolio(account(alone, FEE, ETH), np.ones(row.sum(), bool), alone.busy[0])
        mine = portfolio(trades, row, together.busy[a])
        np.testing.assert_array_equal(mine["status"], own["status"])
        taken = mine["status"] != BUSY
        np.testing.assert_equal(mine[taken].tolist(), own[taken].tolist())
    assert 0 < (~together.busy & allowed).sum(axis=1)[-1] < 100  # the busiest arm takes a few of its 400


def test_one_position_at_a_time_as_a_plain_loop_has_it(market):
    _, events, orders = market
    allowed = decisions(len(orders))
    done = replay(events, ETH, orders, allowed=allowed)
    p = done.parents
    # What is over at the exchange is over here when the answer is back; an IOC that got nothing ends with its answer.
    answered = p["t_end"] + np.where((p["status"] == UNFILLED) & (orders["entry"] == Entry.IOC), 0, LATENCY_NS)
    for a, row in enumerate(allowed):
        free_at = -1
        for i in np.flatnonzero(row):
            if p["status"][i] == NO_DATA:
                continue
            busy = orders["ts_ns"][i] < free_at
            assert done.busy[a, i] == busy, (a, i)
            free_at = free_at if busy else int(answered[i])
    assert not (done.busy & ~allowed).any()


def test_what_no_arm_takes_is_replayed_only_for_the_candidate_book(market):
    _, events, orders = market
    allowed = decisions(len(orders), arms=2)[:1]
    some = replay(events, ETH, orders, allowed=allowed, every=False)
    every = replay(events, ETH, orders, allowed=allowed)
    taken = allowed[0] & ~some.busy[0]
    assert (some.parents["status"][~taken] == BUSY).all()
    assert (every.parents["status"] != BUSY).all()
    np.testing.assert_array_equal(some.busy, every.busy)
    mine, theirs = (account(r, FEE, ETH)[taken] for r in (some, every))
    np.testing.assert_equal(mine.tolist(), theirs.tolist())


def test_order_of_the_orders_does_not_matter(market):
    _, events, orders = market
    allowed = decisions(len(orders))
    shuffled = np.random.default_rng(1).permutation(len(orders))
    a, b = (
        replay(events, ETH, orders, allowed=allowed),
        replay(events, ETH, orders[shuffled], allowed=allowed[:, shuffled]),
    )
    np.testing.assert_array_equal(a.busy[:, shuffled], b.busy)
    np.testing.assert_equal(account(a, FEE, ETH)[shuffled].tolist(), account(b, FEE, ETH).tolist())


def test_files_give_what_the_array_gives(market, tmp_path):
    tape, events, orders = market
    files = write_hft(tape, tmp_path, rows=20_000)
    assert len(files.paths) == 3
    a, b = (replay(source, ETH, orders, allowed=decisions(len(orders))) for source in (events, files))
    assert a.parents.tobytes() == b.parents.tobytes()
    assert a.busy.tobytes() == b.busy.tobytes()
    assert (a.parents["status"] == OK).sum() > 100


def test_decisions_of_another_length_are_refused(market):
    _, events, orders = market
    for shape in ((1, 3), (400,)):
        with pytest.raises(InputError, match=re.escape(f"decisions of shape {shape} for 400 orders")):
            replay(events, ETH, orders, allowed=np.ones(shape, bool))


def test_a_candidate_without_a_gate_is_not_decided():
    n = 2
    asked = [candidate()] * n, np.stack([window()] * n), np.ones(n, bool), quiet_market(n), np.ones(n, bool)
    gate = GuardsOnly("C", fee=FEE, symbol=SIMULATED_SYMBOL, tick=TICK, lot=LOT)
    with pytest.raises(ValueError, match="candidate 1 has no gate"):
        decide_all([gate, None], *asked)


def test_a_backtest_that_stops_with_an_error_gives_no_trades(market, monkeypatch):
    def fails(*arguments):
        (control,) = (a for a in arguments if getattr(a, "dtype", None) == CONTROL_DTYPE)
        control["failed"] = 14
        return True

    monkeypatch.setattr("runtime.shadow.advance", fails)
    _, events, orders = market
    with pytest.raises(RuntimeError, match="hftbacktest stopped with code 14"):
        replay(events, ETH, orders)


def test_a_remembered_bundle_answers_the_same_bits_and_asks_once(tmp_path):
    plain = load_bundle(bundle_folder(tmp_path))

    class Counted:
        calls = 0

        def run(self, *arguments):
            self.calls += 1
            return plain.session.run(*arguments)

    counted = Counted()
    kept = Remembered(plain.path, plain.manifest, counted, {})
    rng = np.random.default_rng(0)
    shape = (1, plain.manifest.T, plain.manifest.C)
    asked = [(rng.normal(size=shape).astype(np.float32), rng.random((1, 8), np.float32)) for _ in range(3)]
    for x, ctx in asked * 2:
        assert kept.predict(x, ctx).tobytes() == plain.predict(x, ctx).tobytes()
    assert counted.calls == 3
    other = asked[0][1].copy()
    other[0, 7] += 1
    kept.predict(asked[0][0], other)
    assert counted.calls == 4
