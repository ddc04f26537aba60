"""The kernel's book against dictionaries, at every quote and every close, on streams made to break it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.engine import Engine
from feature_repo.events import BUY, DEPTH, DEPTH_SNAPSHOT, EVENT_DTYPE, SELL
from feature_repo.fields import MARKET_DTYPE
from feature_repo.instruments import Instrument
from feature_repo.table import QUOTE_DTYPE

from ..oracles_book import book_series
from .book_streams import STYLES, TICKS, BookStream, book_instrument, book_stream
from .streams import SHORT

pytestmark = pytest.mark.slow

SIDES = ((BUY, -1), (SELL, 1))


def assert_the_book_is_the_dictionarys(events: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Every quote, and what each close says of levels 1 to 5 and of a walk through them; returns the market rows."""
    engine, oracle = Engine(instrument, SHORT), book_series(events, instrument, SHORT)
    closes, room = oracle.closes, len(oracle.closes) + 1
    market, quotes = np.zeros(room, MARKET_DTYPE), np.zeros(2 * len(events) + 2, QUOTE_DTYPE)
    used, rows, made = engine.process(events, np.zeros((room, 24), np.float32), market, quotes)
    market, quotes = market[:rows], quotes[:made]
    assert (used, engine.rejected) == (len(events), {})
    assert market["t_ns"].tolist() == closes["t_ns"].tolist()
    for name in QUOTE_DTYPE.names:
        np.testing.assert_allclose(quotes[name], oracle.quotes[name], rtol=1e-12, err_msg=f"quotes: {name}")
    good, tick = closes["ok"], instrument.tick
    assert np.isnan(market["bid"]).tolist() == (~good).tolist()
    expected = {
        "bid": closes["bid"] * tick,
        "ask": closes["ask"] * tick,
        "bid_qty": closes["bid_qty"],
        "ask_qty": closes["ask_qty"],
        "depth_top5": closes["below"] + closes["above"],
        "slip_buy_bps": closes["buy"],
        "slip_sell_bps": closes["sell"],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(market[name][good], values[good], rtol=1e-9, atol=1e-9, err_msg=name)
    return market


@given(st.sampled_from(list(STYLES)), st.sampled_from(TICKS), st.booleans(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_the_book_equals_dictionaries_on_any_tick_and_either_kind_of_contract(style, tick, inverse, seed):
    instrument = book_instrument(tick, inverse=inverse)
    assert_the_book_is_the_dictionarys(book_stream(style, seed, instrument, messages=120), instrument)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("inverse", [False, True], ids=["linear", "inverse"])
def test_the_book_equals_dictionaries_on_a_longer_stream(style, inverse):
    instrument = book_instrument(0.01, inverse=inverse)
    market = assert_the_book_is_the_dictionarys(book_stream(style, 5, instrument, messages=1_500), instrument)
    assert np.isfinite(market["slip_buy_bps"]).any(), "an order of the base size goes through"
    assert np.isfinite(market["bid"]).mean() > 0.5


@pytest.mark.parametrize("order", ["outwards", "inwards", "random"])
@pytest.mark.parametrize("deep", [BUY, SELL], ids=["bids", "asks"])
def test_of_100_000_levels_on_a_side_the_best_are_right(order, deep):
    instrument = book_instrument(0.01)
    stream = BookStream(1, instrument, middle=400_000)
    stream.snapshot(10, stream.near)
    offsets = np.arange(1, 100_001) * 3
    offsets = stream.rng.permutation(offsets) if order == "random" else offsets[:: -1 if order == "inwards" else 1]
    sign = -1 if deep == BUY else 1
    rows = np.zeros(len(offsets), EVENT_DTYPE)
    rows["ev"], rows["exch_ts"], rows["local_ts"] = DEPTH | deep, stream.local - 5_000_000, stream.local
    rows["px"] = (stream.middle + sign * offsets) * instrument.tick
    rows["qty"] = stream.size * stream.rng.exponential(size=len(rows))
    before = np.array(stream.rows, EVENT_DTYPE)
    stream.rows.clear()
    for _ in range(100):
        stream.step(20_000_000)
        stream.update(stream.near, 5)
    market = assert_the_book_is_the_dictionarys(np.concatenate([before, rows, stream.events()]), instrument)
    assert np.isfinite(market["slip_sell_bps" if deep == BUY else "slip_buy_bps"]).all()


def test_a_book_eaten_level_by_level_shows_each_next_one():
    """Of 40,000 levels a side, up to hundreds of ticks apart, the 12,000 best are the best one after the other."""
    instrument = book_instrument(0.01)
    stream = BookStream(2, instrument, middle=5_000_000)
    places = np.cumsum(stream.rng.choice([1, 1, 7, 300], 40_000))
    for side, sign in SIDES:
        for offset in stream.rng.permutation(places):
            stream.level(side, stream.middle + sign * int(offset), kind=DEPTH_SNAPSHOT)
    for offset in places[:12_000]:
        stream.step(1_000_000)
        for side, sign in SIDES:
            stream.level(side, stream.middle + sign * int(offset), gone=True)
    events = stream.events()
    market = assert_the_book_is_the_dictionarys(events, instrument)
    assert market["bid"][-1] == pytest.approx((stream.middle - int(places[12_000])) * 0.01)


def test_a_price_that_jumps_by_half_and_comes_back_finds_its_old_levels():
    instrument = book_instrument(0.01)
    stream = BookStream(3, instrument)
    stream.snapshot(40, stream.near)
    middle = stream.middle
    for share in (0.5, 1.0, 1.5, 1.0, 0.5, 1.5, 1.0, 0.9, 1.0, 1.1):
        stream.step(150_000_000)
        stream.move_to(int(middle * share), clear=False)
        stream.step(150_000_000)
        stream.update(stream.near, 20)
    assert_the_book_is_the_dictionarys(stream.events(), instrument)


@pytest.mark.parametrize(
    ("tick", "middle"), [(1e-7, 10**13), (0.01, 4 * 10**14), (1.0, 10**14), (5.0, 10**9), (0.01, 5)]
)
def test_prices_of_extreme_sizes(tick, middle):
    """Up to 1e14 and down to a few ticks above zero."""
    instrument = book_instrument(tick)
    stream = BookStream(4, instrument, middle=middle)
    stream.snapshot(30, stream.near)
    for _ in range(200):
        stream.step(20_000_000)
        stream.update(stream.near, 3)
    assert_the_book_is_the_dictionarys(stream.events(), instrument)


def test_levels_at_both_ends_of_the_scale_of_prices():
    """A bid of one tick and an ask of 1e15 ticks stand beside a book around 3,000."""
    instrument = book_instrument(0.01)
    stream = BookStream(5, instrument)
    stream.snapshot(10, stream.near)
    for _ in range(60):
        stream.step(30_000_000)
        for side, ticks in ((BUY, 1), (BUY, 2), (SELL, 10**15 - 1), (SELL, 10**14)):
            stream.level(side, ticks, gone=bool(stream.rng.random() < 0.4))
        stream.update(stream.near, 2)
    # The whole middle goes: the ends are all that is left.
    stream.step(10_000_000)
    for side in (BUY, SELL):
        for ticks in sorted(stream.set[side])[1:] if side == BUY else sorted(stream.set[side])[:-1]:
            stream.level(side, ticks, gone=True)
    market = assert_the_book_is_the_dictionarys(stream.events(), instrument)
    assert market["bid"][-1] < 0.03 or market["ask"][-1] > 1e11


def test_prices_off_the_grid_belong_to_the_nearest_tick():
    instrument = book_instrument(0.5)
    stream = BookStream(6, instrument, middle=6_000)
    stream.snapshot(20, stream.near)
    for _ in range(300):
        stream.step(20_000_000)
        side, sign = SIDES[int(stream.rng.integers(2))]
        offset = sign * (stream.near() + 0.49 * float(stream.rng.uniform(-1, 1)))
        px, qty = (stream.middle + offset) * 0.5, float(stream.rng.choice([0.0, 1.0, 2.0]))
        stream.rows.append((DEPTH | side, stream.local - 1, stream.local, px, qty, 0, 0, 0.0))
    market = assert_the_book_is_the_dictionarys(stream.events(), instrument)
    assert (market["bid"] % 0.5 == 0)[np.isfinite(market["bid"])].all()
