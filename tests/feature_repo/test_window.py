"""The live window: None until it may speak, then the very rows that a batch makes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo import FeatureWindow
from feature_repo.build import build_features
from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, DEPTH_SNAPSHOT, EVENT_DTYPE, GAP, SELL, TRADE

from .streams import ETH, SHORT, StreamTape, random_events

T = 20
CALM = random_events(21, 20.0, breaks=False)
WILD = random_events(22, 30.0)


def _window() -> FeatureWindow:
    return FeatureWindow(T, instrument=ETH, config=SHORT)


def test_event_by_event_the_snapshot_is_the_batch_row_by_row():
    table, window = build_features(StreamTape(WILD), config=SHORT), _window()
    k = spoke = 0
    for e in WILD:
        window.update_from_event(e)
        while k < len(table.X) and table.t_ns[k] <= window.as_of_ns:
            k += 1
        snapshot = window.snapshot()
        x, ok = table.windows(np.array([window.as_of_ns]), T)
        assert (snapshot is not None) == bool(ok[0])
        if snapshot is not None:
            spoke += 1
            assert snapshot.dtype == np.float32
            assert snapshot.tobytes() == x[0].tobytes()
            assert window.market.tobytes() == table.market[k - 1].tobytes()
            assert window.row.tobytes() == table.X[k - 1].tobytes()
    assert spoke > 10


def test_none_until_T_valid_rows_then_a_snapshot():
    window, first = _window(), None
    start = int(CALM["local_ts"][0])
    for e in CALM:
        window.update_from_event(e)
        if first is None and window.snapshot() is not None:
            first = window.as_of_ns
    # The first valid row closes at the first t_k that is warm_up_s after the book became good; then T - 1 more.
    warm = -(-(start + SHORT.warm_up_s * 1_000_000_000) // 100_000_000) * 100_000_000
    # It is seen at the first event after the close, at a later one if windows closed together.
    assert warm + (T - 1) * 100_000_000 <= first <= warm + (T + 5) * 100_000_000


def test_none_after_a_gap_until_the_book_is_good_again_for_the_warm_up():
    window = _window()
    window.update(CALM)
    now = window.as_of_ns
    assert window.snapshot() is not None
    rows = [(GAP, 0, now - 5_000_000_000, 0, 0, 0, 0, 0)]  # late, and yet it breaks the book: fail closed
    window.update(np.array(rows, EVENT_DTYPE))
    window.advance_to(now + 100_000_000)
    assert window.rejected == {}
    assert window.snapshot() is None
    assert not window.market["valid"]
    window.advance_to(now + 10_000_000_000)
    assert window.snapshot() is None
    at = window.as_of_ns
    book = [
        (DEPTH_SNAPSHOT | BUY, at, at + 1, 100.0, 1.0, 0, 0, 0),
        (DEPTH_SNAPSHOT | SELL, at, at + 1, 101.0, 1.0, 0, 0, 0),
    ]
    window.update(np.array(book, EVENT_DTYPE))
    window.advance_to(at + 2_000_000_000 + T * 100_000_000 - 100_000_000)
    assert window.snapshot() is None
    window.advance_to(at + 2_000_000_000 + T * 100_000_000)
    assert window.snapshot() is not None


def test_advancing_closes_the_windows_that_end_by_then_and_no_later_one():
    window = _window()
    window.advance_to(10**18)
    assert window.market is None
    assert window.snapshot_at(10**18) is None
    window.update(CALM)
    t = window.as_of_ns
    window.advance_to(t + 99_999_999)
    assert window.as_of_ns == t
    window.advance_to(t + 100_000_000)
    assert window.as_of_ns == t + 100_000_000
    window.advance_to(t + 60_000_000_000)  # more windows than one kernel call has room for
    assert window.as_of_ns == t + 60_000_000_000


def test_advancing_changes_no_row():
    plain, paced = _window(), _window()
    for e in WILD:
        plain.update_from_event(e)
        paced.advance_to(int(e["local_ts"]))
        paced.update_from_event(e)
    assert all(plain.state_dict()[name].tobytes() == value.tobytes() for name, value in paced.state_dict().items())


def test_a_late_event_is_counted_and_changes_no_row():
    window = _window()
    window.update(CALM)
    before = window.snapshot()
    late = CALM[-1:].copy()
    late["ev"], late["local_ts"] = TRADE | BUY, window.as_of_ns - 1
    late["px"], late["qty"], late["exch_ts"] = 3000.0, 1.0, window.as_of_ns - 10
    window.update_from_event(late)
    assert window.rejected == {"late": 1}
    assert window.snapshot().tobytes() == before.tobytes()


def test_snapshot_at_returns_the_newest_and_says_its_time():
    window = _window()
    window.update(CALM)
    x, row = window.snapshot_at(window.as_of_ns - 100_000_000)
    assert row["t_ns"] == window.as_of_ns
    assert x.tobytes() == window.snapshot().tobytes()
    x[:] = 0
    assert window.snapshot().any(), "a caller's changes must not reach the history"


@given(st.integers(0, len(WILD)))
@settings(deadline=None, max_examples=15)
def test_saved_without_pickle_and_restored_it_goes_on_bit_by_bit(cut):
    whole, before, after = _window(), _window(), _window()
    whole.update(WILD)
    before.update(WILD[:cut])
    buffer = io.BytesIO()
    np.savez(buffer, **before.state_dict())
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as saved:
        after.load_state_dict(dict(saved))
    after.update(WILD[cut:])
    assert all(after.state_dict()[name].tobytes() == value.tobytes() for name, value in whole.state_dict().items())


def test_wrong_arguments_and_states_are_refused():
    with pytest.raises(InputError, match="T = 19 rows"):
        FeatureWindow(19)
    with pytest.raises(InputError, match="micro_ms = 50"):
        FeatureWindow(64, 50)
    with pytest.raises(InputError, match="history"):
        _window().load_state_dict(FeatureWindow(64, instrument=ETH, config=SHORT).state_dict())
    with pytest.raises(InputError, match="nothing for 'history'"):
        _window().load_state_dict({})
    state = _window().state_dict()
    with pytest.raises(InputError, match=r"saved window state has float64 \(40, 24\) for 'history'"):
        _window().load_state_dict({**state, "history": state["history"].astype(np.float64)})


@pytest.mark.parametrize(
    ("event", "got"),
    [
        ((1, 2, 3), "a tuple"),
        (np.zeros(1), r"float64 \(1,\)"),
        (CALM[:2], r"void\d+ \(2,\)"),
        (CALM[:0], r"void\d+ \(0,\)"),
    ],
)
def test_what_is_not_one_event_is_refused(event, got):
    with pytest.raises(
        InputError, match=rf"an event that is {got}\. Expected an EVENT_DTYPE scalar or an array of one"
    ):
        _window().update_from_event(event)


@pytest.mark.parametrize(
    ("events", "got"), [(np.zeros(64), r"float64 \(64,\)"), (CALM[:4].reshape(2, 2), r"void\d+ \(2, 2\)")]
)
def test_what_is_no_row_of_events_is_refused(events, got):
    with pytest.raises(InputError, match=rf"events of {got}\. Expected EVENT_DTYPE \[n\]"):
        _window().update(events)


def test_the_default_window_needs_no_arguments():
    window = FeatureWindow()
    window.update_from_event(np.array([(DEPTH | BUY, 10**18, 10**18, 3000.0, 1.0, 0, 0, 0)], EVENT_DTYPE))
    assert window.snapshot() is None
    assert window.instrument == ETH
