"""A tape through the live classes: every window once, in time order, as a batch has it, whatever the cuts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.build import build_features
from feature_repo.constants import MS_NS, ORDER, WINDOW_NS
from feature_repo.window import FeatureWindow
from runtime.drive import KnownCandidates, drive
from runtime.dry_run import dry_run

from ..feature_repo.streams import IMPATIENT, START_NS, StreamTape, random_events

SECONDS = 30
EVENTS = random_events(31, SECONDS)


class Shown(NamedTuple):
    """What the signals were shown of one window; it stands for a candidate here."""

    ts_ns: int
    row: bytes
    market: bytes


class EveryWindow:
    """Signals that take each window for a candidate."""

    def update(self, row_x, market_row):
        return Shown(int(market_row["t_ns"]), row_x.tobytes(), market_row.tobytes())


class Echo:
    """A gate that gives back what it was asked, and the window that its source then held."""

    def __init__(self, source):
        self.source = source

    def allow(self, candidate, now_ns):
        x = self.source.snapshot()
        return now_ns, self.source.as_of_ns, None if x is None else x.tobytes()


def _window():
    return FeatureWindow(T=20, config=IMPATIENT)


def _batch(events, from_ns=0):
    table = build_features(StreamTape(events), config=IMPATIENT)
    return [
        Shown(int(m["t_ns"]), x.tobytes(), m.tobytes())
        for x, m in zip(table.X, table.market, strict=True)
        if m["t_ns"] >= from_ns
    ]


def _shown(events, **more):
    return [fired.candidate for fired in drive(events, _window(), EveryWindow(), **more)]


def _cut(events, cuts):
    return np.split(events, sorted(cuts))


CUTS = st.lists(st.integers(0, len(EVENTS)), max_size=30)


@given(st.integers(0, 2**32 - 1), CUTS, st.integers(-2 * SECONDS * 1_000, 2 * SECONDS * 1_000))
@settings(max_examples=20, deadline=None)
def test_the_signals_see_every_window_from_a_time_on_as_the_batch_has_it(seed, cuts, from_ms):
    events = random_events(seed, SECONDS)
    from_ns = START_NS + from_ms * MS_NS
    shown = _shown(_cut(events, [c for c in cuts if c <= len(events)]), from_ns=from_ns)
    assert shown == _batch(events, from_ns)
    assert shown == sorted(set(shown))


def test_the_stream_has_windows_that_close_together_and_windows_without_an_event():
    per_window = np.bincount(EVENTS["local_ts"] // WINDOW_NS - START_NS // WINDOW_NS)
    assert (per_window[1:-1] == 0).sum() > 20
    assert (EVENTS["local_ts"] % WINDOW_NS == 0).sum() > 3  # an event at t_k belongs to the window after


@given(st.lists(st.integers(1, len(EVENTS) - 2), min_size=1, max_size=40), CUTS)
@settings(max_examples=20, deadline=None)
def test_an_event_that_cannot_be_used_closes_its_window_all_the_same(bad, cuts):
    """A batch waits for the next good event, and makes the same rows."""
    events = EVENTS.copy()
    events["px"][bad] = np.nan
    assert _shown(_cut(events, cuts)) == _batch(events)


def test_the_windows_afterwards_are_those_of_a_window_that_was_only_fed():
    plain, driven = _window(), _window()
    plain.update(EVENTS)
    for _ in drive(EVENTS, driven, EveryWindow()):
        pass
    left, right = plain.state_dict(), driven.state_dict()
    assert all(left[name].tobytes() == value.tobytes() for name, value in right.items())


def test_no_event_of_the_closing_message_is_seen_before_its_window_is_closed():
    """`before` comes when all events before t_k are in, and none at or after it."""
    fed, window = [], _window()
    update, one = window.update, window.update_from_event
    window.update = lambda rows: (fed.extend(rows["local_ts"].tolist()), update(rows))
    window.update_from_event = lambda e: (fed.append(int(e["local_ts"])), one(e))
    times = EVENTS["local_ts"]

    def before(t_ns):
        assert len(fed) == np.searchsorted(times, t_ns)
        assert window.as_of_ns < t_ns
        asked.append(t_ns)

    asked = []
    shown = [fired.candidate.ts_ns for fired in drive(EVENTS, window, EveryWindow(), before=before)]
    assert asked == shown
    assert fed == times.tolist()


def test_nothing_in_nothing_out():
    assert _shown(EVENTS[:0]) == _shown([]) == _shown([EVENTS[:0], EVENTS[:0]]) == []
    assert _shown([EVENTS[:0], EVENTS, EVENTS[:0]]) == _shown(EVENTS)
    assert _shown(EVENTS, from_ns=int(EVENTS["local_ts"][-1]) + 1) == []


def test_progress_rises_to_one_in_bulk_too_and_chunks_need_the_end_for_it():
    end_ns, pieces = int(EVENTS["local_ts"][-1]), np.array_split(EVENTS, 9)
    for more in ({}, {"from_ns": end_ns}):
        whole, chunked = [], []
        _shown(EVENTS, progress=whole.append, **more)
        _shown(pieces, progress=chunked.append, end_ns=end_ns, **more)
        for seen in (whole, chunked):
            assert seen == sorted(seen)
            assert seen[-1] == 1.0
        assert len(set(chunked)) >= 9
    _shown(pieces, progress=lambda share: pytest.fail("a fraction of what?"))


def test_known_candidates_come_at_the_window_that_ends_with_their_time():
    whole = _shown(EVENTS)
    at = whole[100].ts_ns
    wanted = {at: "first", at + WINDOW_NS: "second", at + 1: "ends no window", at - 3_600 * 10**9: "before the tape"}
    got = list(drive(EVENTS, _window(), KnownCandidates(wanted)))
    assert [(f.candidate, int(f.market["t_ns"])) for f in got] == [("first", at), ("second", at + WINDOW_NS)]


@pytest.mark.parametrize("pieces", [1, 7, len(EVENTS)])
def test_a_dry_run_asks_at_the_time_when_the_order_would_leave_and_of_the_window_that_fired(pieces):
    window = _window()
    table = build_features(StreamTape(EVENTS), config=IMPATIENT)
    x, ok = table.windows(table.t_ns, 20)
    pushed = []
    answers = list(
        dry_run(
            np.array_split(EVENTS, pieces),
            window,
            EveryWindow(),
            Echo(window),
            on_window=lambda rows, market: pushed.append((rows.tobytes(), market.tobytes())),
        )
    )
    assert [c.ts_ns for c, _ in answers] == table.t_ns.tolist()
    assert [d for _, d in answers] == [
        (int(t) + ORDER.compute_ms * MS_NS, int(t), x[i].tobytes() if ok[i] else None) for i, t in enumerate(table.t_ns)
    ]
    assert pushed == [(x[i].tobytes(), table.market[i].tobytes()) for i in np.flatnonzero(ok)]
    assert 50 < ok.sum() < len(ok)


@given(st.integers(1, len(EVENTS) - 1))
@settings(max_examples=20, deadline=None)
def test_a_window_that_was_saved_and_loaded_goes_on_with_the_next_one(cut):
    before, after = _window(), _window()
    first = [fired.candidate for fired in drive(EVENTS[:cut], before, EveryWindow())]
    after.load_state_dict(before.state_dict())
    second = [fired.candidate for fired in drive(EVENTS[cut:], after, EveryWindow())]
    assert first + second == _batch(EVENTS)
