"""The real ETHUSDT recording written as Tardis CSV: we read its own rows again, and hftbacktest reads the same."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    KIND_MASK,
    LOCAL,
    TRADE,
)
from feature_repo.market.stream import BadRows
from feature_repo.market.tape import read_tape
from feature_repo.market.tardis import TardisReader

from .tardis_plain import BOOK, QUOTES, TRADES, plain_rows

DATA = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"
PACE_NS = 100_000_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real recording is not at {DATA}"),
]


def kinds(rows: np.ndarray) -> np.ndarray:
    """Kind of each row."""
    return (rows["ev"] & np.uint64(KIND_MASK)).astype(np.int64)


@pytest.fixture(scope="module")
def tape() -> np.ndarray:
    """Rows of the recording with times in whole us, as Tardis keeps them, without its clearing rows."""
    rows = read_tape(DATA).events.copy()
    for name in ("exch_ts", "local_ts"):
        rows[name] -= rows[name] % 1_000
    return rows


@pytest.fixture(scope="module")
def texts(tape: np.ndarray) -> dict[str, str]:
    """The recording as Tardis would write it."""
    kind = kinds(tape)
    lines: dict[str, list[str]] = {"trades": [TRADES], "incremental_book_L2": [BOOK], "quotes": [QUOTES]}
    bid: tuple[float, float] = (0.0, 0.0)
    for n, (k, row) in enumerate(zip(kind.tolist(), tape.tolist(), strict=True)):
        ev, exch, local, px, qty = row[:5]
        head = f"binance-futures,ETHUSDT,{exch // 1_000},{local // 1_000}"
        first = bool(ev & BUY)
        if k == TRADE:
            lines["trades"].append(f"{head},{n},{'buy' if first else 'sell'},{px!r},{qty!r}")
        elif k in (DEPTH, DEPTH_SNAPSHOT):
            whole = "true" if k == DEPTH_SNAPSHOT else "false"
            lines["incremental_book_L2"].append(f"{head},{whole},{'bid' if first else 'ask'},{px!r},{qty!r}")
        elif k == DEPTH_BBO and first:
            bid = px, qty
        elif k == DEPTH_BBO:
            lines["quotes"].append(f"{head},{qty!r},{px!r},{bid[0]!r},{bid[1]!r}")
    return {name: "\n".join([*found, ""]) for name, found in lines.items()}


@pytest.fixture(scope="module")
def folder(texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, named as Tardis' client names them."""
    out = tmp_path_factory.mktemp("tardis")
    for name, text in texts.items():
        packed = gzip.compress(text.encode(), 1)
        (out / f"binance-futures_{name}_2024-07-19_ETHUSDT.csv.gz").write_bytes(packed)
    return out


@pytest.fixture(scope="module")
def ours(folder: Path) -> np.ndarray:
    """Rows of all files."""
    bad = BadRows()
    rows = np.concatenate(list(TardisReader(sorted(folder.iterdir()), bad).chunks()))
    assert not bad.reasons
    return rows


def test_the_recording_comes_back_row_for_row(tape, ours):
    place = np.where(kinds(tape) == TRADE, 0, np.where(kinds(tape) == DEPTH_BBO, 1, 2))
    wanted = tape[np.lexsort((place, tape["local_ts"]))]
    assert len(ours) == len(wanted) > 200_000
    for name in EVENT_DTYPE.names:
        np.testing.assert_array_equal(ours[name], wanted[name], name)


def test_the_begin_of_each_file_equals_the_oracle(texts, tmp_path):
    begins = {name: "\n".join([*text.splitlines()[:20_000], ""]) for name, text in texts.items()}
    for name, text in begins.items():
        (tmp_path / name).write_text(text)
    rows, bad, zero = plain_rows({name: [text] for name, text in begins.items()})
    assert not bad
    assert zero == 0
    found = np.concatenate(list(TardisReader([*tmp_path.iterdir()], BadRows()).chunks()))
    assert found.tobytes() == rows.tobytes()


