"""The live window on whole tapes, and silent after every kind of break until the book has been good for long enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo import FeatureWindow
from feature_repo.build import build_features
from feature_repo.constants import ENGINE, WINDOW_NS
from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, EVENT_DTYPE, GAP, KIND_MASK, SELL

from ..oracles_book import book_series
from .engine_run import hashed
from .oracle_checks import assert_engine_is_the_oracle
from .streams import ETH, IMPATIENT, StreamTape, random_events
from .three_tapes import every_tape, tape

T = 64
SECOND = 1_000_000_000
BOOK = (DEPTH, DEPTH_SNAPSHOT, DEPTH_CLEAR)


def _next_close(ns: int) -> int:
    return -(-ns // WINDOW_NS) * WINDOW_NS


@given(st.integers(0, 2**32 - 1), st.integers(20, 40))
@settings(deadline=None, max_examples=15)
def test_there_is_a_snapshot_just_when_the_oracles_book_says_so(seed, length):
    events = random_events(seed, 25.0)
    closes = book_series(events, ETH, IMPATIENT).closes
    valid = closes["ok"] & (closes["t_ns"] - closes["since"] >= IMPATIENT.warm_up_s * SECOND)
    run = np.zeros(len(valid) + 1, int)
    for k, good in enumerate(valid):
        run[k + 1] = run[k] + 1 if good else 0
    window = FeatureWindow(length, instrument=ETH, config=IMPATIENT)
    for e in events:
        window.update_from_event(e)
        closed = 0 if window.market is None else (window.as_of_ns - int(closes["t_ns"][0])) // WINDOW_NS + 1
        assert (window.snapshot() is not None) == (run[closed] >= length)


@every_tape
@pytest.mark.slow
def test_in_any_cut_of_a_tape_the_snapshot_is_the_tables_window(name):
    events, instrument = tape(name)
    events = events[events["local_ts"] < events["local_ts"][0] + 3_600 * SECOND]
    table = build_features(StreamTape(events, instrument))
    rng, window, seen = np.random.default_rng(2), FeatureWindow(T, instrument=instrument), []
    cuts = np.sort(rng.integers(0, len(events), 500))
    for low, high in zip([0, *cuts], [*cuts, len(events)], strict=True):
        window.update(events[low:high])
        seen.append((window.as_of_ns, window.snapshot()))
    x, ok = table.windows(np.array([t for t, _ in seen]), T)
    assert [snapshot is not None for _, snapshot in seen] == ok.tolist()
    assert 100 < ok.sum() < len(ok)
    assert all(snapshot.tobytes() == x[i].tobytes() for i, (_, snapshot) in enumerate(seen) if ok[i])


def _row(kind: int, local: int, px: float = 0.0, qty: float = 0.0) -> tuple:
    return (kind, local - 5_000_000, local, px, qty, 0, 0, 0.0)


def _book_at(events: np.ndarray, local: int) -> list[tuple]:
    """The whole book as a snapshot message, from a plain replay of what came before."""
    levels: dict[tuple[int, float], float] = {}
    past = events[(events["local_ts"] < local) & np.isin(events["ev"] & np.uint64(KIND_MASK), BOOK)]
    for ev, px, qty in zip(past["ev"].tolist(), past["px"].tolist(), past["qty"].tolist(), strict=True):
        side = BUY if ev & BUY else SELL
        if ev & KIND_MASK == DEPTH_CLEAR:
            levels = {key: size for key, size in levels.items() if key[0] != side}
        else:
            levels[side, px] = qty
    rows = [_row(DEPTH_CLEAR | side, local) for side in (BUY, SELL)]
    return rows + [_row(DEPTH_SNAPSHOT | side, local, px, qty) for (side, px), qty in levels.items() if qty > 0]


def _insert(events: np.ndarray, *messages: list[tuple]) -> np.ndarray:
    whole = np.concatenate([events, *(np.array(rows, EVENT_DTYPE) for rows in messages)])
    return whole[np.argsort(whole["local_ts"], kind="stable")]


def _with_gap(events: np.ndarray, at: int) -> tuple[np.ndarray, int, int]:
    again = at + 7 * SECOND
    return _insert(events, [_row(GAP, at)], _book_at(events, again)), at, again


def _with_crossing(events: np.ndarray, at: int) -> tuple[np.ndarray, int, int]:
    again, high = at + SECOND, float(events["px"].max()) + 1.0
    return _insert(events, [_row(DEPTH | BUY, at, high, 2.0)], [_row(DEPTH | BUY, again, high)]), at, again


def _with_empty_side(events: np.ndarray, at: int) -> tuple[np.ndarray, int, int]:
    """The asks go, and every later row of theirs until a snapshot comes."""
    again = at + 2 * SECOND
    asks = np.isin(events["ev"] & np.uint64(KIND_MASK), BOOK) & (events["ev"] & np.uint64(SELL) != 0)
    kept = events[~(asks & (events["local_ts"] >= at) & (events["local_ts"] < again))]
    return _insert(kept, [_row(DEPTH_CLEAR | SELL, at)], _book_at(events, again)), at, again


def _with_silence(events: np.ndarray, at: int) -> tuple[np.ndarray, int, int]:
    events = events.copy()
    later = events["local_ts"] >= at
    for name in ("local_ts", "exch_ts"):
        events[name][later] += 75 * SECOND
    stamps = events["local_ts"][np.isin(events["ev"] & np.uint64(KIND_MASK), BOOK)]
    before, after = stamps[np.searchsorted(stamps, at) - 1], stamps[np.searchsorted(stamps, at)]
    return events, _next_close(int(before) + ENGINE.silence_s * SECOND), int(after)


@pytest.mark.parametrize(
    ("why", "make"),
    [("gap", _with_gap), ("crossed", _with_crossing), ("emptied", _with_empty_side), ("silence", _with_silence)],
)
@pytest.mark.slow
def test_after_a_break_in_a_real_recording_it_is_none_until_the_book_was_good_for_the_warm_up_and_T_rows(why, make):
    events, instrument = tape("ethusdt")
    events = events[events["local_ts"] < events["local_ts"][0] + 300 * SECOND]
    broken, lost, good = make(events, int(events["local_ts"][0]) + 140 * SECOND + 12_345)
    oracle, written = assert_engine_is_the_oracle(broken, instrument, ENGINE)
    assert oracle.book.breaks == {why: 1}
    table = build_features(StreamTape(broken, instrument))
    assert hashed((table.X, table.market)) == written[:2]
    window, at = FeatureWindow(T, instrument=instrument), 0
    first_none, first_again = 0, 0
    for t in range(int(lost) // WINDOW_NS * WINDOW_NS - 5 * WINDOW_NS, int(broken["local_ts"][-1]), WINDOW_NS):
        end = int(np.searchsorted(broken["local_ts"], t))
        window.update(broken[at:end])
        window.advance_to(t)
        at = end
        if window.snapshot() is None:
            assert not first_again, "once it speaks again it goes on"
            first_none = first_none or t
        elif first_none:
            first_again = first_again or t
            assert window.snapshot().tobytes() == table.windows(np.array([t]), T)[0].tobytes()
    assert first_none == (lost if why == "silence" else lost // WINDOW_NS * WINDOW_NS + WINDOW_NS)
    assert first_again == _next_close(good + ENGINE.warm_up_s * SECOND) + (T - 1) * WINDOW_NS
