"""Fetching days: what comes is whole and checked, what fails leaves nothing behind and says why."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from feature_repo.errors import InputError
from feature_repo.market.fetch import SUMS_NAME, TYPES, default_types, fetch

from .tardis_server import TardisServer, day_csv

pytest.importorskip("tardis_dev")

ROOT = Path(__file__).parents[2]
DAY = "2024-08-01"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and endpoint of the person who runs the tests; no pauses between tardis-dev's attempts."""
    import tardis_dev._http

    for name in ("TARDIS_API_KEY", "OFI_META_TARDIS_ENDPOINT", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tardis_dev._http, "_get_next_attempt_delay", lambda error, attempts: 0.02)


@pytest.fixture
def server():
    with TardisServer() as running:
        yield running


def _fetch(server: TardisServer, folder: Path, **more):
    return fetch("ETHUSDT", DAY, folder=folder, endpoint=server.endpoint, **more)


def _held(folder: Path) -> set[str]:
    return {p.name for p in folder.rglob("*") if p.is_file()}


def _name(data_type: str) -> str:
    return f"binance-futures_{data_type}_{DAY}_ETHUSDT.csv.gz"


def _sums(folder: Path) -> dict:
    return json.loads((folder / "binance_usdm" / "ETHUSDT" / SUMS_NAME).read_text())


def test_a_day_comes_whole_with_its_sha256(server: TardisServer, tmp_path: Path) -> None:
    told: dict[str, tuple[int, int | None]] = {}
    done = _fetch(server, tmp_path, progress=lambda kind, n, total: told.update({kind: (n, total)}))
    assert [f.path.name for f in done] == [_name(t) for t in default_types("binance_usdm")]
    for file in done:
        content = server.files[file.data_type][0][1]
        assert file.path == tmp_path / "binance_usdm" / "ETHUSDT" / _name(file.data_type)
        assert file.path.read_bytes() == content
        assert (file.sha256, file.size) == (hashlib.sha256(content).hexdigest(), len(content))
        assert file.fetched
        assert told[file.data_type] == (len(content), len(content))
    assert _sums(tmp_path) == {f.path.name: {"size": f.size, "sha256": f.sha256} for f in done}
    assert _held(tmp_path) == {*(_name(f.data_type) for f in done), SUMS_NAME}
    assert server.paths[0] == "/v1/binance-futures/incremental_book_L2/2024/08/01/ETHUSDT.csv.gz"


def test_what_is_there_is_not_fetched_again(server: TardisServer, tmp_path: Path) -> None:
    first = _fetch(server, tmp_path)
    again = _fetch(server, tmp_path)
    assert set(server.gets.values()) == {1}
    assert [(f.path, f.sha256) for f in again] == [(f.path, f.sha256) for f in first]
    assert not any(f.fetched for f in again)


def test_notes_that_are_gone_are_made_again_without_a_request(server: TardisServer, tmp_path: Path) -> None:
    done = _fetch(server, tmp_path)
    noted = _sums(tmp_path)
    (done[0].path.parent / SUMS_NAME).unlink()
    _fetch(server, tmp_path)
    assert set(server.gets.values()) == {1}
    assert _sums(tmp_path) == noted


def test_a_changed_file_is_reported_and_replaced_only_when_forced(server: TardisServer, tmp_path: Path) -> None:
    changed = _fetch(server, tmp_path)[1].path
    mine = gzip.compress(day_csv("trades", rows=3))
    changed.write_bytes(mine)
    with pytest.raises(InputError, match=r"trades.*was changed.*FORCE=1"):
        _fetch(server, tmp_path)
    assert changed.read_bytes() == mine
    done = _fetch(server, tmp_path, force=True)
    assert [f.fetched for f in done] == [False, True, False, False, False]
    assert changed.read_bytes() == server.files["trades"][0][1]


