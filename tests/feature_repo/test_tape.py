"""Tapes on disk."""

from __future__ import annotations

import gzip
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.market.tape import Tape, open_stream, open_tape, read_tape, write_stream

from .readers import messages
from .small_tape import START, small


def digest(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_round_trip_by_utc_day_with_manifest(tmp_path):
    tape = small(warnings=["odd"], clock={"offset_ns": 3})
    folder = write_stream(tape, tmp_path)
    assert folder == tmp_path / "binance_usdm" / "ETHUSDT"
    assert sorted(p.name for p in folder.iterdir()) == ["2024-07-18.parquet", "2024-07-19.parquet", "manifest.json"]
    assert [p.name for p in folder.parent.iterdir()] == ["ETHUSDT"]
    back = read_tape(folder)
    np.testing.assert_array_equal(back.events, tape.events)
    assert back.events.flags.writeable
    m = back.manifest
    assert m["counts"] == {
        "depth": 1,
        "trade": 2,
        "depth_clear": 2,
        "depth_snapshot": 2,
        "best_quote": 1,
        "liquidation": 1,
        "funding": 1,
        "gap": 1,
    }
    assert (m["rows"], m["gaps"], m["warnings"], m["clock"]) == (11, 1, ["odd"], {"offset_ns": 3})
    assert {name: d["rows"] for name, d in m["days"].items()} == {"2024-07-18.parquet": 9, "2024-07-19.parquet": 2}
    assert (m["first_local_ns"], m["last_exch_ns"]) == (START + 5, START + SECOND_NS + 9)
    assert back.span_ns == (START + 5, START + SECOND_NS + 8)
    assert back.instrument.tick == 0.01
    assert not back.simulated


def test_writing_twice_gives_the_same_bytes_and_leaves_no_old_day(tmp_path):
    folder = write_stream(small(), tmp_path)
    first = digest(folder)
    assert digest(write_stream(read_tape(folder), tmp_path)) == first
    tape = small()
    short = Tape(tape.venue, tape.symbol, tape.events[:4], {})
    assert sorted(digest(write_stream(short, tmp_path))) == ["2024-07-18.parquet", "manifest.json"]
    assert len(read_tape(folder).events) == 4


def test_one_day_alone_and_a_root_of_one_tape(tmp_path):
    folder = write_stream(small(), tmp_path)
    day = read_tape(folder / "2024-07-19.parquet")
    assert (day.venue, day.symbol, len(day.events), day.manifest["counts"]) == (
        "binance_usdm",
        "ETHUSDT",
        2,
        {"funding": 1, "trade": 1},
    )
    assert read_tape(tmp_path).symbol == read_tape(tmp_path / "binance_usdm").symbol == "ETHUSDT"
    write_stream(small("BTCUSDT"), tmp_path)
    with pytest.raises(InputError, match=r"holds 2 tapes \(binance_usdm/BTCUSDT, binance_usdm/ETHUSDT\)"):
        read_tape(tmp_path)
    assert read_tape(tmp_path, symbol="BTCUSDT").symbol == "BTCUSDT"
    with pytest.raises(InputError, match=r"holds ETHUSDT\. Expected symbol BTCUSDT"):
        read_tape(folder, symbol="BTCUSDT")
    with pytest.raises(InputError, match=r"is of venue binance_usdm\. Expected venue bybit"):
        read_tape(folder, venue="bybit")


def test_simulated_data_says_so_everywhere(tmp_path):
    folder = write_stream(small(SIMULATED_SYMBOL, "simulated"), tmp_path)
    assert json.loads((folder / "manifest.json").read_text())["simulated"] is True
    assert read_tape(folder).simulated
    one = read_tape(folder / "2024-07-18.parquet")
    assert one.simulated
    assert one.manifest["simulated"] is True


def edit_manifest(folder, without="", **changes):
    path = folder / "manifest.json"
    edited = {**json.loads(path.read_text()), **changes}
    edited.pop(without, None)
    path.write_text(json.dumps(edited))


def rewrite_day(folder, change, *, keep_hash=True):
    """Change one day's table, with or without making the manifest agree."""
    path = folder / "2024-07-19.parquet"
    table = change(pq.read_table(path))
    pq.write_table(table, path)
    if keep_hash:
        days = json.loads((folder / "manifest.json").read_text())["days"]
        days[path.name] = {"rows": table.num_rows, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        edit_manifest(folder, days=days)


DAMAGE = {
    "counts": (lambda f: edit_manifest(f, counts={"trade": 9}), r"Expected \{'trade': 9\}, as in manifest.json"),
    "schema": (lambda f: edit_manifest(f, schema="x"), "has schema 'x'"),
    "no json": (lambda f: (f / "manifest.json").write_text("{"), "manifest.json cannot be read"),
    "days": (lambda f: edit_manifest(f, days=[3]), "field 'days' is damaged"),
    "a day": (lambda f: edit_manifest(f, days={"2024-07-18.parquet": {"rows": 9}}), "field 'days' is damaged"),
    "field": (lambda f: (f / "manifest.json").write_text('{"schema": "ofi-meta tape 1"}'), "lacks the field 'venue'"),
    "span": (lambda f: edit_manifest(f, without="last_local_ns"), "lacks the field 'last_local_ns'"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"holds \.parquet files without manifest.json"),
    "day gone": (
        lambda f: (f / "2024-07-18.parquet").unlink(),
        "holds 2024-07-19.parquet. Expected 2024-07-18.parquet",
    ),
    "symbol": (lambda f: edit_manifest(f, symbol="BTCUSDT"), "is of ETHUSDT. Expected BTCUSDT"),
    "unknown symbol": (lambda f: edit_manifest(f, symbol="FOO"), "unknown symbol 'FOO'"),
    "cut": (lambda f: (f / "2024-07-19.parquet").write_bytes(b"PAR1xx"), "2024-07-19.parquet cannot be read"),
    "column": (lambda f: rewrite_day(f, lambda t: t.drop_columns(["qty"])), "is no tape: qty double differs"),
    "type": (lambda f: rewrite_day(f, lambda t: t.set_column(3, "px", t["px"].cast("float32"))), "px float differs"),
    "rows": (lambda f: rewrite_day(f, lambda t: t.slice(1), keep_hash=False), "has 1 rows. Expected 2, as in manifest"),
    "changed": (lambda f: rewrite_day(f, lambda t: t.take([1, 1]), keep_hash=False), "was changed: its sha256 is new"),
    "order": (lambda f: rewrite_day(f, lambda t: t.take([1, 0])), "goes back in local_ts at row 10"),
    "kind": (
        lambda f: rewrite_day(
            f, lambda t: t.set_column(0, t.schema.field(0), [t["ev"].to_numpy() * 0 + np.uint64(77)])
        ),
        "event kind 77 in column ev",
    ),
    "no rows": (lambda f: rewrite_day(f, lambda t: t.slice(2)), "2024-07-19.parquet has no rows or empty cells"),
    "empty cell": (
        lambda f: rewrite_day(f, lambda t: t.set_column(4, t.schema.field(4), [[1.0, None]])),
        "2024-07-19.parquet has no rows or empty cells",
    ),
    "metadata": (lambda f: rewrite_day(f, lambda t: t.replace_schema_metadata({})), "does not say which contract"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_tape_is_refused(tmp_path, case):
    folder = write_stream(small(), tmp_path)
    harm, message = DAMAGE[case]
    harm(folder)
    with pytest.raises(InputError, match=message):
        read_tape(folder)


def test_anything_else_is_named_with_what_is_accepted(tmp_path):
    accepts = "Expected a tape folder"
    with pytest.raises(InputError, match=f"nowhere does not exist. {accepts}"):
        read_tape(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"holds no market data, only nothing. {accepts}"):
        read_tape(tmp_path)
    (tmp_path / "notes.txt").write_text("a\n")
    with pytest.raises(InputError, match=f"only notes.txt. {accepts}"):
        read_tape(tmp_path)
    with pytest.raises(InputError, match=f"notes.txt, line 1 is 'a'. {accepts}"):
        read_tape(tmp_path / "notes.txt")
    (tmp_path / "x.bin").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=f"x.bin, line 1 is 'binary data'. {accepts}"):
        read_tape(tmp_path / "x.bin")
    with pytest.raises(InputError, match=r"x.bin is no tape. Expected a tape folder .* exactly one tape\. Import it"):
        open_tape(tmp_path / "x.bin")


def test_write_refuses_what_is_no_tape_and_what_is_not_its_own(tmp_path):
    tape = small()
    with pytest.raises(InputError, match="has no rows"):
        write_stream(Tape(tape.venue, tape.symbol, tape.events[:0], {}), tmp_path)
    with pytest.raises(InputError, match="goes back in local_ts at row 1"):
        write_stream(Tape(tape.venue, tape.symbol, tape.events[::-1], {}), tmp_path)
    with pytest.raises(InputError, match=r"has rows of float64\. Expected .*Build the rows"):
        write_stream(Tape(tape.venue, tape.symbol, np.zeros(3), {}), tmp_path)
    assert list(tmp_path.iterdir()) == []
    folder = write_stream(tape, tmp_path)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds thesis\.txt"):
        write_stream(tape, tmp_path)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_a_recording_is_imported_with_progress(tmp_path):
    t0 = 1_721_347_200_000
    body = '{"e":"trade","E":1,"T":%d,"s":"ETHUSDT","t":%d,"p":"1","q":"1","m":true}'
    lines = [f"{t0 + k} {body % (t0 + k, k)}" for k in range(20_000)]
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    seen = []
    tape = read_tape(path, symbol="ETHUSDT", progress=seen.append)
    assert len(tape.events) == 20_000
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
    assert len(seen) > 2


# --- one writer at a time, killed or not ---------------------------------------------------------------------------

_WRITER = """
import os, signal, sys, time
from pathlib import Path
from feature_repo.market.tape import Tape, write_stream
from tests.feature_repo.readers import messages

root, point = Path(sys.argv[1]), sys.argv[2]

class Slow(Tape):
    def chunks(self, rows=50):
        for k, chunk in enumerate(super().chunks(rows)):
            if point == f"chunk {k}":
                os.kill(os.getpid(), signal.SIGKILL)
            if point == "slow":
                time.sleep(0.004)
            yield chunk

def killed(name, number):
    real, calls = getattr(os, name), 0
    def call(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    setattr(os, name, call)

if point.startswith(("rename", "unlink", "rmdir")):
    killed(point.split()[0], int(point.split()[1]))
print("ready", flush=True)
write_stream(Slow("binance_usdm", "ETHUSDT", messages(int(sys.argv[3]), 3000), {}), root)
print("done", flush=True)
"""


def writer(root, point, seed):
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(root), point, str(seed)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def write_seed(seed, root):
    return write_stream(Tape("binance_usdm", "ETHUSDT", messages(seed, 3_000), {}), root)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Digests of the tapes of seeds 1 and 2, written in peace."""
    out = {}
    for seed in (1, 2):
        root = tmp_path_factory.mktemp("peace")
        out[seed] = digest(write_seed(seed, root))
    assert out[1] != out[2]
    return out


POINTS = ["chunk 0", "chunk 60", "rename 1", "rename 2", "rename 3", "unlink 2", "rmdir 1"]


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_and_run_again_gives_the_same_bytes(tmp_path, written, point):
    write_seed(1, tmp_path)
    folder = tmp_path / "binance_usdm" / "ETHUSDT"
    assert digest(folder) == written[1]
    assert writer(tmp_path, point, 2).wait() == -signal.SIGKILL
    if folder.exists():  # the old tape or the new one, but a whole one
        assert digest(folder) in (written[1], written[2])
        assert read_tape(tmp_path).rows > 0
    write_seed(2, tmp_path)
    assert digest(folder) == written[2]
    assert [p.name for p in folder.parent.iterdir()] == ["ETHUSDT"]


def test_the_old_tape_is_back_when_the_next_writer_fails(tmp_path, written):
    write_seed(1, tmp_path)
    folder = tmp_path / "binance_usdm" / "ETHUSDT"
    folder.rename(folder.with_name(".ETHUSDT.old"))  # as left by a kill between two renames
    folder.with_name(".ETHUSDT.new").mkdir()
    with pytest.raises(InputError, match="is no tape"):
        open_tape(tmp_path)
    rows = small().events
    with pytest.raises(InputError, match="goes back in local_ts at row 11"):
        write_stream(Broken("binance_usdm", "ETHUSDT", np.concatenate([rows, rows]), {}), tmp_path)
    assert digest(folder) == written[1]
    assert [p.name for p in folder.parent.iterdir()] == ["ETHUSDT"]


class Broken(Tape):
    """In chunks of its two halves, the second before the first."""

    def chunks(self, rows=11):
        return super().chunks(rows)


@pytest.mark.slow
def test_random_kills_and_rivals_leave_one_whole_tape(tmp_path, written):
    folder = tmp_path / "binance_usdm" / "ETHUSDT"
    rng = np.random.default_rng(0)
    for _ in range(2):
        one = writer(tmp_path, "slow", 1)
        assert one.stdout.readline() == "ready\n"
        time.sleep(float(rng.uniform(0.0, 0.6)))
        one.kill()
        one.wait()
        assert not folder.exists() or digest(folder) == written[1]
    rivals = [writer(tmp_path, "slow", seed) for seed in (1, 2)]
    assert [r.wait() for r in rivals] == [0, 0]
    assert digest(folder) in (written[1], written[2])
    assert [p.name for p in folder.parent.iterdir()] == ["ETHUSDT"]


def test_an_open_tape_is_read_in_chunks_and_checked_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_repo.market.day_files.ROW_GROUP", 4)
    tape = small()
    folder = write_stream(tape, tmp_path)
    stored = open_tape(tmp_path, "ETHUSDT")
    assert (stored.rows, stored.span_ns, stored.simulated, stored.path) == (11, tape.span_ns, False, folder)
    parts = list(stored.chunks(3))
    assert [len(p) for p in parts] == [3, 1, 3, 1, 1, 2]
    np.testing.assert_array_equal(np.concatenate(parts), tape.events)
    assert digest(write_stream(stored, tmp_path / "again")) == digest(folder)
    with pytest.raises(InputError, match=r"holds ETHUSDT\. Expected symbol BTCUSDT"):
        open_tape(folder, "BTCUSDT")
    # Changed after it was opened: seen before its first row is given.
    day = folder / "2024-07-19.parquet"
    pq.write_table(pq.read_table(day), day, compression="none")
    chunks = stored.chunks()
    for _ in range(3):
        next(chunks)
    with pytest.raises(InputError, match="was changed: its sha256 is new"):
        next(chunks)
    whole = open_tape(write_stream(tape, tmp_path / "gone"))
    whole.days[0].path.unlink()
    with pytest.raises(InputError, match=r"2024-07-18\.parquet cannot be read"):
        next(whole.chunks())


def test_bytes_an_event(tmp_path):
    data = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"
    if not data.is_dir():
        pytest.skip(f"the recordings are not at {data.parent}")
    folder = write_stream(open_stream(data), tmp_path)
    size = sum(p.stat().st_size for p in folder.glob("*.parquet")) / open_tape(folder).rows
    print(f"{size:.2f} bytes an event")
    assert size < 6


def test_a_tape_in_its_place_is_left_alone_and_one_of_its_days_never_replaces_it(tmp_path, monkeypatch):
    from flows.steps import make_tape

    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    seen = []
    folder = make_tape(write_stream(small(), tmp_path / "elsewhere"), progress=seen.append)
    assert folder == tmp_path / "tape" / "binance_usdm" / "ETHUSDT"
    assert seen[-1] == 1.0
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    for same in (folder, folder.parent, folder.parent.parent):
        assert make_tape(same) == folder
    assert make_tape(folder / "2024-07-19.parquet") == folder / "2024-07-19.parquet"
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
