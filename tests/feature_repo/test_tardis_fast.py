"""The byte scanner, the converters and the merge equal the plain oracle bit for bit, on right and on broken lines."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feature_repo.events import BUY, DEPTH_CLEAR, EVENT_DTYPE, GAP, KIND_MASK
from feature_repo.market import tardis
from feature_repo.market.stream import BadRows
from feature_repo.market.tardis import TardisReader
from feature_repo.market.tardis_head import TardisHead
from feature_repo.market.tardis_lines import layout_of
from feature_repo.market.tardis_merge import merge
from feature_repo.market.tardis_scan import LineScanner

from .tardis_plain import BOOK, QUOTES, START_US, TICKER, TRADES, book_header, line, plain_rows

pytestmark = pytest.mark.slow

HEADERS = {
    "trades": TRADES,
    "liquidations": TRADES,
    "derivative_ticker": TICKER,
    "quotes": QUOTES,
    "incremental_book_L2": BOOK,
    "book_snapshot_3": book_header(3),
}

# Times are few, so that many are equal, step back or lie across the limits between day files.
_ms = st.one_of(st.integers(0, 40), st.sampled_from([9_999, 10_000, 10_050, 599_999, 600_100]))
_words = st.sampled_from(
    ["0", "1", "0.1", "3200.55", "9007199254740992", "9007199254740993", "0.30000000000000004", "1e-7", "1E+3", "-1",
     "-0.0001", "nan", "inf", "", ".5", "5.", "1e400", "+1", "1_0", "0x1", "1000000000001", "1000000000000000.5",
     "123456789012345678", "1234567890123456789", "00012.50", "0.0000000000000000001", " 1", "abc", "true", "sell"]
)  # fmt: skip
_decimals = st.decimals(0, 5_000, allow_nan=False, places=3).map(str)
_number = st.one_of(_decimals, _decimals, _decimals, _words)


def _mostly(*usual: str, odd: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*usual] * 8 + [odd])


@st.composite
def _line(draw: st.DrawFn, data_type: str) -> str:
    if data_type in ("trades", "liquidations"):
        name = draw(st.one_of(st.integers(1, 5).map(str), st.sampled_from(["", "a" * 64, "a" * 65, "b" * 65])))
        fields = [name, draw(_mostly("buy", "sell", odd="unknown")), draw(_number), draw(_number)]
    elif data_type == "quotes":
        fields = [draw(_number) for _ in range(4)] if draw(st.booleans()) else draw(
            st.sampled_from([["", "", "3.5", "1"], ["1", "2.5", "", ""], ["", "", "", ""]])
        )  # fmt: skip
    elif data_type == "derivative_ticker":
        due = draw(_mostly("", "1722499200000000", "1722470400000000", odd="9722499200000000"))
        rate = draw(_mostly("", "0.0001", "-0.000044052083333", odd="1e-7"))
        fields = [due, rate, *["1.5"] * 4, draw(_mostly("3200.5", "", "3200.51", odd="-1"))]
    elif data_type == "incremental_book_L2":
        fields = [draw(_mostly("true", "false", odd="1")), draw(_mostly("bid", "ask", odd="buy"))]
        fields += [draw(_number), draw(_number)]
    else:
        asks = sorted(draw(st.lists(st.integers(10, 20), max_size=3, unique=draw(st.booleans()))))
        bids = sorted(draw(st.lists(st.integers(1, 12), max_size=3, unique=True)), reverse=True)
        fields = []
        for n in range(3):
            for side in (asks, bids):
                fields += [str(side[n]), draw(_mostly("0", "1.5", "2", odd=""))] if n < len(side) else ["", ""]
    who = draw(_mostly("binance-futures", odd="binance"))
    return line(draw(_ms), *fields, exchange=who, symbol=draw(_mostly("ETHUSDT", odd="ETHUSDC")))


@st.composite
def _text(draw: st.DrawFn, data_type: str, *, broken: bool = True) -> str:
    """One file: lines in order or not, some of them then damaged byte by byte."""
    lines = draw(st.lists(_line(data_type), max_size=12))
    if draw(st.booleans()):
        lines.sort(key=lambda text: text.split(",")[3])
    if broken and lines:
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(lines) - 1))
            text = lines[at]
            cut = draw(st.integers(0, len(text)))
            head, tail = text[:cut], text[cut:]
            damage = [head, text + ",", head + ";" + tail[1:], head + tail[1:], head + '"' + tail, head + "\xff" + tail]
            lines[at] = draw(st.sampled_from([*damage, lines[0], text + "\r", head + "\r" + tail]))
    return "\n".join([HEADERS[data_type], *lines]) + draw(st.sampled_from(["\n", "\n", ""]))


def _read(folder: Path, chains: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, **options):
    """Rows, bad rows and trades of quantity zero; which file is of which type is not told by the lines here."""
    files, kinds = [], {}
    for data_type, texts in chains.items():
        for day, text in enumerate(texts):
            files.append(folder / f"{day} {data_type}")
            files[-1].write_bytes(text.encode("latin-1"))
            kinds[files[-1]] = data_type, day

    def head(path: Path) -> TardisHead:
        data_type, day = kinds[path]
        return TardisHead(path, data_type, "binance-futures", "ETHUSDT", START_US * 1_000 if day == 0 else 2**62)

    monkeypatch.setattr(tardis, "_head", head)
    reader = TardisReader(files, BadRows(1.0), **options)
    chunks = list(reader.chunks())
    assert all(len(c) for c in chunks)
    assert reader.done == reader.size
    rows = np.concatenate(chunks) if chunks else np.empty(0, EVENT_DTYPE)
    return rows, reader.bad.reasons, reader.facts()["skipped"].get("trade of quantity zero", 0)


def _same(found, wanted) -> None:
    rows, bad, zero = wanted
    assert len(found[0]) == len(rows)
    for name in EVENT_DTYPE.names:
        np.testing.assert_array_equal(found[0][name].view("u8"), rows[name].view("u8"), name)
    assert (dict(found[1]), found[2]) == (dict(bad), zero)


@pytest.mark.parametrize("data_type", HEADERS)
@settings(max_examples=50, deadline=None)
@given(data=st.data(), block=st.sampled_from([1, 100, 1_000, 1 << 20]))
def test_one_type_of_file_equals_the_oracle(tmp_path_factory, data_type, data, block):
    chains = {data_type: data.draw(st.lists(_text(data_type), min_size=1, max_size=2))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tardis, "_BLOCK_BYTES", block)
        found = _read(tmp_path_factory.mktemp("t"), chains, patch)
    _same(found, plain_rows(chains))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), block=st.sampled_from([1, 150, 1 << 20]), plain=st.booleans())
def test_all_types_side_by_side_equal_the_oracle(tmp_path_factory, data, block, plain):
    kinds = data.draw(st.sets(st.sampled_from([*HEADERS]), min_size=2))
    if "incremental_book_L2" in kinds:
        kinds.discard("book_snapshot_3")
    chains = {k: data.draw(st.lists(_text(k, broken=False), min_size=1, max_size=2)) for k in sorted(kinds)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tardis, "_BLOCK_BYTES", block)
        found = _read(tmp_path_factory.mktemp("t"), chains, patch, plain=plain)
    _same(found, plain_rows(chains))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), block=st.sampled_from([1, 300, 1 << 20]))
def test_lost_lines_never_leave_a_wrong_book(tmp_path_factory, data, block):
    """Messages with some of their lines damaged: whenever the tape's book is valid, it is the one of all the lines."""
    change = st.tuples(st.booleans(), st.integers(1, 6), st.integers(0, 2))
    changes_ = st.lists(change, min_size=1, max_size=4, unique_by=lambda c: c[:2])
    whole_ = st.sampled_from([True, False, False, False])
    messages = data.draw(st.lists(st.tuples(whole_, changes_), min_size=1, max_size=12))
    truth: dict[int, dict[tuple[bool, float], float]] = {}
    book: dict[tuple[bool, float], float] = {}
    lines = []
    for ms, (whole, changes) in enumerate(messages):
        book = {} if whole else dict(book)
        for bid, px, qty in changes:
            lines.append(line(ms, str(whole).lower(), "bid" if bid else "ask", px, qty))
            book[bid, px] = qty
        truth[(START_US + ms * 1_000 + 2_000) * 1_000] = book = {level: q for level, q in book.items() if q}
    lost = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=3))
    text = "\n".join([BOOK, *("lost" if n in lost else text for n, text in enumerate(lines)), ""])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tardis, "_BLOCK_BYTES", block)
        rows, bad, _ = _read(tmp_path_factory.mktemp("t"), {"incremental_book_L2": [text]}, patch)
    assert bad.total() == len(lost)
    book, valid = {}, False
    for n, (ev, _, local, px, qty, *_) in enumerate(rows.tolist()):
        kind, bid = ev & KIND_MASK, bool(ev & BUY)
        if kind == DEPTH_CLEAR:
            book = {level: q for level, q in book.items() if level[0] != bid}
            valid = True
        elif kind == GAP:
            valid = False
        else:
            book[bid, px] = qty
        if valid and (n + 1 == len(rows) or rows["local_ts"][n + 1] != local):
            assert {level: q for level, q in book.items() if q} == truth[local]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=5), st.sampled_from([*HEADERS.values()]))
