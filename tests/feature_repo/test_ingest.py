"""From readers to a tape: clock, segments, crossed books; and that no cut of the rows leaves a trace."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.build import build_features
from feature_repo.constants import BASE_LATENCY_NS, MS_NS, SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK, SELL
from feature_repo.market import audit, segment
from feature_repo.market.audit import BookAudit
from feature_repo.market.clock import ClockOffset
from feature_repo.market.ingest import Import
from feature_repo.market.segment import Segment
from feature_repo.market.tape import Tape, open_tape, read_tape, write_stream
from feature_repo.window import FeatureWindow

from .audited import best_quotes
from .readers import T0_NS, RowReader, messages
from .streams import SHORT, random_events

ROWS = messages(1, 2_500, untimed=3, crossed=(700,))


def take(*readers):
    stream = Import(readers)
    events = np.concatenate(list(stream.chunks()))
    return events, stream.facts()


# --- the clock -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(-50, 50)), max_size=60), st.lists(st.integers(0, 60)))
def test_the_clock_is_the_least_delay_of_the_first_minute_however_messages_come(pairs, cuts):
    local = np.cumsum([step * 50 * MS_NS for step, _ in pairs]).astype(np.int64)
    exch = local - np.array([d * MS_NS for _, d in pairs], np.int64)
    clock = ClockOffset()
    for a, b in zip(np.split(local, sorted(cuts)), np.split(exch, sorted(cuts)), strict=True):
        clock.update(a, b)
    early = [at - of for at, of in zip(local.tolist(), exch.tolist(), strict=True) if at - local[0] < 60 * SECOND_NS]
    assert clock.offset_ns == (BASE_LATENCY_NS - min(early) if early else 0)
    assert (clock.samples, clock.settled) == (len(early), len(early) < len(local))


def test_the_first_minute_settles_the_clock_of_the_whole():
    rows = messages(2, 3_000)
    late = rows["local_ts"] > T0_NS + 70 * SECOND_NS
    rows["exch_ts"][late] -= 9_000 * MS_NS  # must not count any more
    events, facts = take(RowReader(rows))
    first = rows["local_ts"] < rows["local_ts"][0] + 60 * SECOND_NS
    least = (rows["local_ts"] - rows["exch_ts"])[first].min()
    assert facts["clock"]["offset_ns"] == BASE_LATENCY_NS - least
    np.testing.assert_array_equal(events["local_ts"], rows["local_ts"] + BASE_LATENCY_NS - least)
    np.testing.assert_array_equal(events["exch_ts"], rows["exch_ts"])
    assert (events["local_ts"] - events["exch_ts"])[first].min() == BASE_LATENCY_NS


def test_rows_before_the_first_exchange_time_get_one_that_is_not_after_it():
    events, _ = take(RowReader(ROWS))
    untimed = ROWS["exch_ts"] == 0
    first = ROWS["exch_ts"][~untimed][0]
    expected = np.minimum(events["local_ts"][untimed] - BASE_LATENCY_NS, first)
    np.testing.assert_array_equal(events["exch_ts"][untimed], expected)
    assert untimed.sum() > 22


def test_delays_are_told_from_messages_before_the_correction():
    rows = messages(3, 1_200)
    _, facts = take(RowReader(rows, [5, 400, 401]))
    clock = facts["clock"]
    pairs = {(int(r["local_ts"]), int(r["exch_ts"])) for r in rows}
    delays = np.sort([a - b for a, b in pairs])
    assert clock["raw_delay_min_ns"] == delays[0]
    assert abs(clock["raw_delay_median_ns"] - delays[(len(delays) - 1) // 2]) <= MS_NS // 2
    assert clock["samples"] == sum(local < T0_NS + 60 * SECOND_NS for local, _ in pairs)
    assert clock["negative_delay_rows"] == 0


def test_without_an_exchange_time_nothing_is_held_for_ever(monkeypatch):
    monkeypatch.setattr(segment, "_UNTIMED_ROWS", 500)
    rows = messages(4, 2_000, untimed=10**9)
    stream = Import([RowReader(rows, range(100, len(rows), 100))])
    given_ = [len(c) for c in stream.chunks()]
    assert len(given_) > 10
    facts = stream.facts()
    assert facts["clock"]["offset_ns"] == 0
    assert any("no exchange time" in w for w in facts["warnings"])
    # A time that comes after so many rows no longer counts, wherever the rows are cut.
    rows["exch_ts"][600:] = rows["local_ts"][600:] - 7 * SECOND_NS
    for cuts in ((), (599, 601), range(0, len(rows), 90)):
        events, facts = take(RowReader(rows, cuts))
        assert facts["clock"]["offset_ns"] == 0
        assert events["exch_ts"][0] == rows["local_ts"][0] - BASE_LATENCY_NS


# --- segments ------------------------------------------------------------------------------------------------------


def test_each_segment_has_its_own_clock_and_a_gap_stands_between():
    one = messages(5, 200, gaps=False)
    two = messages(6, 200, start_ns=T0_NS + 3_600 * SECOND_NS, delay_ns=400 * MS_NS, gaps=False)
    events, facts = take(RowReader(one, [7]), RowReader(two, [3, 50], name="b.csv", kind="tardis"))
    assert facts["kinds"] == ["binance", "tardis"]
    assert [s["clock"]["offset_ns"] for s in facts["segments"]] == [
        BASE_LATENCY_NS - int((r["local_ts"] - r["exch_ts"]).min()) for r in (one, two)
    ]
    gap = events[len(one)]
    assert (gap["ev"], gap["local_ts"]) == (GAP, events["local_ts"][len(one) + 1])
    assert [s["name"] for s in facts["sources"]] == ["a.gz", "b.csv"]
    assert facts["lines"] == len(one) + len(two)
    assert facts["segments"][1]["first_local_ns"] == gap["local_ts"]
    assert "1 sequence gaps: no valid book until the next snapshot" in facts["warnings"]


def test_a_small_overlap_is_held_and_a_large_one_refused():
    one = messages(7, 100)
    end = int(one["local_ts"][-1])
    two = messages(8, 100, start_ns=end - 100 * MS_NS)
    events, _ = take(RowReader(one), RowReader(two))
    assert (np.diff(events["local_ts"]) >= 0).all()
    assert len(events) == len(one) + 1 + len(two)
    far = messages(8, 100, start_ns=end - 4 * SECOND_NS)
    with pytest.raises(InputError, match=r"b\.gz begins 4\.\d s before a\.gz ends"):
        take(RowReader(one), RowReader(far, name="b.gz"))


def test_segments_are_of_one_contract_of_the_table():
    rows = messages(9, 50)
    later = messages(9, 50, start_ns=T0_NS + 900 * SECOND_NS)
    with pytest.raises(InputError, match=r"b\.gz is of BTCUSDT on binance_usdm after ETHUSDT"):
        take(RowReader(rows), RowReader(later, name="b.gz", symbol="BTCUSDT"))
    with pytest.raises(InputError, match=r"a\.gz: unknown symbol 'FOOUSDT'"):
        take(RowReader(rows, symbol="FOOUSDT"))
    with pytest.raises(InputError, match=r"a\.gz: none of 0 lines gives a row of a named symbol \(4 kline\)"):
        take(RowReader(rows[:0], skipped={"kline": 4}))
    _, facts = take(RowReader(rows), RowReader(rows[:0], name="b.gz"))
    assert "b.gz gives no row" in facts["warnings"]


def test_an_import_is_taken_once_and_tells_its_facts_at_the_end():
    stream = Import([RowReader(messages(9, 50))])
    chunks = stream.chunks()
    next(chunks)
    with pytest.raises(RuntimeError, match="before the last chunk was taken"):
        stream.facts()
    assert list(chunks) == []
    assert stream.facts()["kinds"] == ["binance"]
    with pytest.raises(RuntimeError, match="an import can be taken once"):
        next(stream.chunks())


def test_a_live_segment_keeps_no_account_of_its_clock():
    live = Segment(RowReader(messages(9, 50)), live=True)
    assert len(np.concatenate(list(live.chunks()))) > 50
    with pytest.raises(RuntimeError, match="a live segment keeps no account"):
        live.clock_facts({})


def test_counts_of_segments_add_up():
    rows = messages(10, 60)
    later = messages(11, 60, start_ns=T0_NS + 900 * SECOND_NS)
    one = RowReader(rows, messages={"trade": 2}, depth={"snapshots": 1}, pauses=1, local_backwards=2)
    two = RowReader(later, messages={"trade": 3, "x": 1}, pauses=2, warnings=["odd"], local_backwards=1)
    _, facts = take(one, two)
    assert facts["messages"] == {"trade": 5, "x": 1}
    assert (facts["depth"], facts["pauses"]) == ({"snapshots": 1}, 3)
    assert facts["warnings"][0] == "odd"
    assert "the local clock steps back 3 times; it is held at the latest time seen" in facts["warnings"]
    assert [s["clock"]["local_backwards"] for s in facts["segments"]] == [2, 1]


# --- crossed books -------------------------------------------------------------------------------------------------


def plain_quotes(events):
    """Two dicts, a message at a time."""
    book, out = {BUY: {}, SELL: {}}, []
    touched = False
    for i, row in enumerate(events):
        kind, side = int(row["ev"]) & KIND_MASK, BUY if int(row["ev"]) & BUY else SELL
        px, qty = float(row["px"]), float(row["qty"])
        if kind == GAP:
            book = {BUY: {}, SELL: {}}
        elif kind == DEPTH_CLEAR:
            book[side], touched = {}, True
        elif kind in (DEPTH, DEPTH_SNAPSHOT):
            touched = True
            if qty > 0:
                book[side][px] = qty
            else:
                book[side].pop(px, None)
        last = i + 1 == len(events)
        if touched and (
            last or (events[i + 1]["local_ts"], events[i + 1]["exch_ts"]) != (row["local_ts"], row["exch_ts"])
        ):
            out.append((i, max(book[BUY], default=np.nan), min(book[SELL], default=np.nan)))
            touched = False
    return np.array(out)


@pytest.mark.parametrize("slots", [16, 1 << 14])
def test_best_quotes_are_those_of_a_dict_book_however_the_rows_are_cut(slots, monkeypatch):
    monkeypatch.setattr(audit, "_SLOTS", slots)
    for events in (ROWS, random_events(4, 60.0)):
        expected = plain_quotes(events)
        np.testing.assert_array_equal(np.column_stack(best_quotes(events)), expected)
        rng = np.random.default_rng(5)
        for size in (1, 7, 200):
            book, parts = BookAudit(), []
            cuts = np.sort(rng.integers(0, len(events), len(events) // size))
            for part in np.split(events, cuts):
                parts.append(np.column_stack(book.update(part)))
            parts.append(np.column_stack(book.finish()))
            np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("cut", [0, 1])
def test_the_first_crossing_is_told_wherever_its_message_is_cut(cut):
    quotes = plain_quotes(ROWS)
    crossed = quotes[quotes[:, 1] >= quotes[:, 2]]
    row = int(crossed[0, 0])
    events, facts = take(RowReader(ROWS, [row + cut]))
    assert facts["crossed_book"] == facts["bad_rows"]["crossed book"] == len(crossed)
    first = {"row": row, "local_ns": int(events["local_ts"][row]), "bid": crossed[0, 1], "ask": crossed[0, 2]}
    assert facts["first_crossed"] == first


# --- no cut leaves a trace -----------------------------------------------------------------------------------------


def digest(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.mark.slow
@given(
    st.lists(st.integers(0, len(ROWS)), max_size=12),
    st.lists(st.integers(0, len(ROWS)), max_size=4),
    st.sampled_from([500, 1 << 20]),
)
@settings(max_examples=15, deadline=None)
def test_any_cut_of_the_rows_gives_the_same_bytes(cuts, others, group):
    later = messages(12, 300, start_ns=T0_NS + 7_200 * SECOND_NS)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as root:
        patch.setattr("feature_repo.market.day_files.ROW_GROUP", group)
        folders = [
            write_stream(Import([RowReader(ROWS, a), RowReader(later, b, name="b")]), Path(root) / name)
            for name, a, b in (("whole", (), ()), ("cut", cuts, [c % len(later) for c in others]))
        ]
        whole, cut = (digest(f) for f in folders)
        assert whole == cut
        assert len(whole) == 3  # two days and the manifest
        tape = open_tape(folders[0])
        sizes = [len(c) for c in tape.chunks(50)]
        assert max(sizes) <= 50
        assert sum(sizes) == tape.rows


def test_features_of_a_stored_tape_are_those_of_the_tape_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_repo.market.day_files.ROW_GROUP", 1_000)
    folder = write_stream(Tape("binance_usdm", "ETHUSDT", random_events(6, 200.0), {}), tmp_path)
    seen = []
    stored, whole = build_features(open_tape(folder), progress=seen.append), build_features(read_tape(folder))
    for name in ("X", "market", "quotes"):
        assert getattr(stored, name).tobytes() == getattr(whole, name).tobytes()
    assert len(seen) > 2
    assert seen[-1] == 1.0


class _Allowing:
    def allow(self, candidate, now_ns):
        return candidate.ts_ns, now_ns


@pytest.mark.parametrize("size", [1, 37, 10_000])
def test_a_dry_run_in_chunks_is_the_dry_run_of_the_array(size):
    from runtime.dry_run import dry_run

    class Detector:
        def update(self, row, market):
            return Found(int(market["t_ns"]), row.tobytes())

    events = random_events(8, 40.0)

    def run(given_, **more):
        window = FeatureWindow(T=20, config=SHORT)
        return list(dry_run(given_, window, Detector(), _Allowing(), **more))

    whole, seen = run(events), []
    chunks = Tape("binance_usdm", "ETHUSDT", events, {}).chunks(size)
    assert run(chunks, progress=seen.append, end_ns=int(events["local_ts"][-1])) == whole
    assert len(whole) > 350
    assert len(seen) >= 1
    assert seen == sorted(seen)
    assert run(iter(())) == run(events[:0]) == []


class Found(NamedTuple):
    ts_ns: int
    row: bytes
