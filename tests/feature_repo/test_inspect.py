"""The summary of a tape, its picture, and `ofi-meta tape inspect`."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.events import BUY, DEPTH, DEPTH_SNAPSHOT, EVENT_DTYPE, GAP, KIND_MASK, LIQUIDATION, SELL, TRADE
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.market.summary import DELAY_QUANTILES, summarise, utc_text
from feature_repo.market.tape import Tape, open_tape, write_stream
from flows.inspect import run
from reports.tape_picture import check_target, draw_tape

from .small_tape import START, rows, small
from .walk_oracle import random_tape

pytestmark = pytest.mark.slow

MS = 1_000_000


def tape_of(events, *, venue="binance_usdm", symbol="ETHUSDT", **manifest) -> Tape:
    return Tape(venue, symbol, events, manifest)


def book(at: int, bid: float = 100.0):
    """A snapshot of two levels a side at ``at`` ns from START."""
    return [
        (DEPTH_SNAPSHOT | side, at - 7 * MS, at, bid + sign * k, 1.0)
        for side, sign, ks in ((BUY, -0.01, (0, 1)), (SELL, 0.01, (1, 2)))
        for k in ks
    ]


def cuts_of(tape: Tape, size: int):
    """The same tape in chunks of ``size`` rows."""

    class Cut:
        venue, symbol, simulated, rows = tape.venue, tape.symbol, tape.simulated, tape.rows

        def chunks(self):
            return tape.chunks(size)

        def facts(self):
            return tape.facts()

    return Cut()


def said_by(path, **options) -> str:
    console = Console(record=True, width=160, file=io.StringIO())
    run(path, console=console, **options)
    return console.export_text()


def test_a_summary_of_a_small_tape():
    tape = small(bad_rows={"depth: field 'b'": 2}, first_bad_row={"file": "x.gz", "line": 7, "reason": "odd"})
    s = summarise(tape)
    assert (s.venue, s.symbol, s.simulated, s.rows) == ("binance_usdm", "ETHUSDT", False, 11)
    assert s.rows_by_kind == {
        "depth": 1, "trade": 2, "depth_clear": 2, "depth_snapshot": 2, "best_quote": 1, "liquidation": 1,
        "funding": 1, "gap": 1,
    }  # fmt: skip
    assert (s.first_ns, s.last_ns) == tape.span_ns
    assert [(g.start_ns - START, g.end_ns) for g in s.gaps] == [(60, None)]
    assert s.bad_rows == {"depth: field 'b'": 2}
    assert s.liquidations.side.tolist() == [-1]
    assert s.trades.qty.tolist() == [1.0, 1.0]


def test_gaps_end_at_the_next_snapshot_whatever_the_chunks():
    events = rows(
        *book(0), (GAP, 1, 10, 0, 0), (GAP, 1, 20, 0, 0), (TRADE | BUY, 1, 25, 100, 1), *book(30), (GAP, 1, 50, 0, 0),
        *book(60), (GAP, 1, 70, 0, 0),
    )  # fmt: skip
    for size in (1, 2, 3, 5, 100):
        s = summarise(cuts_of(tape_of(events), size))
        gaps = [(g.start_ns - START, None if g.end_ns is None else g.end_ns - START) for g in s.gaps]
        assert gaps == [(10, 30), (50, 60), (70, None)]
        assert s.n_gaps == 4


def test_no_cut_into_chunks_changes_the_summary():
    tape = tape_of(random_tape(3, 3_000))
    # A set of equal sizes has more than the 300 that are kept: the earlier ones stay.
    tape.events["qty"][(tape.events["ev"] & np.uint64(KIND_MASK)) == TRADE] = 0.5
    whole, cut = summarise(tape), summarise(cuts_of(tape, 37))
    assert json.dumps(whole.as_json()) == json.dumps(cut.as_json())
    assert whole.trades.t_ns.tolist() == cut.trades.t_ns.tolist()
    assert len(whole.trades.t_ns) == 300


def test_delays_are_of_messages_with_an_exchange_time():
    events = rows(
        *book(100 * MS),
        *((DEPTH | BUY, k * SECOND_NS, k * SECOND_NS + d * MS, 99.0, 1.0) for k, d in enumerate((5, 5, 9, -2, 30), 1)),
        (DEPTH | SELL, 5 * SECOND_NS, 5 * SECOND_NS + 30 * MS, 103.0, 1.0),
    )
    s = summarise(tape_of(events))
    assert dict(zip(DELAY_QUANTILES, s.delay_ms, strict=True)) == {
        0.0: -2.0,
        0.01: -2.0,
        0.5: 5.0,
        0.99: 30.0,
        1.0: 30.0,
    }
    assert s.negative_delays == 1


def test_a_message_of_many_rows_has_one_delay():
    many = [(DEPTH | BUY, 2 * SECOND_NS, 2 * SECOND_NS + 80 * MS, 90.0 + k / 100, 1.0) for k in range(99)]
    single = [(DEPTH | BUY, k * SECOND_NS, k * SECOND_NS + 5 * MS, 98.0, 1.0) for k in (1, 3, 4)]
    tape = tape_of(rows(*book(0), single[0], *many, *single[1:]))
    for size in (1, 7, 200):
        assert summarise(cuts_of(tape, size)).delay_ms[2] == 5.0


def test_the_largest_trades_are_kept_in_their_order():
    qty = np.random.default_rng(2).permutation(1_000) + 1.0
    tape = tape_of(rows(*((TRADE | SELL, k, k + 5, 100.0, q) for k, q in enumerate(qty))))
    for size in (13, 5_000):
        s = summarise(cuts_of(tape, size))
        assert s.trades.qty.tolist() == qty[qty > 700].tolist()
        assert set(s.trades.side.tolist()) == {-1}


@pytest.mark.parametrize(("price", "word"), [(100.005, "too large"), (None, None)])
def test_a_price_step_that_is_not_the_tick_is_a_warning(price, word):
    more = [(DEPTH | BUY, 1, SECOND_NS, price, 1.0)] if price else []
    s = summarise(tape_of(rows(*book(0), *more)))
    assert [word in w for w in s.warnings] == ([True] if word else [])
    assert s.price_step == (0.005 if price else 0.01)


def test_a_larger_step_is_told_too():
    s = summarise(tape_of(rows(*book(0)), venue="binance_usdm", symbol="BTCUSDT"))
    assert "smallest price step seen is 0.01, the table of instruments says 0.1" in s.warnings[0]
    events = rows((DEPTH_SNAPSHOT | BUY, 1, 5, 99.0, 1), (DEPTH_SNAPSHOT | BUY, 1, 5, 98.0, 1))
    assert "the tick may have been larger then" in summarise(tape_of(events)).warnings[0]


def test_json_holds_plain_values_only():
    out = summarise(small()).as_json()
    text = json.dumps(out, allow_nan=False)
    assert json.loads(text)["facts"]["r2_1s"] is None
    assert out["gaps"][0]["end"] is None
    assert out["first"].startswith("2024-07-18 23:59:59.000")


def test_no_rows_are_refused():
    with pytest.raises(InputError, match="has no rows"):
        summarise(tape_of(np.empty(0, EVENT_DTYPE)))


@pytest.mark.parametrize(("ns", "text"), [(START + 123_456_789, "2024-07-18 23:59:59.123"), (None, None)])
def test_times_as_text(ns, text):
    assert utc_text(ns) == text


def test_a_stored_tape_is_printed(tmp_path):
    tape = tape_of(random_tape(5, 2_000), skipped={"kline": 4}, bad_rows={"crossed book": 3}, warnings=["odd clock"])
    folder = write_stream(tape, tmp_path)
    said = said_by(folder)
    for words in (
        "ETHUSDT on binance_usdm", "R2 of return on OFI", "at 0.1 s", "published", "Without a book after a gap",
        "crossed book", "4 kline", "warning: odd clock", "smallest price step seen 0.01",
    ):  # fmt: skip
        assert words in said, words
    assert "SIMULATED" not in said
    assert json.dumps(summarise(open_tape(folder)).as_json()) == json.dumps(summarise(tape_of(
        tape.events, **open_tape(folder).manifest)).as_json())  # fmt: skip


def test_a_simulated_tape_says_so(tmp_path):
    tape = tape_of(random_tape(5, 500), venue="simulated", symbol=SIMULATED_SYMBOL, simulated=True)
    assert said_by(write_stream(tape, tmp_path)).count("SIMULATED") >= 2


def test_a_source_is_imported_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    lines = []
    for k in range(400):
        ms = 1_721_347_022_000 + 50 * k
        trade = {"e": "trade", "E": ms, "T": ms, "s": "ETHUSDT", "t": k, "p": "3400.10", "q": "0.5", "m": k % 3 == 0}
        lines.append(f"{ms * MS + 4 * MS} " + json.dumps({"stream": "ethusdt@trade", "data": trade}))
    path = tmp_path / "recording.dat"
    path.write_text("\n".join(lines) + "\n")
    said = said_by(path)
    assert "trade" in said
    assert "no depth snapshot" in said
    assert not (tmp_path / "data").exists()


def test_json_is_all_that_is_on_standard_output(tmp_path, capsys):
    folder = write_stream(tape_of(random_tape(5, 500)), tmp_path)
    run(folder, json_=True)
    assert json.loads(capsys.readouterr().out)["symbol"] == "ETHUSDT"


@pytest.mark.parametrize(
    ("name", "word"),
    [("picture.jpg", ".png"), ("folder.png", "is a folder"), ("file/picture.png", "cannot be written")],
)
def test_a_picture_that_cannot_be_is_refused_before_any_work(tmp_path, name, word):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=word):
        run(tmp_path / "nowhere", plot=tmp_path / name)


@pytest.mark.parametrize("path", ["nowhere", "note.txt"])
def test_a_path_without_market_data_is_refused(tmp_path, path):
    (tmp_path / "note.txt").write_text("nothing of the kind\n")
    with pytest.raises(InputError, match=path):
        run(tmp_path / path)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture_of_gaps_liquidations_and_silence(tmp_path, kind):
    events = random_tape(7, 1_500)
    forced = events[-3:].copy()
    forced["ev"] = LIQUIDATION | SELL
    forced["local_ts"] += 90 * SECOND_NS
    summary = summarise(tape_of(np.concatenate([events, forced]), venue="simulated", symbol=SIMULATED_SYMBOL))
    assert summary.gaps
    target = draw_tape(summary, tmp_path / "new" / f"tape.{kind}")
    first = target.read_bytes()
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert draw_tape(summary, target).read_bytes() == first
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_a_picture_of_next_to_nothing(tmp_path):
    check_target(tmp_path / "a.png")
    for events in (rows((TRADE | BUY, 1, 5, 100, 1)), rows(*book(0)), small().events):
        assert draw_tape(summarise(tape_of(events)), tmp_path / "a.png").stat().st_size > 5_000
