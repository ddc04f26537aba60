"""Blocks of lines: the compiled path equals the parser bit for bit, and both make the book that the rule makes."""

from __future__ import annotations

import gzip
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feature_repo.errors import InputError
from feature_repo.events import EVENT_DTYPE
from feature_repo.market import binance_lines, sequence
from feature_repo.market.binance import FEED_LOST, BinanceParser
from feature_repo.market.binance_book import parsed
from feature_repo.market.binance_lines import BinanceLines

from .binance_oracle import SYMBOLS, DictBook, RowBook, damage, session

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[3] / "shared" / "data"
PLAIN = sys.maxsize
BOOKS = {
    "a snapshot at first": {},
    "none": {"snapshots": ()},
    "a late one": {"snapshots": (40,)},
    "several, and gaps": {"snapshots": (5, 20, 25, 50), "gaps": 0.15},
}
"""When the book of a made-up session is valid."""


def read(blocks, plain_below=0, unit_ns=1, digits=19):
    """Everything that a reader of these blocks gets to see."""
    parser = BinanceParser()
    lines = BinanceLines(parser, plain_below=plain_below)
    rows, bad, n, stopped = [], [], 0, None
    for block in blocks:
        try:
            report = lines.feed(block, unit_ns=unit_ns, digits=digits)
        except InputError as error:
            stopped = (n + lines.line, str(error))
            rows.append(lines.take())
            break
        bad += [(n + at, reason) for at, reason in report.bad]
        n += report.lines
        rows.append(lines.take())
    account = (
        n,
        stopped,
        bad,
        parser.venue,
        parser.symbol,
        dict(parser.messages),
        dict(parser.skipped),
        dict(parser.bad_rows),
        dict(parser.depth),
        parser.trade_ids_missing,
        parser.progress(),
        # What the next snapshot would find.
        [parsed(diff) for diff in parser._book.sequence.snapshot(2**62) or ()],
    )
    return np.concatenate([np.empty(0, EVENT_DTYPE), *rows]), account


def assert_same(blocks, **form):
    fast_rows, fast = read(blocks, 0, **form)
    plain_rows, plain = read(blocks, PLAIN, **form)
    assert fast == plain
    assert fast_rows.tobytes() == plain_rows.tobytes()
    return plain_rows, plain


def blocks_of(data, size):
    at = 0
    while at < len(data):
        end = data.find(b"\n", min(at + size, len(data)) - 1) + 1 or len(data)
        yield data[at:end]
        at = end


# --- real recordings -----------------------------------------------------------------------------------------------


USDM = "binance_usdm_ethusdt/ethusdt_", {"unit_ns": 1, "digits": 19}
SPOT = "binance_spot_nexousdt/nexousdt_", {"unit_ns": 1_000, "digits": 16}


@pytest.fixture(
    scope="module",
    params=[
        (USDM, "*", 69_000),
        (USDM, "20240718", 14_000),
        (USDM, "20240719", 55_000),  # without a snapshot
        (SPOT, "*", 160_000),
        (SPOT, "20240723", 1_800),
        (SPOT, "20240724", 112_000),  # without one too
        (SPOT, "20240725", 52_000),
    ],
    ids=lambda p: Path(p[0][0]).name + p[1],
)
def real(request):
    """A whole recording, or one of its files alone."""
    (prefix, form), day, at_least = request.param
    files = sorted(DATA.glob(f"{prefix}{day}.*gz"))
    if not files:
        pytest.skip(f"the recordings of {DATA / prefix} are not here")
    data = b"".join(gzip.decompress(f.read_bytes()) for f in files)
    assert data.count(b"\n") > at_least
    return [*blocks_of(data, 1 << 20)], form


@pytest.mark.slow
def test_real_recordings_read_the_same_both_ways(real):
    blocks, form = real
    rows, account = assert_same(blocks, **form)
    assert len(rows) > account[0] / 4
    assert account[1] is None
    assert account[2] == []


def test_nearly_every_real_line_is_plain(real, monkeypatch):
    """Else the kernel would be of no use, and the tests above would prove nothing."""
    blocks, form = real
    asked = parses(monkeypatch)
    read(blocks, 0, **form)
    assert len(asked) < 50


def parses(monkeypatch):
    """One entry for each line that the parser gets from now on."""
    asked, parse = [], BinanceParser.parse
    monkeypatch.setattr(BinanceParser, "parse", lambda self, *a: asked.append(1) or parse(self, *a))
    return asked


