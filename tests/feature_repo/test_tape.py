"""Tapes on disk."""

from __future__ import annotations

import gzip
import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.constants import SECOND_NS
from feature_repo.errors import InputError
from feature_repo.instruments import SIMULATED_SYMBOL
from feature_repo.market.tape import Tape, read_tape, write_tape

from .small_tape import START, small


def digest(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_round_trip_by_utc_day_with_manifest(tmp_path):
    tape = small(warnings=["odd"], clock={"offset_ns": 3})
    folder = write_tape(tape, tmp_path)
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
    folder = write_tape(small(), tmp_path)
    first = digest(folder)
    assert digest(write_tape(read_tape(folder), tmp_path)) == first
    tape = small()
    short = Tape(tape.venue, tape.symbol, tape.events[:4], {})
    assert sorted(digest(write_tape(short, tmp_path))) == ["2024-07-18.parquet", "manifest.json"]
    assert len(read_tape(folder).events) == 4


def test_one_day_alone_and_a_root_of_one_tape(tmp_path):
    folder = write_tape(small(), tmp_path)
    day = read_tape(folder / "2024-07-19.parquet")
    assert (day.venue, day.symbol, len(day.events), day.manifest["counts"]) == (
        "binance_usdm",
        "ETHUSDT",
        2,
        {"funding": 1, "trade": 1},
    )
    assert read_tape(tmp_path).symbol == read_tape(tmp_path / "binance_usdm").symbol == "ETHUSDT"
    write_tape(small("BTCUSDT"), tmp_path)
    with pytest.raises(InputError, match=r"holds 2 tapes \(binance_usdm/BTCUSDT, binance_usdm/ETHUSDT\)"):
        read_tape(tmp_path)
    assert read_tape(tmp_path, symbol="BTCUSDT").symbol == "BTCUSDT"
    with pytest.raises(InputError, match=r"holds ETHUSDT\. Expected symbol BTCUSDT"):
        read_tape(folder, symbol="BTCUSDT")


def test_simulated_data_says_so_everywhere(tmp_path):
    folder = write_tape(small(SIMULATED_SYMBOL, "simulated"), tmp_path)
    assert json.loads((folder / "manifest.json").read_text())["simulated"] is True
    assert read_tape(folder).simulated
    one = read_tape(folder / "2024-07-18.parquet")
    assert one.simulated
    assert one.manifest["simulated"] is True


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


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
    "field": (lambda f: (f / "manifest.json").write_text('{"schema": "ofi-meta tape 1"}'), "lacks the field 'venue'"),
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
    "metadata": (lambda f: rewrite_day(f, lambda t: t.replace_schema_metadata({})), "does not say which contract"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_tape_is_refused(tmp_path, case):
    folder = write_tape(small(), tmp_path)
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
    np.savez(tmp_path / "x.npz", data=np.zeros(3))
    with pytest.raises(InputError, match=f"x.npz, line 1 is 'binary data'. {accepts}"):
        read_tape(tmp_path / "x.npz")


def test_write_refuses_what_is_no_tape_and_what_is_not_its_own(tmp_path):
    tape = small()
    with pytest.raises(InputError, match="has no rows"):
        write_tape(Tape(tape.venue, tape.symbol, tape.events[:0], {}), tmp_path)
    with pytest.raises(InputError, match="goes back in local_ts at row 1"):
        write_tape(Tape(tape.venue, tape.symbol, tape.events[::-1], {}), tmp_path)
    assert list(tmp_path.iterdir()) == []
    folder = write_tape(tape, tmp_path)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds thesis\.txt"):
        write_tape(tape, tmp_path)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_a_recording_is_imported_with_progress(tmp_path):
    t0 = 1_721_347_200_000
    body = '{"e":"trade","E":1,"T":%d,"s":"ETHUSDT","p":"1","q":"1","m":true}'
    lines = [f"{t0 + k} {body % (t0 + k)}" for k in range(20_000)]
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    seen = []
    tape = read_tape(path, symbol="ETHUSDT", progress=seen.append)
    assert len(tape.events) == 20_000
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
    assert len(seen) > 2