@example([b"binance-futures,ETHUSDT,"], BOOK)
@example([b"binance-futures,ETHUSDT,1722470400000000,1722470400000000,tru"], BOOK)
def test_garbage_is_counted_line_by_line(lines, header):
    scanner = LineScanner(layout_of(header.encode()), "binance-futures", "ETHUSDT")
    block = b"\n".join(lines)
    rows, n, odd = scanner.feed(block)
    assert n == block.count(b"\n") + (not block.endswith(b"\n") and block != b"")
    assert len(rows) + len(odd) == n


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**20 - 1), st.integers(0, 25))
def test_every_decimal_is_the_nearest_float(mantissa, places):
    digits = str(mantissa).rjust(places + 1, "0")
    text = digits[: len(digits) - places] + ("." + digits[len(digits) - places :] if places else "")
    scanner = LineScanner(layout_of(TICKER.encode()), "binance-futures", "ETHUSDT")
    rows, _, _ = scanner.feed((line(0, "", "-" + text, "", "", "", "", "1") + "\n").encode())
    assert rows.values[0, 1] == -float(text)


def test_decimals_around_the_largest_exact_mantissa_are_the_nearest_floats():
    """From 2**53 on the two roundings of a division would show in about one number of ten."""
    chance = random.Random(3)
    texts = [f"{chance.randrange(2**53 - 10, 10**18)}" for _ in range(2_000)]
    texts += [f"{chance.randrange(2**53 - 100, 2**53 + 100)}" for _ in range(1_000)]
    texts = [f"{t[:cut]}.{t[cut:]}" for t in texts for cut in [chance.randint(1, len(t) - 1)]]
    scanner = LineScanner(layout_of(TICKER.encode()), "binance-futures", "ETHUSDT")
    block = "".join(line(0, "", t, "", "", "", "", "1") + "\n" for t in texts)
    rows, _, odd = scanner.feed(block.encode())
    assert not odd
    assert rows.values[:, 1].tolist() == [float(t) for t in texts]