# --- made-up and damaged ones --------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", SYMBOLS)
@pytest.mark.parametrize("blanks", [False, True])
@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("book", [{}, {"snapshots": ()}, {"snapshots": (200,)}, {"gaps": 0.01}])
def test_a_whole_session_is_read_by_the_kernel(venue, blanks, wrap, book, monkeypatch):
    lines = session(random.Random(1), venue, 400, wrap=wrap, blanks=blanks, **book)
    block = b"\n".join(lines) + b"\n"
    rows, account = assert_same([block])
    assert account[2] == []
    assert len(rows) > (500 if not book else 200)
    asked = parses(monkeypatch)
    read([block])
    # Liquidations, mark prices, candles, empty trades and the first lines are for the parser.
    assert len(asked) < 0.25 * len(lines)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    venue=st.sampled_from(sorted(SYMBOLS)),
    times=st.integers(0, 60),
    wrap=st.booleans(),
    book=st.sampled_from(sorted(BOOKS)),
    size=st.sampled_from([1, 300, 4_000, 10**9]),
    ended=st.booleans(),
)
@example(seed=0, venue="usdm", times=0, wrap=True, book="a snapshot at first", size=10**9, ended=True)
def test_damaged_recordings_read_the_same_both_ways_and_make_the_right_book(
    seed, venue, times, wrap, book, size, ended
):
    rng = random.Random(seed)
    lines = damage(rng, session(rng, venue, 60, wrap=wrap, blanks=rng.random() < 0.2, **BOOKS[book]), times)
    data = b"\n".join(lines) + b"\n" * ended
    assert_same([*blocks_of(data, size)])

    # The book, line by line.
    parser = BinanceParser()
    reader, mine, theirs = BinanceLines(parser, plain_below=0), RowBook(), DictBook(venue)
    for line in data.split(b"\n"):
        try:
            reader.feed(line + b"\n", unit_ns=1, digits=19)
        except InputError:
            return
        mine.take(reader.take())
        if parser.symbol not in (None, SYMBOLS[venue]) or (parser.venue or venue).split("_")[-1] != venue:
            return  # the first name of all was damaged: another recording
        theirs.take(line)
        theirs.note(parser.progress().local_ns, parser.progress().exch_ns)
        if mine.valid or theirs.valid:
            assert mine.valid == theirs.valid, line
            assert mine.sides == theirs.sides, line


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    venue=st.sampled_from(sorted(SYMBOLS)),
    book=st.sampled_from(sorted(BOOKS)),
    size=st.sampled_from([1, 4_000, 10**9]),
)
def test_a_lost_feed_reads_the_same_both_ways(seed, venue, book, size):
    rng = random.Random(seed)
    lines = session(rng, venue, 60, **BOOKS[book])
    for _ in range(4):
        at = rng.randrange(1, len(lines))
        lines.insert(at, lines[at - 1][:19] + b" " + FEED_LOST)
    _, account = assert_same([*blocks_of(b"\n".join(lines) + b"\n", size)])
    assert account[5]["feed lost"] == 4


@settings(max_examples=60, deadline=None)
@given(data=st.data(), venue=st.sampled_from(sorted(SYMBOLS)), book=st.sampled_from(sorted(BOOKS)))
def test_diffs_lost_repeated_and_reordered_make_the_right_book(data, venue, book):
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    lines = session(rng, venue, 60, **BOOKS[book])
    order = [k + rng.choice([0, 0, 0, 0, 1.5, 2.5]) for k in range(len(lines))]
    lines = [lines[k] for k in sorted(range(len(lines)), key=order.__getitem__) if rng.random() > 0.05]
    lines = [line for line in lines for _ in range(1 + (rng.random() < 0.1))]
    rows, _ = assert_same([b"".join(line + b"\n" for line in lines)])
    mine, theirs = RowBook(), DictBook(venue)
    mine.take(rows)
    local_ns = 0
    for line in lines:
        theirs.note(local_ns)
        theirs.take(line)
        local_ns = max(local_ns, int(line[:19]))
    assert mine.valid == theirs.valid
    assert not mine.valid or mine.sides == theirs.sides


