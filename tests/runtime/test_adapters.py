"""The gate behind the entry hooks of two kinds of engines, each shown with a strategy of that kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from types import SimpleNamespace
from typing import ClassVar

import pytest

from runtime import Decision, MetaFilter, Reason
from runtime.adapters.freqtrade import ConfirmedEntries
from runtime.adapters.nautilus import ConfirmedOrders
from runtime.adapters.offers import Offers

from .gate_builders import TS, bundle_folder, candidate, market_row, window

PRICE = 2_000.0


class Clock:
    now_ns = TS

    def __call__(self):
        return self.now_ns


class Source:
    asked = 0

    def snapshot_at(self, t_ns):
        self.asked += 1
        return window(), market_row()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def offers(tmp_path, clock, source):
    return Offers(MetaFilter.load(bundle_folder(tmp_path), source=source), clock)


# ---------------------------------------------------------------- freqtrade's kind


class Engine:
    """What freqtrade does with an entry signal: ask for the stake, round, ask for confirmation, place."""

    def __init__(self, strategy, leverage=1.0, round_to=0.001):
        self.strategy, self.leverage, self.round_to = strategy, leverage, round_to
        self.placed = []

    def enter(self, pair, side="long", proposed=500.0):
        at = datetime.fromtimestamp(TS / 1e9, UTC)
        stake = self.strategy.custom_stake_amount(
            pair=pair, current_time=at, current_rate=PRICE, proposed_stake=proposed, min_stake=5.0, max_stake=1e6,
            leverage=self.leverage, entry_tag=None, side=side,
        )  # fmt: skip
        if stake <= 0:
            return
        amount = round(stake * self.leverage / PRICE / self.round_to) * self.round_to
        if self.strategy.confirm_trade_entry(
            pair=pair, order_type="limit", amount=amount, rate=PRICE, time_in_force="IOC", current_time=at,
            entry_tag=None, side=side,
        ):  # fmt: skip
            self.placed.append((pair, side, amount))


class OwnStake:
    """Stands for IStrategy: a stake of its own, and every entry confirmed."""

    def custom_stake_amount(self, *, proposed_stake, **kwargs):
        return proposed_stake

    def confirm_trade_entry(self, **kwargs):
        return True


class Mine(ConfirmedEntries, OwnStake):
    symbols: ClassVar = {"ETH/USDT:USDT": candidate().symbol}


@pytest.fixture
def engine(offers):
    strategy = Mine()
    strategy.offers = offers
    return Engine(strategy)


def test_an_allowed_candidate_is_entered_once_with_the_gates_size(engine, offers, source):
    offers.offer(candidate())
    engine.enter("ETH/USDT:USDT")
    engine.enter("ETH/USDT:USDT")
    ((_, side, amount),) = engine.placed
    assert side == "long"
    assert amount * PRICE == pytest.approx(10_000 * (0.8808 - 0.65), abs=4)
    assert source.asked == 1


def test_the_stake_is_margin_and_the_size_is_notional(engine, offers):
    engine.leverage = 5.0
    offers.offer(candidate())
    engine.enter("ETH/USDT:USDT")
    assert engine.placed[0][2] * PRICE == pytest.approx(10_000 * (0.8808 - 0.65), abs=4)


@pytest.mark.parametrize(
    ("pair", "side"),
    [("ETH/USDT:USDT", "short"), ("BTC/USDT:USDT", "long"), ("ETH/USDT:USDT", "sideways"), (None, "long")],
)
def test_no_candidate_no_entry(engine, offers, pair, side):
    offers.offer(candidate())
    engine.enter(pair, side)
    assert not engine.placed


def test_without_offers_no_entry():
    engine = Engine(Mine())
    engine.enter("ETH/USDT:USDT")
    assert not engine.placed
    assert Mine().confirm_trade_entry("ETH/USDT:USDT", amount=1.0, rate=PRICE) is False


def test_denied_expired_replaced_and_damaged_candidates_are_not_entered(engine, offers, clock):
    offers.offer(candidate(est_slip_bps=9.0))
    engine.enter("ETH/USDT:USDT")
    offers.offer(candidate())
    clock.now_ns = candidate().expiry_ns + 1
    engine.enter("ETH/USDT:USDT")
    clock.now_ns = TS
    engine.enter("ETH/USDT:USDT")  # expired once, gone for good
    offers.offer(candidate())
    offers.offer(candidate(est_slip_bps=9.0))  # the newer one counts
    engine.enter("ETH/USDT:USDT")
    offers.offer(None)
    offers.offer(replace(candidate(), price=float("nan")))
    engine.enter("ETH/USDT:USDT")
    assert not engine.placed


def test_an_answer_does_not_outlive_its_candidate(offers, clock):
    """Allowed while it was fresh, and wanted only after it had expired."""
    offers.offer(candidate())
    assert offers.look(candidate().symbol, 1).allow
    clock.now_ns = candidate().expiry_ns
    assert offers.look(candidate().symbol, 1).allow
    clock.now_ns += 1
    assert offers.take(candidate().symbol, 1) is None
    assert offers.look(candidate().symbol, 1) is None


@pytest.mark.parametrize("name", ["max_stake", "min_stake", "leverage"])
def test_a_limit_that_is_no_number_is_no_stake(offers, name):
    strategy = Mine()
    strategy.offers = offers
    offers.offer(candidate())
    limits = {"min_stake": 5.0, "max_stake": 1e6, "leverage": 1.0}
    assert strategy.custom_stake_amount("ETH/USDT:USDT", **limits) > 0
    assert strategy.custom_stake_amount("ETH/USDT:USDT", **limits | {name: float("nan")}) == 0.0


def test_what_is_denied_is_no_stake_whatever_its_size():
    strategy = Mine()
    decision = Decision(False, 0.9, 100.0, Reason.P_BELOW_TAU, 0.5, 1.0)
    strategy.offers = SimpleNamespace(look=lambda *_: decision)
    assert strategy.custom_stake_amount("ETH/USDT:USDT", max_stake=1e6) == 0.0
    decision = replace(decision, allow=True)
    assert strategy.custom_stake_amount("ETH/USDT:USDT", max_stake=1e6) == 100.0


def test_a_stake_beyond_the_gates_size_is_not_confirmed(offers):
    strategy = Mine()
    strategy.offers = offers
    offers.offer(candidate())
    assert strategy.confirm_trade_entry("ETH/USDT:USDT", amount=2.0, rate=PRICE, side="long") is False
    offers.offer(candidate())
    assert strategy.confirm_trade_entry("ETH/USDT:USDT", amount=1.0, rate=PRICE, side="long") is True


@pytest.mark.parametrize("broken", ["gate", "clock"])
def test_what_breaks_refuses(engine, offers, monkeypatch, broken):
    offers.offer(candidate())
    what = {"gate": "_gate", "clock": "_clock_ns"}[broken]
    monkeypatch.setattr(offers, what, SimpleNamespace(allow=lambda *a: 1 / 0) if broken == "gate" else lambda: 1 / 0)
    engine.enter("ETH/USDT:USDT")
    assert not engine.placed
    assert engine.strategy.confirm_trade_entry("ETH/USDT:USDT", amount=1.0, rate=PRICE) is False


# ---------------------------------------------------------------- nautilus_trader's kind


class OrderSide(Enum):
    BUY = 1
    SELL = 2


class InstrumentId:
    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


class EventStrategy:
    """Stands for a Strategy: it submits what it is told to."""

    def __init__(self, offers):
        self.confirmed = ConfirmedOrders(offers, {"ETHUSDT-PERP.BINANCE": candidate().symbol})
        self.submitted = []

    def enter(self, instrument_id, side):
        notional = self.confirmed.notional(instrument_id, side)
        if notional > 0:
            self.submitted.append((str(instrument_id), side, round(notional / PRICE, 3)))


PERP = InstrumentId("ETHUSDT-PERP.BINANCE")


def test_an_order_of_the_gates_size_is_submitted_once(offers):
    strategy = EventStrategy(offers)
    offers.offer(candidate())
    strategy.enter(PERP, OrderSide.BUY)
    strategy.enter(PERP, OrderSide.BUY)
    ((_, side, quantity),) = strategy.submitted
    assert side is OrderSide.BUY
    assert quantity * PRICE == pytest.approx(10_000 * (0.8808 - 0.65), abs=4)


@pytest.mark.parametrize(
    ("instrument", "side"),
    [
        (PERP, OrderSide.SELL),
        (InstrumentId("BTCUSDT-PERP.BINANCE"), OrderSide.BUY),
        (PERP, "NO_ORDER_SIDE"),
        (None, None),
    ],
)
def test_no_candidate_no_order(offers, instrument, side):
    strategy = EventStrategy(offers)
    offers.offer(candidate())
    strategy.enter(instrument, side)
    assert not strategy.submitted


def test_a_denied_one_is_not_submitted(offers):
    strategy = EventStrategy(offers)
    offers.offer(candidate(est_slip_bps=9.0))
    strategy.enter(PERP, "BUY")
    assert not strategy.submitted
