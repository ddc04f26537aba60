"""Days of a longer stream, cut and joined: no row is lost, none comes twice, and the book knows no midnight."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK, SELL, TRADE
from feature_repo.market.day_cut import DayCut, day_span_ns
from feature_repo.market.detect import choose_files
from feature_repo.market.joined import Joined
from feature_repo.market.simulator import Simulation
from feature_repo.market.source_days import day_stream, days_of, files_for
from feature_repo.market.tape import Tape, open_tape, read_tape, write_stream
from tests.flows.conftest import RECORDINGS

from .small_tape import rows

pytestmark = pytest.mark.slow

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)


def simulation():
    """An hour before midnight and one after it."""
    return Simulation(seed=3, hours=2, start="2026-01-05T23:00", edge=0.5)


def rows_of(stream):
    return np.concatenate(list(stream.chunks()))


def kinds(rows):
    return rows["ev"] & np.uint64(KIND_MASK)


@pytest.fixture(scope="module")
def whole():
    return rows_of(simulation())


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    root = tmp_path_factory.mktemp("days")
    made = [write_stream(DayCut(simulation(), day), root / day.isoformat()) for day in (MONDAY, TUESDAY)]
    return [open_tape(path) for path in made]


def opening(rows):
    """How many rows a day begins with that are its book."""
    return int(np.flatnonzero(~np.isin(kinds(rows), (DEPTH_CLEAR, DEPTH_SNAPSHOT)))[0])


def test_every_row_is_in_one_day(whole, days):
    first, second = (rows_of(d) for d in days)
    at = opening(second)
    assert at > 2
    assert np.concatenate([first, second[at:]]).tobytes() == whole.tobytes()
    midnight = day_span_ns(TUESDAY)[0]
    assert first["local_ts"][-1] < midnight <= second["local_ts"][0]


def test_the_second_day_needs_none_before_it(whole, days):
    """From a minute on, the rows that do not remember more than a minute are those of the whole tape."""
    alone, of_all = build_features(days[1]), build_features(Tape("simulated", days[1].symbol, whole, days[1].manifest))
    a, b = alone.market, of_all.market[-len(alone.market) :]
    late = a["t_ns"] > a["t_ns"][0] + 120 * SECOND_NS
    assert a["valid"][late].all()
    for name in ("t_ns", "bid", "ask", "bid_qty", "ask_qty", "depth_top5", "spread_bps"):
        np.testing.assert_array_equal(a[name][late], b[name][late], err_msg=name)


def test_joined_days_give_the_rows_of_the_whole(whole, days, tmp_path):
    joined = Joined(days[::-1])
    tape = open_tape(write_stream(joined, tmp_path))
    assert tape.rows == joined.rows
    assert GAP not in kinds(rows_of(tape))
    one = build_features(tape)
    other = build_features(Tape("simulated", tape.symbol, whole, tape.manifest))
    assert one.X.tobytes() == other.X.tobytes()
    assert one.market.tobytes() == other.market.tobytes()
    assert tape.manifest["seed"] == 3
    assert tape.manifest["simulated"] is True


def test_a_missing_day_leaves_a_gap(days, tmp_path):
    events = rows_of(days[0])
    early = events[events["local_ts"] < events["local_ts"][0] + 600 * SECOND_NS]
    first = open_tape(write_stream(Tape("simulated", days[0].symbol, early, {"simulated": True}), tmp_path))
    rows = rows_of(joined := Joined([first, days[1]]))
    assert len(rows) == joined.rows == len(early) + 1 + days[1].rows
    (at,) = np.flatnonzero(kinds(rows) == GAP)
    assert at == len(early)
    assert rows["local_ts"][at] == early["local_ts"][-1]


@pytest.mark.parametrize("wrong", ["nothing", "twice", "another contract"])
def test_what_cannot_be_joined_is_refused(days, tmp_path, wrong):
    if wrong == "nothing":
        with pytest.raises(InputError, match="no tape to join"):
            Joined([])
    elif wrong == "twice":
        with pytest.raises(InputError, match=r"before .* ends"):
            Joined([days[0], days[0]])
    else:
        other = Tape("binance_usdm", "ETHUSDT", rows_of(days[0])[:100], {"simulated": False})
        with pytest.raises(InputError, match="tapes of ETHUSDT on binance_usdm, "):
            Joined([days[1], open_tape(write_stream(other, tmp_path))])


@pytest.mark.parametrize("size", [1, 1_000])
def test_a_day_opens_with_the_book_that_the_engine_has_at_midnight(size):
    """Diffs from before the first snapshot, and from between a gap and the next one, are none of it."""
    book = [(DEPTH_SNAPSHOT | BUY, 0, 5, 99.0, 1.0), (DEPTH_SNAPSHOT | SELL, 0, 5, 101.0, 1.0)]
    begin = [(DEPTH | BUY, 0, 1, 99.5, 3.0), *book, (DEPTH | SELL, 0, 6, 102.0, 2.0)]
    again = [
        (GAP, 0, 7, 0.0, 0.0),
        (DEPTH | SELL, 0, 8, 100.5, 3.0),
        *((ev, 0, 9, px, 4.0) for ev, _, _, px, _ in book),
    ]
    end = (TRADE | BUY, SECOND_NS, SECOND_NS + 7, 101.0, 1.0)

    class Cut(Tape):
        def chunks(self):
            return super().chunks(size)

    for events, levels in (([*begin, end], [99.0, 101.0, 102.0]), ([*begin, *again, end], [99.0, 101.0])):
        got = rows_of(DayCut(Cut("binance_usdm", "ETHUSDT", rows(*events), {}), date(2024, 7, 19)))
        assert got["px"][kinds(got) == DEPTH_SNAPSHOT].tolist() == levels


def test_a_day_without_rows_is_named(days):
    with pytest.raises(InputError, match=r"no row of .* on 2026-01-09"):
        rows_of(DayCut(simulation(), date(2026, 1, 9)))


# --- which files a day needs ----------------------------------------------------------------------------------------


def recording(folder, start, seconds, *, book):
    """A file whose lines are a trade a second, behind a snapshot or not."""
    at = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp())
    lines = []
    if book:
        lines.append(f'{at * SECOND_NS} {{"lastUpdateId":{at},"bids":[["1.0","5"]],"asks":[["1.1","5"]]}}')
    for k in range(seconds):
        message = (
            f'{{"stream":"ethusdt@trade","data":{{"e":"trade","E":{(at + k) * 1000},"T":{(at + k) * 1000},'
            f'"s":"ETHUSDT","t":{at + k},"p":"1.05","q":"1","X":"MARKET","m":true}}}}'
        )
        lines.append(f"{(at + k) * SECOND_NS + 5_000_000} {message}")
    path = folder / f"{start.replace(':', '')}.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
    return path


@pytest.fixture
def folder(tmp_path):
    recording(tmp_path, "2024-07-18T22:00", 30, book=True)
    recording(tmp_path, "2024-07-18T23:00", 30, book=True)
    recording(tmp_path, "2024-07-19T00:30", 30, book=False)
    recording(tmp_path, "2024-07-21T05:00", 30, book=False)
    return tmp_path


def names(files):
    return [f.path.name[:15] for f in files]


def test_files_are_read_back_to_a_snapshot(folder):
    files = choose_files(folder)
    assert [d.day for d in days_of(files)] == [18, 19, 20, 21]
    assert names(files_for(files, date(2024, 7, 18))) == ["2024-07-18T2200", "2024-07-18T2300"]
    # The file before may reach over midnight; further back nothing is needed.
    assert names(files_for(files, date(2024, 7, 19))) == ["2024-07-18T2300", "2024-07-19T0030"]
    assert names(files_for(files, date(2024, 7, 20))) == ["2024-07-18T2300", "2024-07-19T0030"]
    # Nothing tells that the book of the day before last is of no use: the rows will.
    assert names(files_for(files, date(2024, 7, 21))) == ["2024-07-18T2300", "2024-07-19T0030", "2024-07-21T0500"]
    recording(folder, "2024-07-22T00:00", 5, book=True)
    recording(folder, "2024-07-24T00:00", 5, book=True)
    files = choose_files(folder)
    assert names(files_for(files, date(2024, 7, 24))) == ["2024-07-24T0000"]


def test_the_real_recording_by_days_is_the_whole_of_it(tmp_path):
    """NEXOUSDT: one snapshot at the beginning of the first of three files."""
    source = RECORDINGS / "binance_spot_nexousdt"
    if not source.is_dir():
        pytest.skip("the recording of NEXOUSDT is not there")
    files = choose_files(source)
    days = days_of(files)
    assert [d.day for d in days] == [23, 24, 25]
    tapes = [open_tape(write_stream(day_stream(files, d), tmp_path / d.isoformat())) for d in days]
    joined, whole = rows_of(Joined(tapes)), read_tape(source).events
    at, opened = 0, np.zeros(len(joined), bool)
    for tape, day in zip(tapes, days, strict=True):
        assert joined["local_ts"][at] >= day_span_ns(day)[0]
        added = opening(rows_of(tape)) if at else 0
        assert added > 100 or not at
        opened[at : at + added] = True
        at += tape.rows
    assert joined[~opened].tobytes() == whole.tobytes()