def test_a_forced_fetch_that_fails_keeps_the_old_file(server: TardisServer, tmp_path: Path) -> None:
    changed = _fetch(server, tmp_path)[1].path
    changed.write_bytes(b"mine")
    server.files["trades"] = [(404, b"")]
    with pytest.raises(InputError, match="404"):
        _fetch(server, tmp_path, force=True)
    assert changed.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(day_csv("trades"))[:-9]], ids=["empty", "no gzip", "cut off"]
)
def test_a_file_put_there_by_hand_stays_only_if_it_is_whole(
    server: TardisServer, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "binance_usdm" / "ETHUSDT" / _name("trades")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match="was changed or is damaged"):
        _fetch(server, tmp_path, types=["trades"])
    assert path.read_bytes() == content
    path.write_bytes(gzip.compress(day_csv("trades", rows=7)))
    assert not _fetch(server, tmp_path, types=["trades"])[0].fetched
    assert not server.gets


def test_a_type_without_rows_is_noted_and_not_kept(server: TardisServer, tmp_path: Path) -> None:
    server.files["liquidations"] = [(200, gzip.compress(b""))]
    server.files["quotes"] = [(200, gzip.compress(day_csv("quotes", rows=0)))]
    done = {f.data_type: f for f in _fetch(server, tmp_path)}
    assert [t for t, f in done.items() if f.empty] == ["quotes", "liquidations"]
    assert not done["liquidations"].path.exists()
    assert _sums(tmp_path)[_name("liquidations")] == {"empty": True}
    _fetch(server, tmp_path)
    assert server.gets["liquidations"] == 1


def test_a_day_without_any_row_is_an_error(server: TardisServer, tmp_path: Path) -> None:
    server.files["trades"] = [(200, gzip.compress(b""))]
    with pytest.raises(InputError, match="has no row of ETHUSDT"):
        _fetch(server, tmp_path, types=["trades"])


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, r"has no trades of ETHUSDT.*404"), (401, r"refuses trades.*401.*TARDIS_API_KEY"), (400, "400 no way")],
)
def test_a_refusal_is_one_sentence_at_once(server: TardisServer, tmp_path: Path, status: int, message: str) -> None:
    server.files["trades"] = [(status, b"no way")]
    with pytest.raises(InputError, match=message):
        _fetch(server, tmp_path)
    assert server.gets["trades"] == 1
    # What came before it stays and is known; of the refused one there is nothing.
    assert _held(tmp_path) == {_name("incremental_book_L2"), SUMS_NAME}


def test_a_server_that_stumbles_is_asked_again(server: TardisServer, tmp_path: Path) -> None:
    good = server.files["trades"][0]
    server.files["trades"] = [(500, b"oops"), (503, b"busy"), good]
    assert _fetch(server, tmp_path, types=["trades"])[0].path.read_bytes() == good[1]
    assert server.gets["trades"] == 3


def test_a_server_that_goes_on_failing_is_given_up(server: TardisServer, tmp_path: Path) -> None:
    server.files["trades"] = [(500, b"oops")]
    with pytest.raises(InputError, match=r"failed \d+ times, the last time with: 500 oops"):
        _fetch(server, tmp_path, types=["trades"])
    assert server.gets["trades"] < 15  # of the 30 that tardis-dev would make
    assert not _held(tmp_path)


def test_a_transfer_cut_by_the_server_leaves_nothing(server: TardisServer, tmp_path: Path) -> None:
    server.promise["trades"] = 1_000
    with pytest.raises(InputError, match="the last time with"):
        _fetch(server, tmp_path, types=["trades"])
    assert not _held(tmp_path)


