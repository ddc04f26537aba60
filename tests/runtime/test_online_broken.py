"""A store that is missing, damaged, gone or slow: an error at once, which says where and what to do."""

from __future__ import annotations

import os
import signal
import time

import pytest

from feature_repo.offline import apply_definitions
from feature_repo.store import StoreError, open_store
from runtime.live.online import OnlineWindow
from tests.redis_server import NO_SERVER, free_port, has_redis, redis_server

from .online_windows import SYMBOL, T, assert_same, at, window

pytest_plugins = ("tests.runtime.online_stores",)
pytestmark = pytest.mark.slow


def test_a_deleted_database_is_an_error(on_sqlite):
    online = OnlineWindow(SYMBOL, T=T)
    online.push(*window(1))
    assert online.snapshot_at(at(1)) is not None
    for file in on_sqlite.glob("online.db*"):
        file.unlink()
    with pytest.raises(StoreError, match=r"no online store at .*online\.db.*feast -c feature_repo apply"):
        online.snapshot_at(at(1))
    with pytest.raises(StoreError, match="no online store at"):
        online.push(*window(2))
    with pytest.raises(StoreError, match="no online store at"):
        OnlineWindow(SYMBOL, T=T)
    assert not (on_sqlite / "online.db").exists()
    apply_definitions()
    assert online.snapshot_at(at(1)) is None  # the new database is followed, and nothing is remembered
    assert online.push(*window(2))
    assert_same(online.snapshot_at(at(2)), window(2))


def test_a_missing_registry_is_an_error(on_sqlite):
    (on_sqlite / "registry.db").unlink()
    with pytest.raises(StoreError, match=r"no feature registry at .*feast -c feature_repo apply"):
        OnlineWindow(SYMBOL, T=T)


def test_a_registry_without_the_service_is_an_error(either):
    open_store().delete_feature_service("meta_model_v1")
    with pytest.raises(StoreError, match=r"meta_model_v1.*feast -c feature_repo apply"):
        OnlineWindow(SYMBOL, T=T)


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100])
def test_a_damaged_database_is_an_error(on_sqlite, content):
    OnlineWindow(SYMBOL, T=T).push(*window(1))
    for file in on_sqlite.glob("online.db*"):
        file.unlink()
    (on_sqlite / "online.db").write_bytes(content)
    online = OnlineWindow(SYMBOL, T=T)
    with pytest.raises(StoreError, match=r"online store at .*online\.db failed"):
        online.snapshot_at(at(1))
    with pytest.raises(StoreError, match=r"online store at .*online\.db failed"):
        online.push(*window(1))


def test_a_configuration_that_cannot_be_used_is_an_error(on_sqlite, monkeypatch, tmp_path):
    for content, complaint in (
        (None, "No such file"),
        ("project: [", "while parsing"),
        ("project: x", "Registry is not set"),
    ):
        file = tmp_path / "mine.yaml"
        if content is not None:
            file.write_text(content)
        monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(file))
        with pytest.raises(StoreError, match=rf"configuration .*mine\.yaml cannot be used .*{complaint}.*unset it"):
            OnlineWindow(SYMBOL, T=T)


def test_a_store_in_which_an_older_window_could_win_is_refused(on_sqlite, monkeypatch, tmp_path):
    stock = tmp_path / "stock.yaml"
    stock.write_text(
        "project: ofi_meta\nprovider: local\n"
        "registry: {registry_store_type: feature_repo.local_store.LocalRegistryStore, path: registry.db}\n"
        f"online_store: {{type: sqlite, path: {tmp_path}/stock.db}}\nentity_key_serialization_version: 3\n"
    )
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(stock))
    with pytest.raises(StoreError, match=r"SqliteOnlineStore, in which an older window may replace a newer one"):
        OnlineWindow(SYMBOL, T=T)


def test_a_server_that_is_gone_is_an_error_until_it_is_back(on_redis, monkeypatch):
    """Its address is in the message, its password is not."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("OFI_META_REDIS", f"{address},password=secret")
    online = OnlineWindow(SYMBOL, T=T)
    for call in (lambda: online.snapshot_at(at(1)), lambda: online.push(*window(1))):
        with pytest.raises(StoreError, match=rf"online store at {address} failed .*make services") as failure:
            call()
        assert "secret" not in str(failure.value)


def test_a_server_that_stops_answering_holds_a_read_up_for_a_moment_only(monkeypatch, on_redis):
    if not has_redis():
        pytest.skip(NO_SERVER)
    with redis_server() as server:  # one's own: it is stopped
        monkeypatch.setenv("OFI_META_REDIS", f"{server.address},socket_timeout=0.5")
        online = OnlineWindow(SYMBOL, T=T)
        online.push(*window(1))
        assert_same(online.snapshot_at(at(1)), window(1))
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(StoreError, match=r"online store at .* failed \(Timeout"):
                online.snapshot_at(at(1))
            # Once, not with the 2 s of a write, nor with the three more tries that redis-py makes if left alone.
            assert time.monotonic() - began < 1.8
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        # The late answer is not taken for that of the next question.
        assert_same(online.snapshot_at(at(1)), window(1))
        assert online.push(*window(2))
        assert_same(online.snapshot_at(at(2)), window(2))


def test_reads_ask_once_and_wait_50_ms_writes_wait_longer(on_redis, monkeypatch):
    monkeypatch.setenv("OFI_META_REDIS", on_redis.address)
    store = open_store()
    online, config = store.provider.online_store, store.config
    for client, patience in ((online._get_client(config.online_store), 0.05), (online._writer(config), 2.0)):
        connection = client.connection_pool.make_connection()
        assert connection.socket_timeout == patience
        assert connection.socket_connect_timeout == 0.05
        assert connection.retry.get_retries() == 0


def test_an_option_in_the_address_counts(on_redis, monkeypatch):
    monkeypatch.setenv("OFI_META_REDIS", f"{on_redis.address},socket_timeout=0.2,db=3")
    store = open_store()
    options = store.provider.online_store._get_client(store.config.online_store).get_connection_kwargs()
    assert options["socket_timeout"] == 0.2
    assert options["db"] == 3
    online = OnlineWindow(SYMBOL, T=T)
    assert online.push(*window(1))
    assert_same(online.snapshot_at(at(1)), window(1))
    assert on_redis.client.dbsize() == 0


def test_a_registry_of_another_version_is_an_error(on_sqlite):
    from feast import FeatureService

    store = open_store()
    store.apply(
        [FeatureService(name="meta_model_v1", features=[store.get_feature_view("window_sequence")[["t_ns", "x"]]])]
    )
    with pytest.raises(StoreError, match=r"lacks window_sequence:market\. .*feast -c feature_repo apply"):
        OnlineWindow(SYMBOL, T=T)
