"""A decision's window through Feast's online store: exact, not older than it says, an error when the store is gone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from feature_repo.constants import WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.offline import apply_definitions
from feature_repo.store import StoreError
from runtime.live.online import OnlineWindow

START_NS = 1_767_571_200_000_000_000
T = 8
SYMBOL = "ETHUSDT-SIM"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    apply_definitions()
    return tmp_path / "feast"


def window(k: int):
    """The k-th window, all of its values telling k."""
    x = np.random.default_rng(k).standard_normal((T, len(CHANNELS)), dtype=np.float32)
    x[0, :3] = [-0.0, 1e-42, 3.4e38]
    row = np.zeros((), MARKET_DTYPE)
    for name in MARKET_DTYPE.names:
        row[name] = k + 0.1
    row["t_ns"], row["valid"], row["warm"] = at(k), True, k % 2
    row["vwap"], row["slip_buy_bps"] = np.nan, np.inf
    return x, row[()]


def at(k: int) -> int:
    return START_NS + k * WINDOW_NS


def assert_same(found, expected):
    x, row = found
    assert x.dtype == np.float32
    assert x.shape == (T, len(CHANNELS))
    np.testing.assert_array_equal(x.view(np.uint32), expected[0].view(np.uint32))
    assert isinstance(row, np.void)
    assert row.dtype == MARKET_DTYPE
    assert row.tobytes() == expected[1].tobytes()


def test_what_was_pushed_is_read_bit_for_bit():
    online = OnlineWindow(SYMBOL, T=T)
    assert online.push(*window(1))
    assert_same(online.snapshot_at(at(1)), window(1))
    assert online.push(*window(2))
    assert_same(online.snapshot_at(at(2)), window(2))
    assert_same(OnlineWindow(SYMBOL, T=T).snapshot_at(at(2)), window(2))  # as another process sees it


def test_a_missing_key_is_none():
    assert OnlineWindow(SYMBOL, T=T).snapshot_at(at(1)) is None
    assert OnlineWindow("ETHUSDT", T=T).push(*window(1))
    assert OnlineWindow(SYMBOL, T=T).snapshot_at(at(1)) is None


def test_an_older_push_is_refused():
    online = OnlineWindow(SYMBOL, T=T)
    assert online.push(*window(5))
    assert not online.push(*window(4))
    assert not online.push(*window(5))
    another = OnlineWindow(SYMBOL, T=T)
    assert not another.push(*window(4))
    assert_same(another.snapshot_at(at(5)), window(5))
    assert another.push(*window(6))


def test_a_reader_does_not_go_back_to_an_older_row():
    """A pusher that knows nothing of the newer window, as Feast itself is."""
    reader = OnlineWindow(SYMBOL, T=T)
    OnlineWindow(SYMBOL, T=T).push(*window(5))
    assert_same(reader.snapshot_at(at(5)), window(5))
    assert OnlineWindow(SYMBOL, T=T, restart=True).push(*window(3))
    assert_same(OnlineWindow(SYMBOL, T=T).snapshot_at(at(5)), window(3))  # the store did go back
    assert_same(reader.snapshot_at(at(5)), window(5))
    assert_same(reader.snapshot_at(at(3)), window(3))  # a replay: the newer one is not known yet at this time


def test_a_restart_replaces_once():
    OnlineWindow(SYMBOL, T=T).push(*window(9))
    replay = OnlineWindow(SYMBOL, T=T, restart=True)
    assert replay.push(*window(2))
    assert not replay.push(*window(1))
    assert_same(replay.snapshot_at(at(2)), window(2))


def test_the_age_is_judged_by_the_row_and_the_time_given():
    online = OnlineWindow(SYMBOL, T=T, ttl_ns=3 * WINDOW_NS)
    online.push(*window(5))
    assert_same(online.snapshot_at(at(8)), window(5))
    assert online.snapshot_at(at(8) + 1) is None
    assert_same(online.snapshot_at(at(4)), window(5))  # from the future: the gate sees its time and denies
    assert_same(online.snapshot_at(at(6)), window(5))


def test_half_a_push_is_never_seen(monkeypatch):
    """Feast writes feature by feature: read after each of them."""
    from feast.infra.online_stores import sqlite

    online = OnlineWindow(SYMBOL, T=T)
    online.push(*window(1))
    feature_written = sqlite.extract_text_and_num
    reads = []

    def read_meanwhile(*args):
        reads.append(online.snapshot_at(at(2)))
        return feature_written(*args)

    monkeypatch.setattr(sqlite, "extract_text_and_num", read_meanwhile)
    assert online.push(*window(2))
    assert len(reads) == len(MARKET_DTYPE.names) + 1
    for found in reads:
        assert_same(found, window(1))
    assert_same(online.snapshot_at(at(2)), window(2))


def test_pushing_and_reading_threads():
    online = OnlineWindow(SYMBOL, T=T)
    online.push(*window(0))
    failures = []

    def push():
        try:
            for k in range(1, 20):
                online.push(*window(k))
        except StoreError as error:
            failures.append(error)

    thread = threading.Thread(target=push)
    thread.start()
    while thread.is_alive():
        x, row = online.snapshot_at(at(0))
        assert_same((x, row), window((int(row["t_ns"]) - START_NS) // WINDOW_NS))
    thread.join()
    assert not failures
    assert_same(online.snapshot_at(at(19)), window(19))


def test_a_deleted_database_is_an_error(root):
    online = OnlineWindow(SYMBOL, T=T)
    online.push(*window(1))
    assert online.snapshot_at(at(1)) is not None
    for file in root.glob("online.db*"):
        file.unlink()
    with pytest.raises(StoreError, match=r"no online store at .*online\.db.*feast -c feature_repo apply"):
        online.snapshot_at(at(1))
    with pytest.raises(StoreError, match="no online store at"):
        online.push(*window(2))
    with pytest.raises(StoreError, match="no online store at"):
        OnlineWindow(SYMBOL, T=T)
    assert not (root / "online.db").exists()
    apply_definitions()
    assert online.snapshot_at(at(1)) is None  # the new database is followed, and nothing is remembered
    assert online.push(*window(2))
    assert_same(online.snapshot_at(at(2)), window(2))


def test_a_missing_registry_is_an_error(root):
    (root / "registry.db").unlink()
    with pytest.raises(StoreError, match=r"no feature registry at .*feast -c feature_repo apply"):
        OnlineWindow(SYMBOL, T=T)


def test_a_registry_without_the_service_is_an_error():
    from feature_repo.store import open_store

    open_store().delete_feature_service("gate_v1")
    with pytest.raises(StoreError, match=r"gate_v1.*feast -c feature_repo apply"):
        OnlineWindow(SYMBOL, T=T)


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100])
def test_a_damaged_database_is_an_error(root, content):
    OnlineWindow(SYMBOL, T=T).push(*window(1))
    for file in root.glob("online.db*"):
        file.unlink()
    (root / "online.db").write_bytes(content)
    online = OnlineWindow(SYMBOL, T=T)
    with pytest.raises(StoreError, match=r"online store at .*online\.db failed"):
        online.snapshot_at(at(1))
    with pytest.raises(StoreError, match=r"online store at .*online\.db failed"):
        online.push(*window(1))


def test_a_window_of_another_length_is_an_error():
    OnlineWindow(SYMBOL, T=T).push(*window(1))
    with pytest.raises(StoreError, match=r"192 values.*read with T=8"):
        OnlineWindow(SYMBOL, T=16).snapshot_at(at(1))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, row: (x[1:], row),
        lambda x, row: (x.astype(np.float64), row),
        lambda x, row: (x, row[["t_ns", "bid"]]),
    ],
)
def test_a_push_of_another_shape_is_refused(change):
    with pytest.raises(InputError, match=r"Expected float32 \(8, 24\) with a MARKET_DTYPE row"):
        OnlineWindow(SYMBOL, T=T).push(*change(*window(1)))
