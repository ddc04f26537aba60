"""The replay of a tape in hftbacktest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feature_repo import events as own
from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    EXCH,
    KIND_MASK,
    LOCAL,
    SELL,
    TRADE,
)
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.tape import Tape, read_tape

from .replay import dict_book, replay
from .small_tape import SEEN, START, rows, small

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_row_codes_and_layout_are_those_of_hftbacktest():
    from hftbacktest import types

    assert types.event_dtype == EVENT_DTYPE
    for name in ("DEPTH", "TRADE", "DEPTH_CLEAR", "DEPTH_SNAPSHOT", "DEPTH_BBO", "EXCH", "LOCAL", "BUY", "SELL"):
        assert getattr(own, name) == getattr(types, f"{name}_EVENT")
    theirs = {v for k, v in vars(types).items() if k.endswith("_EVENT")}
    assert not theirs & set(own.OWN_KINDS)


def test_rows_for_the_replay():
    out = to_hftbacktest(small())
    kinds = (out["ev"] & np.uint64(KIND_MASK)).tolist()
    # Ours and the best quotes are gone; the trade that was executed before the diff but seen after it is two rows.
    assert kinds == [DEPTH_CLEAR, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_SNAPSHOT, TRADE, DEPTH, TRADE, TRADE]
    flags = (out["ev"] & np.uint64(SEEN)).tolist()
    assert flags == [SEEN] * 4 + [EXCH, SEEN, LOCAL, SEEN]
    assert np.isnan(out["px"][:2]).all()
    assert out["exch_ts"][-1] == out["local_ts"][-1] == START + SECOND_NS + 8
    tape = small()
    assert tape.events["exch_ts"][-1] == START + SECOND_NS + 9
    with pytest.raises(InputError, match="has neither depth nor trades"):
        to_hftbacktest(Tape(tape.venue, tape.symbol, tape.events[7:9], {}))


def test_a_snapshot_clears_both_sides_in_the_replay():
    tape = small()
    fresh = rows(
        (DEPTH_CLEAR | BUY | SEEN, SECOND_NS + 20, SECOND_NS + 25, 0, 0),
        (DEPTH_CLEAR | SELL | SEEN, SECOND_NS + 20, SECOND_NS + 25, 0, 0),
        (DEPTH_SNAPSHOT | BUY | SEEN, SECOND_NS + 20, SECOND_NS + 25, 90, 1),
        (DEPTH_SNAPSHOT | SELL | SEEN, SECOND_NS + 20, SECOND_NS + 25, 110, 1),
        (TRADE | BUY | SEEN, SECOND_NS + 99, SECOND_NS + 99, 110, 1),
    )
    tape = Tape(tape.venue, tape.symbol, np.concatenate([tape.events, fresh]), {})
    quotes = replay(to_hftbacktest(tape), START + np.array([35, SECOND_NS + 30]), tape.instrument)
    np.testing.assert_allclose(quotes, [[100, 101], [90, 110]])


@pytest.mark.parametrize("name", ["binance_usdm_ethusdt", "binance_spot_nexousdt"])
def test_replay_of_the_real_recordings_has_the_book_of_the_diffs(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"the recordings are not at {DATA}")
    tape = read_tape(DATA / name)
    first, last = tape.span_ns
    times = np.linspace(first, last, 41).astype(np.int64)[1:-1]
    expected = dict_book(tape.events, times)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(replay(to_hftbacktest(tape), times, tape.instrument), expected, rtol=0, atol=1e-9)
