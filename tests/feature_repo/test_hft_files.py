"""A tape in pieces for the replay: the pieces one after the other are the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, EVENT_DTYPE, GAP, TRADE
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.hft_files import hft_parts, write_hft
from feature_repo.market.tape import Tape, read_tape

pytestmark = pytest.mark.slow

MS = 1_000_000
RECORDING = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"


def tape_of(exch_ms, local_ms, kind=DEPTH):
    """One row a message, at these times."""
    events = np.zeros(len(exch_ms), EVENT_DTYPE)
    events["ev"], events["exch_ts"], events["local_ts"] = kind | BUY, np.array(exch_ms) * MS, np.array(local_ms) * MS
    events["px"], events["qty"] = 100.0, np.arange(1, len(exch_ms) + 1)
    return Tape("binance_usdm", "ETHUSDT", events, {})


def random_tape(seed, n=3_000):
    """Messages that overtake each other now and then, several at one instant."""
    rng = np.random.default_rng(seed)
    exch = np.cumsum(rng.integers(0, 5, n))
    local = exch + rng.integers(1, 4, n) + 30 * (rng.random(n) < 0.02)
    order = np.argsort(local, kind="stable")
    return tape_of(exch[order], local[order], np.where(rng.random(n) < 0.3, TRADE, DEPTH))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [1, 7, 100, 100_000])
def test_the_pieces_one_after_the_other_are_the_whole(seed, rows, monkeypatch):
    tape = random_tape(seed)
    monkeypatch.setattr(Tape, "chunks", lambda self, **_: (self.events[i : i + 13] for i in range(0, self.rows, 13)))
    parts = list(hft_parts(tape, rows=rows))
    assert np.concatenate(parts).tobytes() == to_hftbacktest(tape).tobytes()
    assert len(parts) > 20 or rows >= 100
    assert len(parts) == 1 or rows < 100_000


def test_no_row_is_cut_from_what_overtook_it(monkeypatch):
    # The fifth row left the exchange before the second and came last: there is no place to cut before it.
    tape = tape_of([10, 20, 30, 40, 15, 60, 70], [11, 21, 31, 41, 51, 61, 71])
    monkeypatch.setattr(Tape, "chunks", lambda self, **_: (self.events[i : i + 1] for i in range(self.rows)))
    assert [len(np.unique(p["qty"])) for p in hft_parts(tape, rows=1)] == [1, 4, 1, 1]


def test_rows_of_one_instant_stay_together(monkeypatch):
    tape = tape_of([10, 10, 10, 20, 30], [11, 11, 11, 21, 31])
    monkeypatch.setattr(Tape, "chunks", lambda self, **_: (self.events[i : i + 1] for i in range(self.rows)))
    assert [len(p) for p in hft_parts(tape, rows=1)] == [3, 1, 1]


def test_the_files_say_what_they_span(tmp_path):
    tape, told = random_tape(9), []
    files = write_hft(tape, tmp_path, rows=500, progress=told.append)
    whole = to_hftbacktest(tape)
    read = [np.load(path)["data"] for path in files.paths]
    assert np.concatenate(read).tobytes() == whole.tobytes()
    assert files.span_ns == (whole["local_ts"].min(), whole["local_ts"].max())
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_tape_without_book_and_trades_is_refused(tmp_path):
    tape = random_tape(1)
    tape.events["ev"] = GAP
    with pytest.raises(InputError, match="has neither depth nor trades"):
        write_hft(tape, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_recording_in_pieces():
    if not RECORDING.exists():
        pytest.skip(f"no recording at {RECORDING}")
    tape = read_tape(RECORDING)
    parts = list(hft_parts(tape, rows=50_000))
    assert len(parts) > 3
    assert np.concatenate(parts).tobytes() == to_hftbacktest(tape).tobytes()