@pytest.fixture(scope="module")
def theirs(folder: Path) -> np.ndarray:
    """hftbacktest's conversion of trades and depth."""
    from hftbacktest.data.utils import tardis

    files = [str(f) for name in ("trades", "incremental_book_L2") for f in folder.glob(f"*{name}*")]
    return tardis.convert(files, buffer_size=1_000_000, ss_buffer_size=100_000)


@pytest.mark.slow
def test_trades_and_depth_changes_are_those_of_hftbacktest(ours, theirs):
    seen = theirs[theirs["ev"] & np.uint64(LOCAL) != 0]
    for kind in (TRADE, DEPTH, DEPTH_SNAPSHOT):
        a, b = ours[kinds(ours) == kind], seen[kinds(seen) == kind]
        if kind == DEPTH_SNAPSHOT:  # theirs are all bids, then all asks, as ours are in this recording
            assert len(a) == 2_000
        assert len(a) == len(b) > 0
        for name in ("exch_ts", "px", "qty"):
            np.testing.assert_array_equal(a[name], b[name], f"{kind} {name}")
        np.testing.assert_array_equal(a["ev"] & np.uint64(BUY), b["ev"] & np.uint64(BUY))
        # Their clock constant moves all rows by the same.
        assert len(np.unique(b["local_ts"] - a["local_ts"])) == 1


@pytest.mark.slow
def test_best_quotes_at_every_100_ms_are_those_of_hftbacktest(ours, theirs):
    seen = theirs[theirs["ev"] & np.uint64(LOCAL) != 0].copy()
    seen["local_ts"] -= seen["local_ts"][kinds(seen) == TRADE][0] - ours["local_ts"][kinds(ours) == TRADE][0]
    a, b = best_at_pace(ours), best_at_pace(seen)
    assert len(a) > 4_700
    assert a == b


def best_at_pace(rows: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Best bid and ask with their sizes at every 100 ms, of a book in two dicts.

    hftbacktest clears a side only as far as the snapshot reaches, ours whole: DEPTH_CLEAR with a price, or with none.
    """
    book: list[dict[float, float]] = [{}, {}]
    out = []
    due = int(rows["local_ts"][0]) // PACE_NS * PACE_NS + PACE_NS
    for kind, (ev, _, local, px, qty, *_) in zip(kinds(rows).tolist(), rows.tolist(), strict=True):
        while local >= due:
            if book[0] and book[1]:
                bid, ask = max(book[0]), min(book[1])
                out.append((bid, book[0][bid], ask, book[1][ask]))
            due += PACE_NS
        side = 0 if ev & BUY else 1
        if kind == DEPTH_CLEAR:
            farther = [p for p in book[side] if px and (p < px if side == 0 else p > px)]
            book[side] = {p: book[side][p] for p in farther}
        elif kind in (DEPTH, DEPTH_SNAPSHOT):
            if qty:
                book[side][px] = qty
            else:
                book[side].pop(px, None)
    return out


# Not ru_maxrss: after fork and exec it begins with the peak of the process that started this one.
_PEAK = r"""
import re, sys
from pathlib import Path
from feature_repo.market.stream import BadRows
from feature_repo.market.tardis import TardisReader
n = sum(len(c) for c in TardisReader([Path(p) for p in sys.argv[1:]], BadRows()).chunks())
print(n, re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_files(folder, tmp_path):
    """Eight copies of the recording, one after the other in time, against one."""
    whole = {n: gzip.decompress(next(folder.glob(f"*{n}*")).read_bytes()) for n in ("quotes", "incremental_book_L2")}
    peaks, files = [], []
    for copy in range(8):
        # All of the recording lies within the thousand seconds that begin so; the last of a copy is before its end.
        shifted = {name: text.replace(b",1721347", b",%d" % (1_721_347 + copy)) for name, text in whole.items()}
        for name, text in shifted.items():
            files.append(tmp_path / f"{copy} {name}")
            files[-1].write_bytes(text)
        if copy in (0, 7):
            command = [sys.executable, "-c", _PEAK, *map(str, files)]
            rows, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            peaks.append(int(peak))
            assert int(rows) > 150_000 * (copy + 1)
    assert peaks[1] <= 1.2 * peaks[0]