@pytest.mark.parametrize("venue", SYMBOLS)
@pytest.mark.parametrize("size", [1_000, 10**9])
def test_held_diffs_are_bounded_and_continue_a_late_snapshot(venue, size, monkeypatch):
    monkeypatch.setattr(sequence, "_HELD", 7)
    lines = session(random.Random(3), venue, 300, snapshots=(250,))
    data = b"\n".join(lines) + b"\n"
    rows, account = assert_same([*blocks_of(data, size)])
    depth = account[8]
    assert depth["depth_before_snapshot"] > 80
    assert 0 < depth["depth_replayed"] <= 7
    assert depth["depth_replayed"] + depth["depth_stale"] == 7
    mine, theirs = RowBook(), DictBook(venue)
    mine.take(rows)
    for line in lines:
        theirs.take(line)
        theirs.note(int(line[:19]))
    assert (mine.valid, mine.sides) == (True, theirs.sides)


_DEPTH = (
    b'{"e":"depthUpdate","E":%d,"T":%d,"s":"ETHUSDT","U":%d,"u":%d,"pu":%d,"b":[["3400.00","1"]],"a":[["3401","2"]]}'
)
_QUOTE = b'{"e":"bookTicker","u":1,"s":"ETHUSDT","b":"1","B":"1","a":"2","A":"1","T":%d,"E":1}'
_TRADE = b'{"e":"%s","E":1,"T":%d,"s":"ETHUSDT","%s":%d,"p":"3400","q":"1","X":"MARKET","m":true}'


