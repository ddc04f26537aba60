"""By whatever way Feast is given a row: an older one never replaces a newer one, in either store."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.fields import CTX_NAMES
from feature_repo.newest import as_of_ns
from feature_repo.store import open_store
from runtime.live.online import OnlineWindow

from .online_windows import SYMBOL, T, at, frame, number, window, write_source

pytest_plugins = ("tests.runtime.online_stores",)
pytestmark = pytest.mark.slow

VIEW = "window_sequence"
WAYS = {
    "write_to_online_store": lambda store, rows: store.write_to_online_store(VIEW, df=rows),
    "push": lambda store, rows: store.push("window_push", rows),
}
REDIS_WAYS = {
    **WAYS,
    "push_async": lambda store, rows: asyncio.run(store.push_async("window_push", rows)),
}


def stored() -> int:
    return number(OnlineWindow(SYMBOL, T=T).snapshot_at(at(0)))


def check_way(push) -> None:
    store = open_store()
    for brought, there in ((5, 5), (4, 5), (6, 6), (5, 6), (7, 7)):  # 100 ms apart: most within one second
        push(store, frame(brought))
        assert stored() == there


@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_sqlite_goes_back(on_sqlite, way):
    check_way(WAYS[way])


@pytest.mark.parametrize("way", REDIS_WAYS)
def test_no_way_to_redis_goes_back(on_redis, way):
    check_way(REDIS_WAYS[way])


def test_materializing_older_windows_changes_nothing(either):
    write_source(3, 4)
    store = open_store()

    def materialize():
        begin, end = (datetime.fromtimestamp(at(k) / 1e9, UTC) for k in (0, 10))
        store.materialize(begin, end, feature_views=[VIEW], disable_event_timestamp=False)

    materialize()
    assert stored() == 4
    assert OnlineWindow(SYMBOL, T=T).push(*window(7))
    materialize()
    assert stored() == 7


def test_of_a_batch_in_any_order_the_newest_row_stands(either):
    store = open_store()
    store.push("window_push", frame(3, 5, 4))
    assert stored() == 5
    assert store.provider.online_store.skipped == 2
    store.push("window_push", frame(9, 1))
    assert stored() == 9
    assert store.provider.online_store.skipped == 3


def test_of_two_rows_of_one_time_the_first_stands(either):
    store = open_store()
    again = frame(5)
    again["mid"] = 1.0
    store.push("window_push", pd.concat([frame(5), again]))
    store.push("window_push", again)
    assert stored() == 5
    assert not OnlineWindow(SYMBOL, T=T).push(*window(5))


def test_the_time_in_the_row_counts_before_the_event_time(either):
    """Event times may be cut: here all of them to the same second."""
    store = open_store()
    for brought, there in ((5, 5), (4, 5), (6, 6)):
        rows = frame(brought)
        rows["event_timestamp"] = rows["event_timestamp"].dt.floor("s")
        store.push("window_push", rows)
        assert stored() == there


def test_rows_without_such_a_time_are_judged_by_the_event_time_to_the_microsecond(either):
    store = open_store()
    begin = datetime(2026, 1, 5, tzinfo=UTC)

    def push(us: int) -> None:
        rows = {"candidate_id": ["c"], "event_timestamp": [begin + timedelta(microseconds=us)], "context_t_ns": [us]}
        store.write_to_online_store("candidate_context", inputs=rows | {name: [float(us)] for name in CTX_NAMES})

    def read() -> tuple[float, datetime]:
        answer = store.get_online_features([f"candidate_context:{CTX_NAMES[0]}"], [{"candidate_id": "c"}])
        event = answer.proto.results[1].event_timestamps[0].ToDatetime(tzinfo=UTC)
        return answer.to_dict()[CTX_NAMES[0]][0], event

    for brought, there in ((2, 2), (1, 2), (3, 3), (2, 3)):
        push(brought)
        assert read() == (there, begin + timedelta(microseconds=there))


def test_time_of_a_row():
    naive, aware = datetime(2026, 1, 5, 0, 0, 0, 7), datetime(2026, 1, 5, 1, 0, 0, 7, tzinfo=UTC)
    midnight_ns = 1_767_571_200_000_000_000
    assert as_of_ns({}, naive) == midnight_ns + 7_000
    assert as_of_ns({}, aware) == midnight_ns + 3_600_000_000_000 + 7_000
    assert as_of_ns({}, pd.Timestamp(midnight_ns + 7_000, tz="Asia/Tokyo")) == midnight_ns + 7_000
    assert as_of_ns({"t_ns": Value()}, naive) == midnight_ns + 7_000
    assert as_of_ns({"t_ns": Value(int64_val=11)}, naive) == 11


def test_a_row_of_sqlite_is_compared_and_written_in_one_transaction(on_sqlite, monkeypatch):
    """Feast writes feature by feature: between any two of them nobody else writes, and nobody sees the new ones."""
    from feast.infra.online_stores import sqlite

    online = OnlineWindow(SYMBOL, T=T)
    online.push(*window(1))
    write_feature, seen = sqlite.extract_text_and_num, []

    def another_comes(*args):
        other = sqlite3.connect(on_sqlite / "online.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
        seen.append(number(online.snapshot_at(at(2))))
        return write_feature(*args)

    monkeypatch.setattr(sqlite, "extract_text_and_num", another_comes)
    assert online.push(*window(2))
    assert len(seen) > 2
    assert set(seen) == {1}
    assert number(online.snapshot_at(at(2))) == 2


@pytest.mark.parametrize(("other", "there"), [(9, 9), (2, 3)])
def test_a_row_of_redis_is_compared_again_when_another_came_between(on_redis, monkeypatch, other, there):
    from feature_repo import redis_store

    OnlineWindow(SYMBOL, T=T).push(*window(1))
    compare, came = redis_store._stored_ns, []

    def another_comes(*held):
        time = compare(*held)
        if not came:
            came.append(other)
            open_store().push("window_push", frame(other))
        return time

    monkeypatch.setattr(redis_store, "_stored_ns", another_comes)
    assert OnlineWindow(SYMBOL, T=T).push(*window(3)) == (there == 3)
    assert came == [other]
    assert stored() == there


def test_many_keys_are_written_in_turns(on_redis):
    """More than one turn of the server, and its hashes are Feast's: key, hashed fields, one event time."""
    store = open_store()
    n = 600
    ids = [f"c{i}" for i in range(n)]
    rows = {"candidate_id": ids, "event_timestamp": [datetime(2026, 1, 5, tzinfo=UTC)] * n, "context_t_ns": range(n)}
    rows = pd.DataFrame(rows | {name: [0.5] * n for name in CTX_NAMES})
    store.write_to_online_store("candidate_context", df=rows)
    assert on_redis.client.dbsize() == n
    assert len(on_redis.client.hgetall(on_redis.client.randomkey())) == len(CTX_NAMES) + 2
    answer = store.get_online_features(["candidate_context:context_t_ns"], {"candidate_id": ids}).to_dict()
    assert answer["context_t_ns"] == list(range(n))


def test_a_missing_key_is_not_found_in_either_store(either):
    OnlineWindow("ETHUSDT", T=T).push(*window(1))
    answer = open_store().get_online_features([f"{VIEW}:t_ns", f"{VIEW}:x"], [{"symbol": SYMBOL}]).proto
    assert [c.statuses[0] for c in answer.results][1:] == [3, 3]  # FieldStatus.NOT_FOUND


def test_a_teardown_leaves_no_row(either):
    OnlineWindow(SYMBOL, T=T).push(*window(1))
    open_store().teardown()
    from feature_repo.offline import apply_definitions

    apply_definitions()
    assert OnlineWindow(SYMBOL, T=T).snapshot_at(at(1)) is None
    assert OnlineWindow(SYMBOL, T=T).push(*window(1))
