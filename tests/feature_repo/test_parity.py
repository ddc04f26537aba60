"""One engine: every window of both recordings and of a simulated day equals the plain oracle, in any cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.constants import ENGINE
from feature_repo.fields import CHANNELS
from feature_repo.table import QUOTE_DTYPE

from ..oracles import oracle_rows
from ..oracles_series import series_rows
from .book_streams import STYLES, book_instrument, book_stream
from .oracle_checks import assert_engine_is_the_oracle, assert_quotes_are_the_oracles, assert_rows_are_the_oracles
from .streams import ETH, IMPATIENT, SHORT, random_events
from .three_tapes import tape, trail

QUIET = {
    "ethusdt": {"session_flag", "liq_imbalance", "funding_bps"},
    "nexousdt": {"liq_imbalance", "funding_bps"},
    "simulated": set(),
}


@pytest.mark.parametrize(
    ("seed", "config", "seconds", "rate"),
    [(1, IMPATIENT, 60.0, 12.0), (2, SHORT, 60.0, 12.0), (5, ENGINE, 80.0, 4.0)],
)
def test_both_oracles_say_the_same_on_random_streams(seed, config, seconds, rate):
    events = random_events(seed, seconds, rate=rate)
    slow, fast = oracle_rows(events, ETH, config), series_rows(events, ETH, config)
    assert_rows_are_the_oracles(fast.X, fast.market, slow)
    np.testing.assert_allclose(fast.X, slow.X, rtol=1e-8, atol=1e-8)
    # The slow one ends with the last window.
    quotes = np.array(slow.quotes, QUOTE_DTYPE)
    assert_quotes_are_the_oracles(fast.book.quotes[: len(quotes)], quotes)


@pytest.mark.parametrize("seed", range(6))
def test_every_channel_and_market_field_equals_the_oracle_on_long_random_streams(seed):
    oracle, _ = assert_engine_is_the_oracle(random_events(seed, 600.0), ETH, IMPATIENT)
    assert set(oracle.book.breaks) == {"gap", "crossed", "emptied", "silence"}


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_channel_and_market_field_equals_the_oracle_on_streams_made_to_break_the_book(style):
    for seed, tick, inverse in ((1, 0.01, False), (2, 0.5, True), (3, 1e-7, False)):
        instrument = book_instrument(tick, inverse=inverse)
        events = book_stream(style, seed, instrument, messages=1_000)
        assert_engine_is_the_oracle(events, instrument, replace(SHORT, warm_up_s=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ethusdt", "nexousdt", pytest.param("simulated", marks=pytest.mark.long)])
def test_every_channel_and_market_field_equals_the_oracle_at_every_window_and_pieces_give_the_same_bits(name):
    events, instrument = tape(name)
    oracle, in_one_call = assert_engine_is_the_oracle(events, instrument, ENGINE)
    assert in_one_call == trail(name).written
    valid = oracle.market["valid"]
    assert valid.mean() > 0.85
    still = {c for i, c in enumerate(CHANNELS) if not np.ptp(oracle.X[valid, i])}
    assert still <= QUIET[name], "every channel moves that the tape has anything for"


@pytest.mark.long
def test_every_window_of_simulated_hours_at_the_default_rate_equals_the_oracle():
    from feature_repo.market.simulator import simulate_tape

    hours = simulate_tape(seed=3, hours=6)
    assert_engine_is_the_oracle(hours.events, hours.instrument, ENGINE)
