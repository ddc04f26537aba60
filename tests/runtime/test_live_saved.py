"""A state on disk: whole or not at all, of one symbol and version, and refused without touching anything."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.instruments import instrument
from feature_repo.market.binance import BinanceParser
from feature_repo.market.clock import ClockOffset
from feature_repo.window import FeatureWindow
from runtime.live import saved
from runtime.live.saved import load_state, pack_state, save_state
from runtime.signals import SignalDetector

from ..feature_repo.binance_messages import BOOK, MS, T0, feed, usdm

FACTS = instrument("binance_usdm", "ETHUSDT")


def made(T=64, facts=FACTS):
    return FeatureWindow(T=T, instrument=facts), SignalDetector(facts.symbol, facts.tick)


@pytest.fixture
def running():
    """A window, a detector, a settled clock and a parser in the middle of the diffs."""
    parser, rows = feed([BOOK, usdm(100, 105, 99, [["98.0", "1"]])])
    window, detector = made()
    window.update(rows)
    clock = ClockOffset()
    clock.update(np.array([T0 * MS + 7 * MS]), np.array([T0 * MS]))
    clock.settled = True
    return window, detector, clock, parser


def bytes_of(window):
    return {name: value.tobytes() for name, value in window.state_dict().items()}


def test_what_was_saved_is_what_is_loaded(running, tmp_path):
    window, _, clock, parser = running
    save_state(tmp_path / "s.npz", pack_state(*running))
    again, detector = made()
    told = load_state(tmp_path / "s.npz", again, detector)
    assert bytes_of(again) == bytes_of(window)
    assert (told.venue, told.symbol, told.parser) == ("binance_usdm", "ETHUSDT", parser.progress())
    assert (told.clock.offset_ns, told.clock.settled) == (clock.offset_ns, True)
    assert told.local_ns == parser.progress().local_ns
    fresh = BinanceParser()
    fresh.resume(told.venue, told.symbol, told.parser)
    # The next diff continues the book in both.
    for each in (parser, fresh):
        _, rows = feed([usdm(106, 110, 105, [["97.0", "1"]])], each)
        assert rows["px"].tolist() == [97.0]
        assert each.book_valid


def test_nothing_is_saved_at_a_moment_that_nothing_can_go_on_from(running):
    window, detector, clock, _ = running
    assert pack_state(window, detector, ClockOffset(), running[3]) is None
    assert pack_state(window, detector, clock, BinanceParser()) is None
    just_behind_a_snapshot, _ = feed([usdm(90, 95, 89), BOOK])
    assert pack_state(window, detector, clock, just_behind_a_snapshot) is None
    with pytest.raises(InputError, match="behind a snapshot"):
        BinanceParser().resume("binance_usdm", "ETHUSDT", just_behind_a_snapshot.progress())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"live": None}, "another version"),
        ({"names": None}, "another version"),
        ({"live": np.zeros(11, np.int64)}, "another version"),
        ({"live": np.array([saved._LAYOUT])}, "another version"),
        ({"names": np.array(["binance_usdm", "ETHUSDT"])}, "another version"),
        ({"names": np.array(["x", "binance_usdm", "ETHUSDT"])}, "field catalogue"),
        ({"history": np.zeros((2, 2), np.float32)}, "history"),
        ({"signals_crc": np.array(1, np.int64)}, "changed"),
        ({"scalars": None}, "nothing for 'scalars'"),
    ],
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(running, tmp_path, change, match):
    state = pack_state(*running) | change
    save_state(tmp_path / "s.npz", {name: value for name, value in state.items() if value is not None})
    window, detector = made()
    before = bytes_of(window)
    with pytest.raises(InputError, match=match):
        load_state(tmp_path / "s.npz", window, detector)
    assert bytes_of(window) == before


def test_a_state_of_another_symbol_length_or_time_is_refused(running, tmp_path):
    save_state(tmp_path / "s.npz", pack_state(*running))
    for T, symbol in ((64, "BTCUSDT"), (32, "ETHUSDT")):
        with pytest.raises(InputError, match=r"s\.npz"):
            load_state(tmp_path / "s.npz", *made(T, instrument("binance_usdm", symbol)))
    with pytest.raises(InputError, match="60 minutes too old"):
        load_state(tmp_path / "s.npz", *made(), not_before_ns=running[3].progress().local_ns + 3_600_000_000_000)


def test_a_file_cut_anywhere_is_refused(running, tmp_path):
    path = tmp_path / "s.npz"
    save_state(path, pack_state(*running))
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"s\.npz"):
            load_state(path, *made())


def test_a_write_that_fails_leaves_the_state_before(running, tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    save_state(path, pack_state(*running))
    whole = path.read_bytes()

    def full(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved.np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        save_state(path, pack_state(*running))
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]
