"""From the offline store to the online one, as the shell does it; read online as it was read offline."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo import definitions
from feature_repo.fields import CHANNELS, CTX_NAMES
from feature_repo.offline import apply_definitions, training_set, write_store
from feature_repo.store import CONFIG_VARIABLE, REPO_DIR, SERVICE, open_store
from runtime.live.online import OnlineWindow

from .store_table import DAY_NS, START_NS, make_table, some_candidates

pytestmark = pytest.mark.slow

IN_2024_NS = 1_721_347_200_000_000_000  # 2024-07-19 00:00 UTC
ROWS = [380, 200, 150]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "feast"


def feast(root, *arguments):
    done = subprocess.run(
        [Path(sys.executable).with_name("feast"), "-c", "feature_repo", *arguments],
        cwd=REPO_DIR.parent,
        env={**os.environ, "OFI_META_DATA": str(root.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def utc(t_ns):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(t_ns) // 1_000)


def written(*, symbol="ETHUSDT-SIM", start_ns=START_NS, **options):
    table = make_table(symbol=symbol, start_ns=start_ns + 100_000_000, **options)
    write_store(table, *some_candidates(table, ROWS))
    return table


def assert_online_is_offline(table, row):
    """Window and market row of that row, bit for bit; the 100 ms row likewise."""
    t_ns = table.t_ns[row]
    ids, _, _ = some_candidates(table, ROWS)
    offline = training_set(table.symbol, [ids[ROWS.index(row)]], np.array([t_ns]))
    assert offline.found.all()
    x, market = OnlineWindow(table.symbol).snapshot_at(int(t_ns))
    np.testing.assert_array_equal(x.view(np.uint32), offline.x[0].view(np.uint32))
    assert market.tobytes() == table.market[row].tobytes()


def newest_row(symbol):
    refs = [f"microwindow:{name}" for name in ("t_ns", *CHANNELS)]
    got = open_store().get_online_features(refs, [{"symbol": symbol}]).to_dict()
    return got["t_ns"][0], np.array([got[name][0] for name in CHANNELS], np.float32)


def test_tapes_of_the_past_come_online_from_the_shell(root):
    tables = [written(), written(symbol="ETHUSDT", start_ns=IN_2024_NS, seed=3)]
    open_store().apply(list(definitions.OBJECTS))  # as `feast apply` does: nothing of what is left to do is lost
    said = feast(root, "materialize-incremental", datetime.now(UTC).isoformat())
    assert all(view in said for view in ("microwindow", "window_sequence", "candidate_context"))
    for table in tables:
        assert_online_is_offline(table, 380)
        t_ns, channels = newest_row(table.symbol)
        assert t_ns == table.t_ns[399]
        np.testing.assert_array_equal(channels, table.X[399])


def test_a_span_comes_online_from_the_shell(root):
    table = written()
    end = utc(table.t_ns[380]) - timedelta(microseconds=1)
    feast(root, "materialize", "2026-01-01T00:00:00", end.isoformat(), "-v", "window_sequence", "-v", "microwindow")
    assert_online_is_offline(table, 200)  # the one of 380 ends a microsecond too late
    assert newest_row(table.symbol)[0] == table.t_ns[379]


def test_what_is_written_later_for_an_earlier_time_comes_online_too(root):
    first = written(start_ns=START_NS + DAY_NS)
    now = datetime.now(UTC)
    open_store().materialize_incremental(now)
    earlier, before = written(symbol="ETHUSDT", start_ns=IN_2024_NS), written(seed=8)
    open_store().materialize_incremental(now + timedelta(seconds=1))
    assert_online_is_offline(earlier, 380)
    assert_online_is_offline(first, 380)  # the day before it does not take its place
    assert newest_row(before.symbol)[0] == first.t_ns[399]


def test_a_later_day_goes_on_where_the_last_run_ended(root):
    written()
    store = open_store()
    end = utc(START_NS + DAY_NS)
    store.materialize_incremental(end)
    before = (root / "registry.db").read_bytes()
    apply_definitions()
    assert (root / "registry.db").read_bytes() == before  # what was materialised is no change of the definitions
    later = written(start_ns=START_NS + DAY_NS)
    views = open_store().list_feature_views()
    assert {view.most_recent_end_time for view in views} == {end}
    open_store().materialize_incremental(end + timedelta(days=1))
    assert_online_is_offline(later, 380)


def test_a_registry_made_after_the_data_has_all_of_it_left_to_do(root):
    table = written()
    (root / "registry.db").unlink()
    apply_definitions()
    open_store().materialize_incremental(datetime.now(UTC), feature_views=["window_sequence"])
    assert_online_is_offline(table, 380)


def test_what_was_materialised_is_noted_by_the_registry_of_each_configuration(root, monkeypatch):
    apply_definitions()
    now = datetime.now(UTC)
    begun = {}
    for config in ("feature_store.yaml", "feature_store.redis.yaml"):
        monkeypatch.setenv(CONFIG_VARIABLE, str(REPO_DIR / config))
        store = open_store(must_exist=False)
        if config == "feature_store.redis.yaml":
            monkeypatch.setattr(type(store._get_provider()), "update_infra", lambda *a, **k: None)  # no server needed
            store.apply(list(definitions.OBJECTS))
        for view in store.list_feature_views():
            store.registry.apply_materialization(view, store.project, now, now)
    monkeypatch.delenv(CONFIG_VARIABLE)
    table = written()
    for config in ("feature_store.yaml", "feature_store.redis.yaml"):
        monkeypatch.setenv(CONFIG_VARIABLE, str(REPO_DIR / config))
        begun[config] = {view.most_recent_end_time for view in open_store().list_feature_views()}
    assert set(map(frozenset, begun.values())) == {frozenset({utc(table.t_ns[0])})}


def test_times_reach_the_online_store_with_their_microseconds(root):
    table = written()
    store = open_store()
    source = store.get_feature_view("window_sequence").batch_source
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(
        *(store.config, source, ["symbol"], ["t_ns", "x"], "event_timestamp", None),
        *(utc(START_NS), utc(table.t_ns[200])),
    )
    (row,) = job.to_arrow().to_pylist()
    assert (row["t_ns"], row["event_timestamp"]) == (table.t_ns[200], utc(table.t_ns[200]))
    assert row["event_timestamp"].microsecond


def test_serving_reads_the_service_of_training_with_the_pushed_context(root):
    table = written()
    store = open_store()
    (ids, ts, ctx), at = some_candidates(table, ROWS), ROWS.index(380)
    store.materialize(utc(START_NS), utc(table.t_ns[-1]), feature_views=["window_sequence"])
    context = {"candidate_id": [ids[at]], "event_timestamp": [utc(ts[at])], "context_t_ns": [ts[at]]}
    context |= {name: [ctx[at, c]] for c, name in enumerate(CTX_NAMES)}
    store.push("candidate_push", pd.DataFrame(context).astype(dict.fromkeys(CTX_NAMES, np.float32)))
    entity = {"symbol": table.symbol, "candidate_id": ids[at]}
    got = store.get_online_features(store.get_feature_service(SERVICE), [entity]).to_dict()
    offline = training_set(table.symbol, [ids[at]], ts[at : at + 1])
    np.testing.assert_array_equal(np.array(got["x"][0], np.float32).reshape(64, -1), offline.x[0])
    np.testing.assert_array_equal(np.array([got[name][0] for name in CTX_NAMES], np.float32), offline.ctx[0])
    assert got["t_ns"] == got["context_t_ns"] == [ts[at]]