def test_the_scanner_leaves_nothing_usual_to_plain_python(monkeypatch):
    def fail(*_):
        raise AssertionError("a usual line went to plain Python")

    monkeypatch.setattr("feature_repo.market.tardis_scan.read_line", fail)
    usual = {
        "trades": line(1, "4611686018427387904", "sell", "3200.01", "0.5"),
        "liquidations": line(1, "", "buy", "3200.01", "0.5"),
        "incremental_book_L2": line(1, "false", "bid", "3200", "0"),
        "quotes": line(1, "1.5", "3200.1", "", ""),
        "derivative_ticker": line(1, "1722499200000000", "-0.00004405208333333333", "", "", "1", "1", "3200.55"),
        "book_snapshot_3": line(1, "3", "1", "2", "1", *[""] * 8) + "\r",
    }
    for data_type, text in usual.items():
        scanner = LineScanner(layout_of(HEADERS[data_type].encode()), "binance-futures", "ETHUSDT")
        rows, lines, odd = scanner.feed(f"{text}\n".encode())
        assert (len(rows), lines, odd) == (1, 1, [])


_times = st.lists(st.integers(0, 12), max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(_times, max_size=4), st.data())
def test_merge_is_a_stable_sort_whatever_the_blocks(streams, data):
    sources, wanted = [], []
    for k, times in enumerate(streams):
        rows = np.zeros(len(times), EVENT_DTYPE)
        rows["local_ts"], rows["order_id"], rows["ival"] = sorted(times), k, np.arange(len(times))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(times)), max_size=4)))
        sources.append(iter([part for part in np.split(rows, cuts) if len(part)]))
        wanted.append(rows)
    chunks = list(merge(sources))
    assert all(len(c) for c in chunks)
    whole = np.concatenate([np.empty(0, EVENT_DTYPE), *wanted])
    found = np.concatenate([np.empty(0, EVENT_DTYPE), *chunks])
    assert found.tobytes() == whole[np.argsort(whole["local_ts"], kind="stable")].tobytes()


def test_merge_reads_no_stream_further_than_it_must():
    taken = []

    def blocks(k: int):
        for n in range(100):
            taken.append((k, n))
            rows = np.zeros(10, EVENT_DTYPE)
            rows["local_ts"] = np.arange(10 * n, 10 * n + 10)
            yield rows

    stream = merge([blocks(0), blocks(1)])
    for _ in range(20):
        next(stream)
    ahead = max(n for k, n in taken if k == 0) - max(n for k, n in taken if k == 1)
    assert abs(ahead) <= 1
    assert len(taken) < 60


def test_packed_and_plain_files_give_the_same_rows(tmp_path):
    lines = [line(n, n, "buy", f"{3_000 + n / 100:.2f}", "0.001") for n in range(5_000)]
    text = "\n".join([TRADES, *lines, ""]).encode()
    (tmp_path / "a.csv").write_bytes(text)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text))
    rows = [np.concatenate(list(TardisReader([f], BadRows()).chunks())) for f in sorted(tmp_path.iterdir())]
    assert rows[0].tobytes() == rows[1].tobytes()
    assert len(rows[0]) == 5_000