def test_a_silent_server_is_given_up(server: TardisServer, tmp_path: Path) -> None:
    server.hold["trades"] = threading.Event()
    server.files["trades"] = [(200, gzip.compress(day_csv("trades", rows=20_000), 1))]
    told: list[int] = []
    with pytest.raises(InputError, match="has sent nothing for"):
        _fetch(server, tmp_path, types=["trades"], patience_s=0.5, progress=lambda _, n, total: told.append(n))
    # What the disk has seen: the last few kB of the half that came may still wait in a buffer.
    half = len(server.files["trades"][0][1]) // 2
    assert half - 16_384 < told[-1] <= half
    assert not _held(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>not found</html>", "no .gz, or damaged"),
        (b"", "has no bytes"),
        (gzip.compress(day_csv("trades"))[:-12], "cut off after"),
        (gzip.compress(day_csv("trades"))[:40] + b"\0" * 40, "no .gz, or damaged|cut off"),
        (gzip.compress(b"hello\nworld\n"), "no header of Tardis"),
        (gzip.compress(day_csv("trades", symbol="BTCUSDT")), "not of ETHUSDT"),
        (gzip.compress(day_csv("trades", first_us=1_722_384_000_000_000)), "not of ETHUSDT on 2024-08-01"),
        (gzip.compress(day_csv("trades")[:-5]), "last line has no end"),
    ],
    ids=["a page", "empty", "cut off", "damaged", "no header", "other symbol", "other day", "no last end"],
)
def test_what_is_not_the_file_asked_for_is_not_kept(
    server: TardisServer, tmp_path: Path, content: bytes, message: str
) -> None:
    server.files["trades"] = [(200, content)]
    with pytest.raises(InputError, match=message):
        _fetch(server, tmp_path, types=["trades"])
    assert not _held(tmp_path)


def test_without_a_network_the_answer_comes_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="cannot be reached"):
        fetch("ETHUSDT", DAY, folder=tmp_path, endpoint=f"http://127.0.0.1:{port}/v1")
    assert not _held(tmp_path)


def test_only_a_first_of_month_is_free(server: TardisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"2024-08-02 is not the first.*Take 2024-08-01 or set TARDIS_API_KEY"):
        fetch("ETHUSDT", "2024-08-02", folder=tmp_path, endpoint=server.endpoint)
    assert not server.gets
    assert not list(tmp_path.iterdir())
    server.files["trades"] = [(200, gzip.compress(day_csv("trades", first_us=1_722_556_800_000_000)))]
    monkeypatch.setenv("TARDIS_API_KEY", "secret")
    monkeypatch.setenv("OFI_META_TARDIS_ENDPOINT", server.endpoint)
    fetch("ethusdt", "2024-08-02", folder=tmp_path, types=["trades"])
    assert server.keys == {"Bearer secret"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": "2024-13-01"}, "date '2024-13-01'"),
        ({"date": "20240801"}, "date '20240801'"),
        ({"venue": "nasdaq"}, "one of binance_usdm"),
        ({"symbol": "../ETH"}, r"symbol '\.\./ETH'\. Expected a name like ETHUSDT"),
        ({"symbol": "NOSUCH"}, "unknown symbol"),
        ({"types": ["trades", "ticks"]}, "data type 'ticks'"),
        ({"types": []}, "no data type"),
        ({"endpoint": "ftp://x"}, "an http or https address"),
    ],
)
def test_bad_input_is_named_before_any_request(
    server: TardisServer, tmp_path: Path, change: dict, message: str
) -> None:
    asked = {"symbol": "ETHUSDT", "date": DAY, "endpoint": server.endpoint, **change}
    with pytest.raises(InputError, match=message):
        fetch(asked.pop("symbol"), asked.pop("date"), folder=tmp_path, **asked)
    assert not server.gets
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_killed_goes_on_with_the_file_it_was_at(server: TardisServer, tmp_path: Path) -> None:
    server.hold["trades"] = threading.Event()
    code = f"from feature_repo.market.fetch import fetch; fetch('ETHUSDT', {DAY!r}, folder={str(tmp_path)!r})"
    env = {**os.environ, "OFI_META_TARDIS_ENDPOINT": server.endpoint}
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env)
    assert server.halfway.wait(60)
    end = time.monotonic() + 20
    while not any(n.endswith(".unconfirmed") for n in _held(tmp_path)):
        assert time.monotonic() < end, "no half file ever lay there"
        time.sleep(0.01)
    with pytest.raises(InputError, match="is being fetched into"):
        _fetch(server, tmp_path)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert any(n.endswith(".unconfirmed") for n in _held(tmp_path))
    server.hold.pop("trades").set()
    done = _fetch(server, tmp_path)
    assert [f.fetched for f in done] == [False, True, True, True, True]
    assert server.gets["incremental_book_L2"] == 1
    assert all(f.path.read_bytes() == server.files[f.data_type][0][1] for f in done)
    assert _held(tmp_path) == {*(_name(f.data_type) for f in done), SUMS_NAME}


