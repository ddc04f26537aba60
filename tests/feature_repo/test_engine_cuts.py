"""Any cut of the events, and any stop and restart between them, gives the same bits."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.constants import ENGINE
from feature_repo.engine import Engine
from feature_repo.errors import InputError

from .book_streams import STYLES, book_instrument, book_stream
from .engine_run import Run, one_call, state_bits
from .streams import ETH, SHORT, random_events
from .three_tapes import every_tape, tape, trail

STREAM = random_events(11, 25.0)
WHOLE = Run().feed(STREAM)


def assert_cuts_change_nothing(events: np.ndarray, whole: Run, cuts: list[int], room: int, make: Run) -> None:
    for low, high in pairwise([0, *sorted(cuts), len(events)]):
        make.feed(events[low:high], room=room)
    assert make.bits() == whole.bits()
    assert state_bits(make) == state_bits(whole)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.integers(2, 70))
@settings(deadline=None, max_examples=40)
def test_any_cut_gives_the_same_bits(cuts, room):
    assert_cuts_change_nothing(STREAM, WHOLE, cuts, room, Run())


@pytest.mark.parametrize("style", STYLES)
def test_any_cut_of_a_hard_stream_gives_the_same_bits(style):
    instrument = book_instrument(0.01)
    events = book_stream(style, 8, instrument, messages=300)
    whole, rng = Run(instrument).feed(events), np.random.default_rng(0)
    for _ in range(3):
        cuts = rng.integers(0, len(events), 40).tolist()
        assert_cuts_change_nothing(events, whole, cuts, int(rng.integers(2, 70)), Run(instrument))
    assert Run(instrument).feed_one_by_one(events).bits() == whole.bits()


def test_one_event_at_a_time_gives_the_same_bits():
    run = Run().feed_one_by_one(STREAM)
    assert run.bits() == WHOLE.bits()
    assert state_bits(run) == state_bits(WHOLE)


def _saved_without_pickle(run: Run) -> dict[str, np.ndarray]:
    buffer = io.BytesIO()
    np.savez(buffer, **run.engine.state.state_dict())
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as saved:
        return dict(saved)


@given(st.integers(0, len(STREAM)))
@settings(deadline=None, max_examples=25)
def test_a_saved_and_restored_state_gives_the_same_bits(cut):
    before = Run().feed(STREAM[:cut])
    after = Run(state=_saved_without_pickle(before)).feed(STREAM[cut:])
    assert tuple(a + b for a, b in zip(before.bits(), after.bits(), strict=True)) == WHOLE.bits()
    assert state_bits(after) == state_bits(WHOLE)


def test_a_state_of_other_settings_is_refused():
    with pytest.raises(InputError, match=r"saved engine state has .* for .floats."):
        Engine(ETH, ENGINE).state.load_state_dict(Engine(ETH, SHORT).state.state_dict())
    saved = Engine(ETH, SHORT).state.state_dict()
    with pytest.raises(InputError, match=r"saved engine state has float32 \(\d+,\) for .floats.\. Expected float64"):
        Engine(ETH, SHORT).state.load_state_dict({**saved, "floats": saved["floats"].astype(np.float32)})


@every_tape
@pytest.mark.slow
def test_from_any_saved_place_of_a_tape_any_cut_gives_the_same_bits(name):
    """The places lie along the whole tape; that a pass cut at them is the whole is proven in test_parity.py."""
    instrument, rng = tape(name)[1], np.random.default_rng(5)
    for place in trail(name).places:
        whole = Run(instrument, ENGINE, state=place.state)
        X, market, quotes = one_call(whole, place.events)
        for _ in range(2):
            cuts = rng.integers(0, len(place.events), 100).tolist()
            pieces = Run(instrument, ENGINE, state=place.state)
            for low, high in pairwise([0, *sorted(cuts), len(place.events)]):
                pieces.feed(place.events[low:high], room=int(rng.integers(2, 2_000)))
            assert pieces.bits() == (X.tobytes(), market.tobytes(), quotes.tobytes())
            assert state_bits(pieces) == state_bits(whole)
        # One by one, and stopped and restarted at random between the pieces.
        few = place.events[:20_000]
        whole, alone = Run(instrument, ENGINE, state=place.state).feed(few), Run(instrument, ENGINE, state=place.state)
        alone.feed_one_by_one(few)
        assert (alone.bits(), state_bits(alone)) == (whole.bits(), state_bits(whole))
        parts = [Run(instrument, ENGINE, state=place.state)]
        for low, high in pairwise([0, *np.sort(rng.integers(0, len(few), 5)), len(few)]):
            parts.append(Run(instrument, ENGINE, state=_saved_without_pickle(parts[-1])).feed(few[low:high]))
        assert tuple(b"".join(p) for p in zip(*(r.bits() for r in parts), strict=True)) == whole.bits()


@pytest.mark.slow
def test_the_whole_real_recording_one_event_at_a_time_gives_the_same_bits():
    events, instrument = tape("ethusdt")
    whole, alone = Run(instrument, ENGINE).feed(events, room=10_000), Run(instrument, ENGINE).feed_one_by_one(events)
    assert (alone.bits(), state_bits(alone)) == (whole.bits(), state_bits(whole))


ELSEWHERE = """
import sys
import numpy as np
from tests.feature_repo.engine_run import Run
from tests.feature_repo.three_tapes import ENGINE
from feature_repo.instruments import instrument

for venue, symbol, path in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    with np.load(path, allow_pickle=False) as saved:
        arrays = dict(saved)
    events = arrays.pop("events")
    run = Run(instrument(venue, symbol), ENGINE, state=arrays).feed(events, room=10_000)
    with open(path + ".bits", "wb") as out:
        out.write(b"".join(run.bits()))
"""


@pytest.mark.slow
def test_a_state_saved_on_a_tape_goes_on_in_a_new_process_bit_by_bit(tmp_path):
    arguments, expected = [], {}
    for name in ("ethusdt", "nexousdt", "simulated"):
        instrument = tape(name)[1]
        for i, place in enumerate(trail(name).places[1::3]):
            path = tmp_path / f"{name}{i}.npz"
            np.savez(path, events=place.events, **place.state)
            arguments += [instrument.venue, instrument.symbol, str(path)]
            run = Run(instrument, ENGINE, state=place.state).feed(place.events, room=10_000)
            assert len(run.rows) > 100
            expected[path] = b"".join(run.bits())
    subprocess.run([sys.executable, "-c", ELSEWHERE, *arguments], check=True, cwd=Path(__file__).parents[2])
    for path, bits in expected.items():
        assert path.with_name(path.name + ".bits").read_bytes() == bits