@pytest.mark.parametrize("book", [{}, {"snapshots": ()}])
@pytest.mark.parametrize(
    "change",
    [
        lambda m: m,
        lambda m: m.replace(b',"s"', b',"s":"ETHUSDT","s"'),
        lambda m: m.replace(b',"s"', b',"T":1,"s"'),
        lambda m: m.replace(b',"s"', b',"b":"1","s"'),
        lambda m: m.replace(b',"s"', b',"e":"trade","s"'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","st":1,"nq":"x","xx":false'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","x":null'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","x":{}'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","stream":"ethusdt@depth5"'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","x":"\\u0041"'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","x":"\xff"'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","x":"\t"'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","x":1.5'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ETHUSDT","x":01'),
        lambda m: m.replace(b'"s":"ETHUSDT"', b'"s":"ethusdt"'),
        lambda m: m.replace(b',"s":"ETHUSDT"', b""),
        lambda m: m.replace(b'"T"', b'"t"'),
        lambda m: m + b"}",
        lambda m: m + b"x",
        lambda m: m + b"\r",
        lambda m: m + b" ",
        lambda m: m[:-1],
        lambda m: m[:-1] + b",}",
        lambda m: b" " + m,
        lambda m: b"[" + m + b"]",
        lambda m: m.replace(b'"3400', b'"0'),
        lambda m: m.replace(b'"3400', b'"1000000000001'),
        lambda m: m.replace(b'"1"', b'"1000000000000001"'),
        lambda m: m.replace(b'"1"', b'"0"'),
        lambda m: m.replace(b'"1"', b"1"),
        lambda m: m.replace(b"MARKET", b"ADL"),
        lambda m: m.replace(b"true", b"null"),
        lambda m: m.replace(b'["3400.00","1"]', b""),
        lambda m: m.replace(b'["3400.00","1"]', b'["3400.00","1"],'),
        lambda m: m.replace(b'["3400.00","1"]', b'["3400.00","1","1"]'),
        lambda m: m.replace(b'"a":[', b'"a":[["3402","1"]],"a":['),
        *(
            lambda m, name=name: b'{"stream":"' + name + b'","data":' + m + b"}"
            for name in [
                b"ethusdt@depth",
                b"ethusdt@depth@100ms",
                b"ethusdt@depth5",
                b"ethusdt@depth20@100ms",
                b"ethusdt@rpiDepth@500ms",
                b"ethusdt@depth@depth5",
                b"ethusdt@depth@0ms@depth10@1",
                b"@depth",
                b"",
                b"x",
            ]
        ),
        lambda m: b'{"stream":"x","data":' + m,
        lambda m: b'{"stream":"x","data":' + m + b',"data":{}}',
        lambda m: b'{"data":' + m + b',"stream":"ethusdt@depth5"}',
    ],
)
def test_lines_that_look_plain_and_are_not(change, book):
    """Where the kernel took what the parser does not take, or the other way round, the rows would differ."""
    good = session(random.Random(6), "usdm", 40, **book)
    _, account = read([b"\n".join(good) + b"\n"])
    now = account[-2]
    ms, last = now.exch_ns // 10**6 + 1, now.book_id
    name = b"t" if now.trade_kind == "trade" else b"a"
    other, other_name = (b"aggTrade", b"a") if name == b"t" else (b"trade", b"t")
    messages = [
        *(
            _DEPTH % (ms, ms, first, final, previous)
            for first, final, previous in [
                (last + 1, last + 5, last),
                (last + 5, last + 1, last),
                (last + 1, last + 5, last - 1),
                (last - 5, last, last),
                (last - 5, last - 1, last),
                (last + 1, last + 2**62, last),
            ]
        ),
        _DEPTH % (ms, now.book_exch_ns // 10**6, last, last, last),
        _DEPTH % (ms, now.book_exch_ns // 10**6 - 1, last, last, last),
        _DEPTH % (ms, ms + 86_400_000, last + 1, last + 5, last),
        _QUOTE % ms,
        _QUOTE % (ms - 86_400_001),
        *(_TRADE % (now.trade_kind.encode(), ms, name, now.trade_id + more) for more in (1, 0, -1, 7)),
        _TRADE % (other, ms, other_name, 1),
        b'{"u":1,"s":"ETHUSDT","b":"1","B":"1","a":"2","A":"1"}',
        b'{"s":"ETHUSDT","b":"1","B":"1","a":"2","A":"1"}',
        b'{"e":"bookTicker","u":1,"s":"ETHUSDT","b":"1","B":"1","a":"2","A":"1"}',
    ]
    for k, message in enumerate(messages):
        line = b"%d %s\n" % (now.local_ns + k, change(message))
        tail = b"%d %s\n" % (now.local_ns + 100, _QUOTE % ms)
        assert_same([b"\n".join(good) + b"\n" + line + tail])


@pytest.mark.parametrize(
    "stamp", ["0721347200700000039", "9721347200700000039", "x721347200700000039", "172134720070000"]
)
def test_stamps_that_are_no_time(stamp):
    good = session(random.Random(6), "usdm", 40)
    line = stamp.encode() + b" " + _QUOTE % (int(good[-1][:19]) // 10**6)
    _, account = assert_same([b"\n".join([*good, line, good[-1]])])
    assert [at for at, _ in account[2]][:1] == [len(good) + 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_at_all(lines):
    good = session(random.Random(2), "usdm", 30)
    assert_same([b"\n".join([*good, *lines, *good[-3:]])])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 3_000))
def test_where_blocks_are_cut_makes_no_difference(seed, size):
    data = b"\n".join(session(random.Random(seed), "spot", 80)) + b"\n"
    whole_rows, whole_account = read([data])
    rows, account = read([*blocks_of(data, size)])
    assert account == whole_account
    assert rows.tobytes() == whole_rows.tobytes()


def test_rows_that_fill_their_memory_go_on_in_the_next(monkeypatch):
    data = b"\n".join(session(random.Random(3), "usdm", 300)) + b"\n"
    expected = read([data], PLAIN)
    monkeypatch.setattr(binance_lines, "_MIN_ROWS", 11)
    monkeypatch.setattr(binance_lines, "_BYTES_A_ROW", 10**9)
    rows, account = read([data])
    assert account == expected[1]
    assert rows.tobytes() == expected[0].tobytes()


def test_a_line_that_cannot_be_read_is_counted_with_its_number():
    good = session(random.Random(4), "usdm", 40)
    lines = [*good[:20], b"", b"x" + good[20], good[20][:60], good[20][:18] + good[20][19:], *good[20:]]
    for plain_below in (0, PLAIN):
        _, account = read([b"\n".join(lines) + b"\n"], plain_below)
        digits = "local_ts is no whole number of 19 digits"
        assert account[0] == len(lines)
        assert account[2] == [(22, digits), (23, "the message is no JSON"), (24, digits)]


def test_the_line_at_fault_is_known_when_the_recording_is_refused():
    good = session(random.Random(5), "usdm", 40)
    stamp = good[-1].partition(b" ")[0]
    quote = b'{"e":"bookTicker","u":9,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1","T":%d}' % (int(stamp) // 10**6)
    for plain_below in (0, PLAIN):
        _, account = read([b"\n".join([*good, stamp + b" " + quote, *good])], plain_below)
        assert account[1][0] == len(good) + 1
        assert "BTCUSDT" in account[1][1]