def test_an_import_finds_the_files_and_passes_over_the_notes(server: TardisServer, tmp_path: Path) -> None:
    from feature_repo.market.detect import find_data

    done = _fetch(server, tmp_path)
    found = find_data(done[0].path.parent)
    assert {f.path for f in found} == {f.path for f in done}
    assert {(f.kind, f.venue, f.symbol) for f in found} == {("tardis", "binance_usdm", "ETHUSDT")}


def test_a_fetched_day_imports(server: TardisServer, tmp_path: Path) -> None:
    from feature_repo.events import DEPTH, DEPTH_SNAPSHOT, FUNDING, KIND_MASK, LIQUIDATION, TRADE
    from feature_repo.market.detect import open_source

    header, *rest = day_csv("incremental_book_L2", rows=10).decode().splitlines(keepends=True)
    head = rest[0].partition("false")[0]
    snapshot = [f"{head}true,bid,3200.5,2\n", f"{head}true,ask,3200.51,3\n"]
    server.files["incremental_book_L2"] = [(200, gzip.compress("".join([header, *snapshot, *rest]).encode()))]
    stream = open_source(_fetch(server, tmp_path)[0].path.parent)
    kinds = np.concatenate([(chunk["ev"] & np.uint64(KIND_MASK)).astype(int) for chunk in stream.chunks()])
    assert (stream.venue, stream.symbol) == ("binance_usdm", "ETHUSDT")
    found = {kind: int(np.sum(kinds == kind)) for kind in (DEPTH, DEPTH_SNAPSHOT, TRADE, LIQUIDATION, FUNDING)}
    assert found == {DEPTH: 10, DEPTH_SNAPSHOT: 2, TRADE: 50, LIQUIDATION: 50, FUNDING: 1}


def test_a_folder_that_cannot_be_made_is_named(server: TardisServer, tmp_path: Path) -> None:
    (tmp_path / "binance_usdm").write_text("a file")
    with pytest.raises(InputError, match=r"ETHUSDT cannot be made \(Not a directory\)\. Expected a writable folder"):
        _fetch(server, tmp_path)
    assert not server.gets


def test_a_full_disk_ends_the_fetch_at_its_first_failure(
    server: TardisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tardis_dev._http

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tardis_dev._http.aiofiles, "open", full)
    with pytest.raises(InputError, match=r"No space left on device\. Expected a disk with room for the day"):
        _fetch(server, tmp_path, types=["trades"])
    assert not _held(tmp_path)


@pytest.mark.parametrize(("notes", "why"), [("[1", "line 1"), ("[]", "'list'"), ('{"x": 1}', "an entry is no object")])
def test_damaged_notes_are_named(server: TardisServer, tmp_path: Path, notes: str, why: str) -> None:
    folder = tmp_path / "binance_usdm" / "ETHUSDT"
    folder.mkdir(parents=True)
    (folder / SUMS_NAME).write_text(notes)
    with pytest.raises(InputError, match=rf"{SUMS_NAME} cannot be read \(.*{why}.*\)\. .* Remove it"):
        _fetch(server, tmp_path)


def test_a_spot_venue_has_neither_liquidations_nor_funding() -> None:
    assert default_types("binance_spot") == ("incremental_book_L2", "trades", "quotes")
    assert set(default_types("bybit")) < set(TYPES)


def test_the_command_prints_a_table_and_how_to_import(
    server: TardisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.fetch import run

    monkeypatch.setenv("OFI_META_TARDIS_ENDPOINT", server.endpoint)
    server.files["liquidations"] = [(200, gzip.compress(b""))]
    where = run("ETHUSDT", DAY, folder=tmp_path, types="trades,liquidations trades")
    out = capsys.readouterr().out
    assert where == tmp_path / "binance_usdm" / "ETHUSDT"
    assert "fetched" in out
    assert "no row of it" in out
    assert f"ofi-meta tape import {where}" in out.replace("\n", "")
