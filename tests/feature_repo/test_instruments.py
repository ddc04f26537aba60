"""The table of instruments, a person's own file beside it, and inverse contracts in the engine."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest

from feature_repo import own_instruments
from feature_repo.build import build_features
from feature_repo.errors import InputError
from feature_repo.events import KIND_MASK, LIQUIDATION
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.instruments import (
    FEE_TIERS,
    INSTRUMENTS,
    SIMULATED_SYMBOL,
    Instrument,
    fee_tier,
    instrument,
    known_instruments,
)
from feature_repo.market.tardis_head import VENUES
from feature_repo.own_instruments import example_entry

from ..oracles import oracle_rows
from .streams import SHORT, StreamTape, random_events

COIN = INSTRUMENTS["binance_coinm", "ETHUSD_PERP"]
DOLLAR = INSTRUMENTS["bybit", "ETHUSD"]


# --- the table


@pytest.mark.parametrize("facts", INSTRUMENTS.values(), ids=lambda i: f"{i.venue}-{i.symbol}")
def test_facts_are_sane(facts):
    assert INSTRUMENTS[facts.venue, facts.symbol] is facts
    assert min(facts.tick, facts.lot, facts.contract_value) > 0
    assert facts.min_notional >= 0
    # The engine divides whole ticks by 1 / tick: it must be a whole number, and so must the lots of a base unit.
    for step in (facts.tick, facts.lot):
        assert 1 / step == pytest.approx(round(1 / step), rel=1e-12)
    assert facts.funding_interval_h == (0 if facts.venue.endswith("_spot") else 8)
    assert facts.simulated == (facts.venue == "simulated")
    if facts.inverse:
        assert facts.venue in ("binance_coinm", "bybit", "okx_swap")
        assert facts.lot == 1.0
        assert facts.face_value == facts.contract_value
    else:
        assert facts.face_value == 0.0
        # Only OKX counts linear contracts; elsewhere a reader must not multiply.
        assert facts.venue == "okx_swap" or facts.contract_value == 1.0
    with pytest.raises(FrozenInstanceError):
        facts.tick = 1.0


def test_every_venue_has_fees_and_a_symbol():
    assert {venue for venue, _ in INSTRUMENTS} == set(FEE_TIERS)
    assert set(VENUES.values()) == set(FEE_TIERS) - {"simulated"}
    for venue, tiers in FEE_TIERS.items():
        regular, *_, best = tiers
        assert regular.name == "regular"
        assert fee_tier(venue, best.name) is best
        for tier in tiers:
            assert -1.0 <= tier.maker_bps <= tier.taker_bps <= 10.0
        assert best.maker_bps <= regular.maker_bps
        assert best.taker_bps < regular.taker_bps
        # A round trip costs something at the best of tiers: a taker never pays for a maker's rebate in full.
        assert best.maker_bps + best.taker_bps > 0.0
    assert FEE_TIERS["simulated"] == FEE_TIERS["binance_usdm"]


@pytest.mark.parametrize(
    ("venue", "symbol", "contract", "lot", "inverse"),
    [
        ("okx_swap", "ETH-USDT-SWAP", 0.1, 0.01 * 0.1, False),
        ("okx_swap", "BTC-USDT-SWAP", 0.01, 0.01 * 0.01, False),
        ("okx_swap", "SOL-USDT-SWAP", 1.0, 0.01 * 1.0, False),
        ("okx_swap", "ETH-USD-SWAP", 10.0, 1.0, True),
        ("okx_swap", "BTC-USD-SWAP", 100.0, 1.0, True),
        ("binance_coinm", "ETHUSD_PERP", 10.0, 1.0, True),
        ("binance_coinm", "BTCUSD_PERP", 100.0, 1.0, True),
        ("bybit", "BTCUSD", 1.0, 1.0, True),
    ],
)
def test_what_a_contract_is_worth(venue, symbol, contract, lot, inverse):
    facts = instrument(venue, symbol)
    assert (facts.contract_value, facts.inverse) == (contract, inverse)
    assert facts.lot == pytest.approx(lot, rel=1e-12)  # OKX: lotSz contracts, in base units


def test_notional():
    assert INSTRUMENTS["okx_swap", "ETH-USDT-SWAP"].notional(3000.0, 2.0) == 6000.0  # base units: converted already
    assert COIN.notional(3000.0, 2.0) == 20.0
    assert DOLLAR.notional(3000.0, 2.0) == 2.0


# --- a person's own file

XRP = {"venue": "bybit", "symbol": "XRPUSDT", "tick": 0.0001, "lot": 0.1, "funding_interval_h": 8}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the file of an own data folder."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))

    def write(what):
        (tmp_path / "instruments.json").write_text(what if isinstance(what, str) else json.dumps(what))

    return write


def test_without_a_file_there_is_the_table(own):
    assert known_instruments() == INSTRUMENTS
    assert instrument("simulated", SIMULATED_SYMBOL).simulated


def test_a_file_adds_symbols(own):
    coin = {"venue": "okx_swap", "symbol": "XRP-USD-SWAP", "tick": 1e-4, "lot": 1, "funding_interval_h": 8}
    own([XRP, {**coin, "inverse": True, "contract_value": 10}])
    assert instrument("bybit", "XRPUSDT") == Instrument("bybit", "XRPUSDT", 0.0001, 0.1, 8)
    added = instrument("okx_swap", "XRP-USD-SWAP")
    assert (added.inverse, added.contract_value, added.lot) == (True, 10.0, 1.0)
    assert isinstance(added.lot, float)
    assert len(known_instruments()) == len(INSTRUMENTS) + 2
    own([{**XRP, "tick": 0.001}])
    assert instrument("bybit", "XRPUSDT").tick == 0.001  # an edited file is read again
    assert len(INSTRUMENTS) == len(known_instruments()) - 1


def test_a_known_symbol_may_be_repeated_but_not_changed(own):
    eth = asdict(INSTRUMENTS["bybit", "ETHUSDT"])
    own([eth])
    assert known_instruments() == INSTRUMENTS
    own([{**eth, "tick": 0.05}])
    for symbol in ("ETHUSDT", "BTCUSDT"):  # whatever is asked for: the file is wrong
        with pytest.raises(InputError, match=r"ETHUSDT on bybit has tick 0\.05\. Expected 0\.01"):
            instrument("bybit", symbol)


def test_an_unknown_symbol_names_the_file_and_the_line_to_write(own, tmp_path):
    with pytest.raises(InputError, match="unknown symbol 'XRPUSDT' on venue 'bybit'") as e:
        instrument("bybit", "XRPUSDT")
    assert str(tmp_path / "instruments.json") in str(e.value)
    assert "SOLUSDT" in str(e.value)
    assert example_entry("bybit", "XRPUSDT") in str(e.value)
    with pytest.raises(InputError, match="Expected a venue of binance_usdm"):
        instrument("mtgox", "ETHUSDT")
    with pytest.raises(InputError, match=SIMULATED_SYMBOL) as e:
        instrument("simulated", "ETHUSDT")
    assert "instruments.json" not in str(e.value)


@pytest.mark.parametrize("venue", sorted(set(FEE_TIERS) - {"simulated"}))
def test_the_line_to_write_is_one_that_is_taken(own, venue):
    own(f"[{example_entry(venue, 'NEW-1')}]")
    assert instrument(venue, "NEW-1").venue == venue


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("", "line 1"),
        ('[{"venue": "bybit",}]', "line 1"),
        ("[\n\n{]", "line 3"),
        ({"bybit": 1}, "list of objects"),
        ([XRP, 3], "entry 2: 3"),
        ([{k: v for k, v in XRP.items() if k != "lot"}], "entry 1: no field 'lot'"),
        ([{**XRP, "tik": 1}], "entry 1: unknown field 'tik'"),
        ([{**XRP, "venue": "mtgox"}], 'entry 1: venue "mtgox". Expected one of binance_usdm'),
        ([{**XRP, "venue": "simulated"}], 'entry 1: venue "simulated"'),
        ([{**XRP, "venue": ["bybit"]}], "entry 1: venue"),
        ([{**XRP, "symbol": "../x"}], "entry 1: symbol"),
        ([{**XRP, "symbol": ""}], "entry 1: symbol"),
        ([{**XRP, "symbol": 7}], "entry 1: symbol 7"),
        ([{**XRP, "tick": 0}], "entry 1: tick 0"),
        ([{**XRP, "tick": "0.01"}], 'entry 1: tick "0.01"'),
        ([{**XRP, "tick": True}], "entry 1: tick true"),
        ([{**XRP, "lot": -1}], "entry 1: lot -1"),
        ([{**XRP, "lot": float("nan")}], "entry 1: lot NaN"),
        ([{**XRP, "lot": 10**400}], "entry 1: lot"),
        ("[" + "1" * 5000 + "]", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ([{**XRP, "funding_interval_h": 8.5}], "entry 1: funding_interval_h 8.5"),
        ([{**XRP, "funding_interval_h": -8}], "entry 1: funding_interval_h -8"),
        ([{**XRP, "inverse": 1}], "entry 1: inverse 1"),
        ([{**XRP, "inverse": True}], "without 'contract_value'"),
        ([{**XRP, "venue": "binance_usdm", "inverse": True, "contract_value": 1}], "inverse true on binance_usdm"),
        ([{**XRP, "venue": "binance_coinm"}], "inverse false on binance_coinm"),
        ([{**XRP, "contract_value": 0}], "entry 1: contract_value 0"),
        ([{**XRP, "min_notional": -1}], "entry 1: min_notional -1"),
        ([XRP, {**XRP, "tick": 0.001}], "entry 2: symbol XRPUSDT on bybit for the second time"),
    ],
)
def test_a_file_that_cannot_be_used(own, tmp_path, what, said):
    own(what)
    with pytest.raises(InputError) as e:
        instrument("bybit", "ETHUSDT")
    assert said in str(e.value)
    assert str(tmp_path / "instruments.json") in str(e.value)


def test_a_file_that_cannot_be_read(own, tmp_path):
    (tmp_path / "instruments.json").write_bytes(b"[\xff]")
    with pytest.raises(InputError, match="cannot be read"):
        instrument("bybit", "ETHUSDT")
    (tmp_path / "instruments.json").unlink()
    (tmp_path / "instruments.json").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        known_instruments()


def test_the_checks_name_every_field():
    assert set(own_instruments._CHECKS) == set(asdict(COIN))


# --- inverse contracts in the engine


def contracts(seed, facts):
    """A random stream whose quantities are whole contracts, a few thousand dollars a level."""
    events = random_events(seed, 60.0)
    events["qty"] = np.ceil(events["qty"] * 1000.0 / facts.contract_value)
    return events


@pytest.mark.parametrize("facts", [COIN, DOLLAR], ids=["10 dollars", "1 dollar"])
def test_the_engine_equals_the_oracle(facts):
    events = contracts(5, facts)
    table, oracle = build_features(StreamTape(events, facts), config=SHORT), oracle_rows(events, facts, SHORT)
    assert table.rejected == {}
    assert np.any(events["ev"] & KIND_MASK == LIQUIDATION)
    assert np.isfinite(table.market["slip_buy_bps"]).sum() > 100
    assert table.market["liq_buy"].max() > 0
    for i, name in enumerate(CHANNELS):
        np.testing.assert_allclose(table.X[:, i], oracle.X[:, i], rtol=1e-5, atol=2e-6, err_msg=name)
    for name in MARKET_DTYPE.names:
        np.testing.assert_allclose(table.market[name], oracle.market[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_contract_value_scales_money_and_nothing_else():
    events = contracts(6, COIN)
    one = build_features(StreamTape(events, COIN), config=SHORT)
    ten = build_features(StreamTape(events, replace(COIN, contract_value=100.0)), config=SHORT)
    money = ("depth_top5", "depth_median", "liq_buy", "liq_sell")
    for name in money:
        np.testing.assert_allclose(ten.market[name], 10 * one.market[name], rtol=1e-12, err_msg=name)
    for name in set(MARKET_DTYPE.names) - {*money, "slip_buy_bps", "slip_sell_bps"}:
        np.testing.assert_array_equal(ten.market[name], one.market[name], err_msg=name)
    # More money a level: the same 10,000 dollars reach less deep.
    assert (ten.market["slip_buy_bps"] <= one.market["slip_buy_bps"]).all()
    assert (ten.market["slip_buy_bps"] < one.market["slip_buy_bps"]).any()


def test_a_saved_state_of_another_contract_value_is_refused():
    from feature_repo.engine import Engine

    saved = Engine(COIN, SHORT).state.state_dict()
    with pytest.raises(InputError, match="contract = 10"):
        Engine(replace(COIN, contract_value=100.0), SHORT).state.load_state_dict(saved)
