"""A detector that was saved and loaded goes on as if never stopped; a state that is not its own is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.constants import WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.window import FeatureWindow
from runtime import signal_state
from runtime.candidate import SigType
from runtime.signals import SignalDetector, find_candidates

from .gate_builders import TICK, MiniTable
from .hand_tapes import LATE, MORNING_NS, reclaim, tape_of
from .test_signals import BAR, random_table, streamed

pytestmark = pytest.mark.slow  # takes seconds as a whole

SYMBOL = random_table(0).symbol


def through_a_file(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As a process that restarts sees it; nothing in it needs pickle."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def detector_after(table: MiniTable, rows: int) -> SignalDetector:
    detector = SignalDetector(table.symbol, table.tick)
    for x, row in zip(table.X[:rows], table.market[:rows], strict=True):
        detector.update(x, row)
    return detector


@pytest.mark.parametrize("seed", [0, 1])
def test_stopped_and_started_again_at_many_windows_it_gives_the_same_candidates(seed):
    table = random_table(seed)
    detector, found = SignalDetector(table.symbol, table.tick), []
    rng = np.random.default_rng(seed)
    for x, row in zip(table.X, table.market, strict=True):
        if rng.random() < 0.01:
            saved = through_a_file(detector.state_dict())
            detector = SignalDetector(table.symbol, table.tick)
            detector.load_state_dict(saved)
        found.append(detector.update(x, row))
    found = [repr(c) for c in found if c is not None]
    assert found == [repr(c) for c in streamed(table)]
    assert all(any(f"SigType.{kind.name}" in c for c in found) for kind in SigType)


@pytest.mark.parametrize("rows", [0, 1, 299, 600, 9_000, 16 * BAR + 300, 17 * BAR, 17 * BAR + 300, 20 * BAR])
def test_saved_and_loaded_at_any_stage_it_is_the_same_state(rows):
    table = random_table(0)
    first = detector_after(table, rows).state_dict()
    second = SignalDetector(table.symbol, table.tick)
    second.load_state_dict(through_a_file(first))
    again = second.state_dict()
    assert list(again) == list(first)
    for name in first:
        np.testing.assert_array_equal(again[name], first[name])
        assert again[name].dtype == first[name].dtype


def test_a_detector_that_has_seen_things_forgets_them():
    table = random_table(0)
    used = detector_after(table, 17 * BAR + 40)
    used.load_state_dict(SignalDetector(table.symbol, table.tick).state_dict())
    again = [used.update(x, row) for x, row in zip(table.X, table.market, strict=True)]
    assert [repr(c) for c in again if c is not None] == [repr(c) for c in streamed(table)]


def test_a_state_is_a_copy():
    table = random_table(0)
    detector = detector_after(table, 5_000)
    saved = detector.state_dict()
    before = {name: value.copy() for name, value in saved.items()}
    for x, row in zip(table.X[5_000:5_700], table.market[5_000:5_700], strict=True):
        detector.update(x, row)
    for name, value in saved.items():
        np.testing.assert_array_equal(value, before[name])


def test_it_lies_beside_the_state_of_the_engine_in_one_file():
    table, window = random_table(0), FeatureWindow()
    mine, engines = detector_after(table, 5_000).state_dict(), window.state_dict()
    assert not set(mine) & set(engines)
    both = through_a_file(mine | engines)
    detector = SignalDetector(table.symbol, table.tick)
    detector.load_state_dict(both)
    window.load_state_dict(both)
    np.testing.assert_array_equal(detector.state_dict()["signals_crc"], mine["signals_crc"])


# Row counts of stops: in a level bar, between the two stages, before and after the second close, just before the flow.
STOPS = [(5_050,), (10_195,), (10_500,), (10_799, 10_800, 10_801), (LATE - 1, LATE)]


@pytest.mark.slow
@pytest.mark.parametrize("stops", STOPS)
def test_a_process_that_restarts_between_the_stages_of_a_reclaim_finds_it(stops):
    events, tape = reclaim(), tape_of(reclaim())
    windows = (events["local_ts"] - MORNING_NS) // WINDOW_NS
    saved, found = None, []
    for part in np.split(events, np.searchsorted(windows, stops)):
        window, detector = FeatureWindow(instrument=tape.instrument), SignalDetector(tape.symbol, tape.instrument.tick)
        if saved is not None:
            window.load_state_dict(saved)
            detector.load_state_dict(saved)
        for e in part:
            closed = window.as_of_ns
            window.update_from_event(e)
            if window.as_of_ns > closed:
                found.append(detector.update(window.row, window.market))
        saved = through_a_file(window.state_dict() | detector.state_dict())
    assert [repr(c) for c in found if c is not None] == [repr(c) for c in find_candidates(build_features(tape))]
    assert [c.sig_type for c in found if c is not None] == [SigType.RECLAIM]


def test_after_a_pause_nothing_crosses_and_levels_are_lost():
    table = random_table(0)
    saved = detector_after(table, 17 * BAR + 5).state_dict()
    detector = SignalDetector(table.symbol, table.tick)
    detector.load_state_dict(saved)
    row = table.market[17 * BAR + 5].copy()
    row["t_ns"] += 90 * 10 * WINDOW_NS
    x = np.full(24, 5.0, np.float32)
    assert detector.update(x, row) is None
    assert detector.state_dict()["level_bars"][0] == 0


# ---------------------------------------------------------------- what is refused


def saved_state() -> dict[str, np.ndarray]:
    return detector_after(random_table(0), 17 * BAR + 5).state_dict()


def refused(state: dict[str, np.ndarray], match: str, detector: SignalDetector | None = None) -> None:
    """It is, and the detector is left as it was."""
    detector = detector or SignalDetector(SYMBOL, TICK)
    before = detector.state_dict()
    with pytest.raises(InputError, match=match):
        detector.load_state_dict(state)
    np.testing.assert_equal(detector.state_dict(), before)


@pytest.mark.parametrize("name", list(saved_state()))
def test_a_missing_array_is_refused(name):
    state = saved_state()
    del state[name]
    refused(state, f"has no '{name}'")


@pytest.mark.parametrize("name", list(saved_state()))
def test_an_array_of_another_shape_or_type_is_refused(name):
    state = saved_state()
    refused(state | {name: np.append(state[name], state[name].ravel()[:1])}, repr(name))
    other = "f4" if state[name].dtype.kind != "f" else "i8"
    refused(state | {name: np.zeros(state[name].shape, other)}, repr(name))


@pytest.mark.parametrize("name", list(saved_state()))
def test_any_flipped_bit_is_refused(name):
    whole, rng = saved_state(), np.random.default_rng(0)
    for _ in range(4):
        state = {n: v.copy() for n, v in whole.items()}
        raw = state[name].reshape(-1).view(np.uint8)
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        refused(state, "changed")


def test_the_state_of_another_symbol_tick_or_threshold_is_refused(monkeypatch):
    state = saved_state()
    refused(state, "signals_symbol", SignalDetector("BTCUSDT", TICK))
    refused(state, "signals_settings", SignalDetector(SYMBOL, 0.1))
    changed = signal_state.PROFILES | {"B": signal_state.PROFILES["A"]}
    monkeypatch.setattr(signal_state, "PROFILES", changed)
    refused(state, "signals_settings")
