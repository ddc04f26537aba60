"""From a stored tape to its table: chunks, columns, threads, several tapes, and tapes that break off."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo import build
from feature_repo.build import build_features, build_many
from feature_repo.errors import InputError
from feature_repo.events import EVENT_DTYPE
from feature_repo.market.manifest import MANIFEST_NAME
from feature_repo.market.tape import StoredTape, Tape, open_tape, write_stream

from .streams import SHORT, random_events

GROUP = 300
EVENTS = random_events(17, 60.0)
EVENTS["px"][50] = np.nan
EVENTS["order_id"], EVENTS["ival"] = np.arange(len(EVENTS)), -np.arange(len(EVENTS))


def tape(events=EVENTS, symbol="ETHUSDT"):
    return Tape("binance_usdm", symbol, events, {})


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> StoredTape:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feature_repo.market.day_files.ROW_GROUP", GROUP)
        return open_tape(write_stream(tape(), tmp_path_factory.mktemp("tape")))


def same(one, other) -> bool:
    bits = all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in ("X", "market", "quotes"))
    return bits and (one.rejected, one.breaks) == (other.rejected, other.breaks)


@pytest.mark.parametrize("rows", [1, 37, GROUP, 1 << 16])
def test_chunks_are_the_rows_whatever_their_size(stored, rows):
    parts = list(stored.chunks(rows))
    assert len(EVENTS) > 3 * GROUP
    assert max(len(p) for p in parts) == min(rows, GROUP)
    assert np.concatenate(parts).tobytes() == EVENTS.tobytes()


@pytest.mark.parametrize("columns", [(), ("px",), ("qty", "ival", "px"), build._READ])
def test_columns_that_are_not_asked_for_are_zero(stored, columns):
    expected = np.zeros_like(EVENTS)
    for name in {*columns, "ev", "exch_ts", "local_ts"}:
        expected[name] = EVENTS[name]
    assert np.concatenate(list(stored.chunks(columns=columns))).tobytes() == expected.tobytes()


@pytest.mark.parametrize("chunk", [1, 61, 1 << 16])
def test_the_table_of_a_stored_tape_is_that_of_the_array(stored, chunk):
    whole = build_features(tape(), config=SHORT, chunk=len(EVENTS))
    assert whole.market["valid"].any()
    assert whole.rejected
    assert same(build_features(stored, config=SHORT, chunk=chunk), whole)


def test_the_kernel_sees_every_column_that_moves_a_row():
    """Each of those that are read does; the others do not."""
    whole = build_features(tape(), config=SHORT)
    for name in EVENT_DTYPE.names:
        blank = EVENTS.copy()
        blank[name] = 0 if name not in ("exch_ts", "local_ts") else EVENTS[name][0]
        assert same(build_features(tape(blank), config=SHORT), whole) == (name not in build._READ), name


def test_room_for_quotes_that_grows_in_small_steps_changes_no_bit(stored, monkeypatch):
    whole = build_features(tape(), config=SHORT)
    assert len(whole.quotes) > 100
    monkeypatch.setattr(build, "_MORE_QUOTES", 3)
    assert same(build_features(stored, config=SHORT), whole)
    assert same(build_features(tape(), config=SHORT, chunk=7), whole)


def test_several_tapes_side_by_side_are_the_tapes_one_by_one(stored):
    other = tape(random_events(18, 60.0), "BTCUSDT")
    seen: dict[int, list[float]] = {0: [], 1: [], 2: [], 3: []}
    made = build_many(
        [stored, other, tape(EVENTS[:0]), stored], config=SHORT, workers=3, progress=lambda k, f: seen[k].append(f)
    )
    refused = made.pop(2)
    assert isinstance(refused, InputError)
    assert "holds no events" in str(refused)
    for table, one in zip(made, (stored, other, stored), strict=True):
        assert same(table, build_features(one, config=SHORT))
    assert [s[-1:] for s in seen.values()] == [[1.0], [1.0], [], [1.0]]
    assert all(s == sorted(s) for s in seen.values())


def test_an_event_later_than_the_last_is_refused():
    events = EVENTS.copy()
    events["local_ts"][-1] = events["local_ts"][len(events) // 2]
    with pytest.raises(InputError, match="holds an event later than its last"):
        build_features(tape(events), config=SHORT)


YEAR_NS = 366 * 86_400 * 10**9


@pytest.mark.parametrize(
    ("first_ns", "last_ns"), [(0, None), (-(10**9), None), (None, int(EVENTS["local_ts"][0]) + YEAR_NS + 1)]
)
def test_times_that_are_no_year_of_utc_are_refused(first_ns, last_ns):
    events = EVENTS.copy()
    if first_ns is not None:
        events["local_ts"] += first_ns - events["local_ts"][0]
    if last_ns is not None:
        events["local_ts"][-1] = last_ns
    first, last = events["local_ts"][[0, -1]]
    with pytest.raises(InputError, match=rf"ETHUSDT spans {first} to {last} ns\. Expected at most a year of ns UTC"):
        build_features(tape(events), config=SHORT)


def test_a_hole_of_over_a_week_is_refused_and_a_single_event_behind_it_is_not():
    """Else all that lies behind the hole would be left out, without a word: two first days of a month in one folder."""
    hole = 8 * 86_400 * 10**9
    later = EVENTS.copy()
    later["local_ts"] += hole
    later["exch_ts"] += hole
    with pytest.raises(InputError, match=r"has no event for over a week after 2026-01-05T01:5\d:\d\d UTC"):
        build_features(tape(np.concatenate([EVENTS, later])), config=SHORT)
    one = build_features(tape(np.concatenate([EVENTS, later[-1:]])), config=SHORT)
    assert one.rejected["time_jump"] == 1
    assert one.X.tobytes() == build_features(tape(), config=SHORT).X.tobytes()


def rewritten(folder: Path, **changes) -> None:
    """Change fields of the manifest."""
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_manifest_of_another_span_is_refused(stored, tmp_path):
    folder = write_stream(tape(), tmp_path)
    first, last = stored.span_ns
    for change in ({"first_local_ns": first + 1}, {"last_local_ns": last - 1}):
        rewritten(folder, **{"first_local_ns": first, "last_local_ns": last, **change})
        with pytest.raises(InputError, match=r"has rows from \d+ to \d+ ns\. Expected .* as in manifest\.json"):
            build_features(open_tape(folder))


def test_a_row_group_that_cannot_be_read_is_told_where_it_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_repo.market.day_files.ROW_GROUP", GROUP)
    folder = write_stream(tape(), tmp_path)
    (day,) = folder.glob("*.parquet")
    third = pq.read_metadata(day).row_group(2).column(0)
    at = third.dictionary_page_offset or third.data_page_offset
    damaged = bytearray(day.read_bytes())
    damaged[at : at + 60] = bytes(60)
    day.write_bytes(damaged)
    facts = {day.name: {"rows": len(EVENTS), "sha256": hashlib.sha256(damaged).hexdigest()}}
    rewritten(folder, days=facts)
    chunks = open_tape(folder).chunks()
    assert np.concatenate([next(chunks), next(chunks)]).tobytes() == EVENTS[: 2 * GROUP].tobytes()
    with pytest.raises(InputError, match="cannot be read"):
        next(chunks)
    with pytest.raises(InputError, match="cannot be read"):
        build_features(open_tape(folder))


# Not ru_maxrss: after fork and exec it begins with the peak of the process that started this one.
_BUILD = r"""
import re, sys
from pathlib import Path
from feature_repo.build import build_features
from feature_repo.market.tape import open_tape
table = build_features(open_tape(sys.argv[1]))
own = table.X.nbytes + table.market.nbytes + table.quotes.nbytes
print(own / 1024, re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_beside_the_table_does_not_grow_with_the_tape(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_repo.market.day_files.ROW_GROUP", 1 << 16)
    build_features(tape())  # so that neither of the two compiles
    events, peaks = random_events(3, 60.0, rate=400.0), []
    span = int(events["local_ts"][-1] - events["local_ts"][0])
    for name, copies in (("short", 64), ("long", 1024)):
        long = np.tile(events, copies)
        shift = np.repeat(np.arange(copies) * span, len(events))
        long["local_ts"] += shift
        long["exch_ts"] += shift
        folder = write_stream(tape(long), tmp_path / name)
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, str(folder)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        table, peak = map(float, done.stdout.split())
        peaks.append((peak - table) / 1024)
        print(f"{len(long)} rows: {table / 1024:.0f} MiB table, {peaks[-1]:.0f} MiB beside it")
    # Were the rows kept, it would double.
    assert len(long) * EVENT_DTYPE.itemsize / 2**20 > peaks[0]
    assert peaks[1] < 1.2 * peaks[0]
