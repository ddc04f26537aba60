"""Inverse contracts on the way from a notional to lots, through the gate, and through the replay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.order import GTC, LIMIT

from feature_repo.constants import ORDER
from feature_repo.errors import InputError
from feature_repo.instruments import INSTRUMENTS, FeeTier, Instrument
from feature_repo.market.hft import to_hftbacktest
from meta_models.labels import label_candidates
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.decision import Reason
from runtime.gate import GuardsOnly
from runtime.shadow import blind_spans
from runtime.shadow_types import OK
from runtime.sizing import round_to_lot
from tests.runtime.shadow_run import trades_of

from .gate_builders import FEE as GATE_FEE
from .gate_builders import TICK, TS, candidate, market_row, window
from .test_shadow import FEE, MS, ONE, Script, orders, rally
from .test_shadow_labels import best_quotes, random_tape

pytestmark = pytest.mark.slow

TEN = Instrument("binance_coinm", "ETHUSD_PERP", 0.01, 1.0, 8, inverse=True, contract_value=10.0)
HUNDRED = replace(TEN, contract_value=100.0)
BASE_USD = ORDER.base_size_usd


# --- sizing


@pytest.mark.parametrize(
    ("facts", "price", "lots"),
    [
        (INSTRUMENTS["binance_usdm", "ETHUSDT"], 3000.0, 3333),  # of 0.001: 3.333 base units
        (INSTRUMENTS["okx_swap", "ETH-USDT-SWAP"], 3000.0, 3333),  # 33.33 contracts of 0.1, in hundredths
        (INSTRUMENTS["okx_swap", "BTC-USDT-SWAP"], 60_000.0, 1666),
        (INSTRUMENTS["bybit", "ETHUSDT"], 3000.0, 333),
        (INSTRUMENTS["binance_coinm", "ETHUSD_PERP"], 3000.0, 1000),  # 10,000 USD / 10 USD
        (INSTRUMENTS["binance_coinm", "BTCUSD_PERP"], 60_000.0, 100),
        (INSTRUMENTS["bybit", "ETHUSD"], 3000.0, 10_000),
    ],
)
def test_the_base_size_in_lots(facts, price, lots):
    got = round_to_lot(BASE_USD, price, facts.lot, face_value=facts.face_value, min_notional=facts.min_notional)
    assert got == pytest.approx(facts.notional(price, lots * facts.lot), rel=1e-12)
    assert got <= BASE_USD
    assert got + facts.notional(price, facts.lot) > BASE_USD


def test_an_inverse_lot_is_worth_the_same_at_any_price():
    for price in (1.0, 3000.0, 1e6):
        assert round_to_lot(259.0, price, 1.0, face_value=100.0) == 200.0
        assert round_to_lot(99.9, price, 1.0, face_value=100.0) == 0.0


def test_below_the_least_order_is_nothing():
    assert round_to_lot(20.0, 2000.0, 0.001, min_notional=20.0) == 20.0
    assert round_to_lot(21.9, 2000.0, 0.001, min_notional=20.0) == 20.0
    assert round_to_lot(19.9, 2000.0, 0.001, min_notional=20.0) == 0.0
    assert round_to_lot(21.0, 2000.0, 0.01, min_notional=20.5) == 0.0  # 20 of whole lots
    for bad in (float("nan"), float("inf"), -1.0):
        assert round_to_lot(100.0, 10.0, 1.0, face_value=bad) == 0.0
        assert round_to_lot(100.0, 10.0, 1.0, min_notional=bad) == 0.0


# --- the gate


def decided(**facts):
    gate = GuardsOnly(**({"fee": GATE_FEE, "symbol": candidate().symbol, "tick": TICK, "lot": 1.0} | facts))
    return gate.decide(candidate(), TS, window(), market_row())


def test_the_gate_sizes_in_whole_contracts():
    assert decided(face_value=300.0).size == 9_900.0
    assert decided(face_value=10_001.0).reason is Reason.SIZE_TOO_SMALL
    assert decided(lot=0.001, min_notional=10_000.0).size == 10_000.0
    assert decided(lot=0.001, min_notional=10_000.5).reason is Reason.SIZE_TOO_SMALL
    for name in ("face_value", "min_notional"):
        with pytest.raises(InputError, match=name):
            decided(**{name: -1.0})


# --- the replay


def run(script, facts, *rows, **kw):
    return trades_of(script.events(), facts, orders(*rows), **{"fee": FEE, "order": ONE, **kw})


def test_a_long_to_the_coin():
    (got,) = run(rally(), TEN, (1000, 1))
    # As in test_shadow: in at 100.1 (mid 100.05), out at 101.2 (mid at the trigger 101.055); 10,000 / 10 contracts.
    assert got["status"] == OK
    assert (got["entry_px"], got["exit_px"]) == (pytest.approx(100.1), pytest.approx(101.2))
    assert got["qty"] == 1000.0
    bought, sold = 1000 * 10 / 100.1, 1000 * 10 / 101.2  # coins
    fees = 5e-4 * bought + 5e-4 * sold
    assert got["net_bps"] == pytest.approx((bought - sold - fees) / bought * 1e4, rel=1e-9)
    assert got["fee_bps"] == pytest.approx(fees / bought * 1e4, rel=1e-9)
    mids = 1000 * 10 / 100.05 - 1000 * 10 / 101.055
    assert got["gross_bps"] == pytest.approx(mids / bought * 1e4, rel=1e-9)
    assert got["gross_bps"] - got["slip_bps"] == pytest.approx((1 - 100.1 / 101.2) * 1e4, rel=1e-9)


def test_a_short_maker_and_funding():
    script = Script().quote(100, 100.0, 100.1).trade(2000, 100.3, 5000.0, 1 << 29).quote(4000, 98.0, 98.1)
    (got,) = run(
        script, HUNDRED, (1000, -1, Entry.MAKER, 100.2), funding=[(3000 * MS, 1e-4)], order=replace(ONE, ioc_slices=1)
    )
    assert got["status"] == OK
    assert (got["entry_px"], got["exit_px"]) == (pytest.approx(100.2), pytest.approx(98.1))
    assert got["qty"] == 100.0
    sold, bought = 100 * 100 / 100.2, 100 * 100 / 98.1
    assert got["funding_bps"] == pytest.approx(-1.0)  # received
    net = (bought - sold - 2e-4 * sold - 5e-4 * bought) / sold * 1e4 + 1.0
    assert got["net_bps"] == pytest.approx(net, rel=1e-9)


def test_slices_and_the_runner():
    script = Script().quote(100, 100.0, 100.1).quote(1150, 100.0, 100.2, 5000.0, 10.0).quote(1300, 100.0, 100.4)
    (got,) = run(script, TEN, (1000, 1, Entry.IOC, 0.0, 300.0), order=replace(ONE, ioc_slices=3))
    contracts, px = np.array([333.0, 10.0, 333.0]), np.array([100.1, 100.2, 100.4])
    assert got["qty"] == contracts.sum()
    assert got["entry_px"] == pytest.approx(contracts.sum() / (contracts / px).sum(), rel=1e-12)
    up = Script().quote(100, 100.0, 100.1).quote(4000, 101.1, 101.2).quote(5000, 103.0, 103.1).quote(6000, 101.5, 101.6)
    (half,) = run(up, TEN, (1000, 1), exit="runner")
    # Half out at 101.1, the rest once 103 has given back 0.9 R: two equal halves, paid in coins.
    sold = 500 / 101.1 + 500 / 101.5
    assert half["exit_px"] == pytest.approx(1000 / sold, rel=1e-12)
    assert half["gross_bps"] - half["slip_bps"] == pytest.approx((1000 / 100.1 - sold) / (1000 / 100.1) * 1e4, rel=1e-9)


@pytest.mark.parametrize("side", [1, -1])
def test_the_coins_are_those_of_hftbacktests_own_account(side):
    """The same round trip by hand on its inverse asset: equity in coin, fees apart."""
    fee, events = FeeTier("t", 2.0, 5.0), rally().events()
    (got,) = run(rally(), TEN, (1000, side), fee=fee)
    asset = (
        BacktestAsset()
        .data([events])
        .inverse_asset(TEN.contract_value)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(fee.maker_bps * 1e-4, fee.taker_bps * 1e-4)
        .tick_size(TEN.tick)
        .lot_size(TEN.lot)
    )
    hbt = HashMapMarketDepthBacktest([asset])
    hbt.elapse(0)
    for ms, way, price in ((1000, side, got["entry_px"]), (got["t_end_ns"] // MS, -side, got["exit_px"])):
        hbt.elapse(int(ms) * MS - hbt.current_timestamp)
        submit = hbt.submit_buy_order if way > 0 else hbt.submit_sell_order
        submit(0, int(ms), round(price * (1 + 0.05 * way), 2), got["qty"], GTC, LIMIT, True)
    values = hbt.state_values(0)
    assert values.position == 0.0
    coins = -values.balance - values.fee  # its sign is that of the contracts, not of the coins
    hbt.close()
    put_in = got["qty"] * TEN.contract_value / got["entry_px"]
    assert coins / put_in * 1e4 == pytest.approx(got["net_bps"], rel=1e-6)


def test_outcomes_and_returns_agree_with_the_labels():
    tape = random_tape(3)
    tape.events["qty"] = np.ceil(tape.events["qty"] * 10.0)
    quotes, lo, hi = best_quotes(tape.events), *tape.span_ns
    ts = np.arange(lo + 1000 * MS, hi, 500 * MS)
    side = np.where(np.arange(len(ts)) % 2, 1, -1)
    rows = np.concatenate([orders((0, int(s), Entry.IOC, 0.0, 6.0)) for s in side])
    rows["ts_ns"] = ts
    candidates = [
        Candidate(int(t), "ETHUSD_PERP", int(s), SigType.MOMENTUM, Tier.A, 1.0, 6.0, 6.0, 1.0, Entry.IOC, int(t) + 1)
        for t, s in zip(ts, side, strict=True)
    ]
    labels = label_candidates(quotes, tape.events, candidates, FEE, instrument=TEN, end_ns=hi)
    got = trades_of(to_hftbacktest(tape), TEN, rows, fee=FEE, one_at_a_time=False, blind=blind_spans(quotes))
    both = (labels["y"] >= 0) & (got["status"] == OK)
    assert both.sum() > 50
    assert np.mean(labels["outcome"] == got["outcome"]) >= 0.99
    np.testing.assert_allclose(labels["entry_px"][both], got["entry_px"][both], rtol=2e-6)
    for prices, net in ((labels[both], labels["net_bps"][both]), (got[both], got["net_bps"][both])):
        back = prices["entry_px"] / prices["exit_px"]  # coins out of one coin in, of a long
        np.testing.assert_allclose(net, side[both] * (1 - back) * 1e4 - 5 - 5 * back, rtol=1e-9, atol=1e-6)
