"""The Feast repository: its definitions and the shell's `feast apply`."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import definitions
from feature_repo.fields import CHANNELS, CTX_NAMES, MARKET_DTYPE
from feature_repo.offline import apply_definitions, training_set, write_store
from feature_repo.store import REPO_DIR, WINDOW_TTL_NS, feast_root, open_store

from .store_table import make_table, some_candidates

pytestmark = pytest.mark.slow

ROOT = REPO_DIR.parent


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "feast"


def names(view, dtype=None):
    return tuple(f.name for f in view.features if dtype is None or str(f.dtype) == dtype)


def test_views_are_made_from_the_catalogue():
    keys = {"symbol", "candidate_id"}
    assert [n for n in names(definitions.microwindow, "Float32") if n not in keys] == list(CHANNELS)
    assert names(definitions.microwindow, "Int64") == ("t_ns",)
    window = [n for n in names(definitions.window_sequence) if n not in keys]
    assert window == ["t_ns", "x", "market"]
    assert names(definitions.window_sequence, "Array(Float32)") == ("x",)
    assert names(definitions.window_sequence, "Array(Float64)") == ("market",)
    (market,) = (f for f in definitions.window_sequence.features if f.name == "market")
    order = market.description.removeprefix("of the newest row: ").split(", ")
    assert ["t_ns", *order] == list(MARKET_DTYPE.names)
    assert names(definitions.candidate_context, "Float32") == CTX_NAMES


def test_the_service_names_what_training_and_the_gate_read():
    read = {p.name: [f.name for f in p.features] for p in definitions.meta_model_v1.feature_view_projections}
    assert list(read) == ["window_sequence", "candidate_context"]
    assert {"t_ns", "x", "market"} == set(read["window_sequence"])
    assert [n for n in read["candidate_context"] if n != "context_t_ns"] == list(CTX_NAMES)


def test_feast_imports_the_definitions_and_nothing_else():
    from feast.repo_operations import get_repo_files

    assert get_repo_files(REPO_DIR) == [REPO_DIR / "definitions.py"]


def test_data_never_lies_in_the_package(monkeypatch):
    monkeypatch.delenv("OFI_META_DATA", raising=False)
    monkeypatch.chdir(ROOT)
    from_root = feast_root()
    monkeypatch.chdir(REPO_DIR)  # what `feast apply` does
    assert feast_root() == from_root == ROOT / "data" / "feast"


@pytest.mark.slow
def test_apply_from_the_shell(root):
    feast = Path(sys.executable).with_name("feast")
    environment = {**os.environ, "OFI_META_DATA": str(root.parent)}
    done = subprocess.run(
        [feast, "-c", "feature_repo", "apply"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "window_sequence" in done.stdout
    assert sorted(p.name for p in root.iterdir()) == ["online.db", "registry.db"]
    # The command and our own registration are the same: nothing is left to do.
    registry = root / "registry.db"
    before = registry.read_bytes()
    apply_definitions()
    assert registry.read_bytes() == before


def test_registering_again_registers_what_is_missing(root):
    apply_definitions()
    registry, online = root / "registry.db", root / "online.db"
    before = registry.read_bytes()
    apply_definitions()
    assert registry.read_bytes() == before
    online.unlink()
    apply_definitions()
    assert online.is_file()
    store = open_store()
    store.delete_feature_service("meta_model_v1")
    apply_definitions()
    assert "meta_model_v1" in {s.name for s in open_store().list_feature_services()}


def test_the_registry_is_written_in_one_piece(root, monkeypatch):
    """A process that starts meanwhile must not find the empty file that Feast begins with: that is a registry too."""
    apply_definitions()
    registry, store = root / "registry.db", open_store()
    before = registry.read_bytes()

    def killed(_):
        assert registry.read_bytes() == before
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            store.delete_feature_service("meta_model_v1")
    assert registry.read_bytes() == before
    assert [p.name for p in root.iterdir() if "registry" in p.name] == ["registry.db"]
    open_store().delete_feature_service("meta_model_v1")
    assert open_store().list_feature_services() == []


@pytest.mark.slow
def test_the_gates_process_loads_no_training_library(root):
    apply_definitions()
    code = (
        "import sys; from runtime.live.online import OnlineWindow; OnlineWindow('ETHUSDT')\n"
        "assert 'feast' in sys.modules\n"
        "print([m for m in ('torch', 'lightning', 'prefect', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_materialised_rows_are_the_offline_rows(root):
    """The same window offline at t and online at t, bit for bit."""
    from runtime.live.online import OnlineWindow

    table = make_table()
    ids, ts, ctx = some_candidates(table, [150, 380, 200])
    write_store(table, ids, ts, ctx)
    begin, end = (datetime.fromtimestamp(t // 1_000_000_000, UTC) for t in (ts.min(), ts.max() + 10**9))
    open_store().materialize(begin, end + timedelta(seconds=1), feature_views=["window_sequence"])
    offline = training_set(table.symbol, ids, ts)
    x, row = OnlineWindow(table.symbol).snapshot_at(int(ts[1]))
    np.testing.assert_array_equal(x.view(np.uint32), offline.x[1].view(np.uint32))
    assert row.tobytes() == table.market[380].tobytes()


def test_the_100_ms_rows_are_there(root):
    table = make_table(invalid=slice(0, 20))
    write_store(table, *some_candidates(table, [150]))
    ask = np.array([150, 19, 20, 399])
    rows = pd.DataFrame(
        {"symbol": table.symbol, "event_timestamp": pd.to_datetime(table.t_ns[ask] + 50_000_000, utc=True)}
    )
    answer = open_store().get_historical_features(rows, [f"microwindow:{n}" for n in ("t_ns", *CHANNELS)]).to_arrow()
    assert answer.column("t_ns").to_pylist() == [table.t_ns[150], None, table.t_ns[20], table.t_ns[399]]
    got = np.stack([answer.column(n).to_numpy() for n in CHANNELS], axis=1)
    np.testing.assert_array_equal(got[[0, 2, 3]], table.X[[150, 20, 399]])


def test_a_view_without_files_is_named(root):
    apply_definitions()
    rows = pd.DataFrame({"symbol": ["A"], "event_timestamp": pd.to_datetime([0], utc=True)})
    with pytest.raises(ValueError, match=r"no Parquet file in .*microwindow"):
        open_store().get_historical_features(rows, ["microwindow:ofi_z"]).to_arrow()


def test_of_equal_times_the_last_row_of_the_last_file_wins(root):
    """Feast's own store leaves this to chance."""
    apply_definitions()
    table = make_table()
    write_store(table, *some_candidates(table, [200]))
    path = root / "candidate_context" / "ETHUSDT-SIM" / "2026-01-05.parquet"
    rows = pq.read_table(path)
    at = rows.schema.get_field_index("est_slip_bps")
    twice = [rows.set_column(at, "est_slip_bps", pa.array([v], pa.float32())) for v in (1.0, 2.0)]
    pq.write_table(pa.concat_tables(twice), path)
    assert training_set(table.symbol, *some_candidates(table, [200])[:2]).ctx[0, -1] == 2.0


def test_ttl_of_the_windows_is_the_readers():
    assert definitions.window_sequence.ttl == timedelta(microseconds=WINDOW_TTL_NS // 1000) == timedelta(seconds=1)
