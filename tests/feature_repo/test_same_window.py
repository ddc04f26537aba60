"""The same window of the real ETHUSDT recording, bit for bit: live, in the table, offline, pushed and materialised."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.build import build_features
from feature_repo.constants import MODEL, SECOND_NS
from feature_repo.fields import CHANNELS, CTX_NAMES
from feature_repo.market.tape import read_tape
from feature_repo.market_row import unpack_market
from feature_repo.offline import apply_definitions, candidate_id, training_set, write_store
from feature_repo.store import SERVICE, open_store
from feature_repo.window import FeatureWindow
from runtime.live.online import OnlineWindow

pytestmark = pytest.mark.slow

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"
SPAN_NS = 90 * SECOND_NS  # a minute of warm-up, a window, and some seconds
TIMES = 5


@pytest.fixture(scope="module")
def tape():
    if not RECORDING.is_dir():
        pytest.skip("the recording of ETHUSDT is not beside the project")
    whole = read_tape(RECORDING)
    end = np.searchsorted(whole.events["local_ts"], whole.span_ns[0] + SPAN_NS)
    return dataclasses.replace(whole, events=whole.events[:end])


def bits(x, market):
    return x.shape, np.ascontiguousarray(x, np.float32).tobytes(), market.tobytes()


def live_windows(tape, times):
    """What a FeatureWindow that is fed event by event has at each of the times."""
    window, wanted, seen = FeatureWindow(MODEL.T, instrument=tape.instrument), set(times.tolist()), {}
    for event in tape.events:
        window.update_from_event(event)
        if window.as_of_ns in wanted and window.as_of_ns not in seen:
            seen[window.as_of_ns] = bits(window.snapshot(), window.market)
    return seen


def offline_windows(symbol, ids, times):
    """What get_historical_features has at each of the times, in the order asked."""
    at = pd.to_datetime(times, utc=True)
    rows = pd.DataFrame({"symbol": symbol, "candidate_id": ids, "event_timestamp": at})
    store = open_store()
    got = store.get_historical_features(rows, store.get_feature_service(SERVICE)).to_arrow()
    market = [unpack_market(t, row) for t, row in zip(got["t_ns"].to_pylist(), got["market"].to_pylist(), strict=True)]
    x = np.stack(got.column("x").to_numpy()).reshape(len(times), MODEL.T, len(CHANNELS))
    assert training_set(symbol, ids, times).x.tobytes() == x.tobytes()
    return {int(t): bits(x[i], market[i]) for i, t in enumerate(times)}


def test_live_table_offline_pushed_and_materialised_are_the_same_bits(tape, tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "pushed"))
    table = build_features(tape)
    ready = np.flatnonzero(table.windows(table.t_ns)[1])
    times = table.t_ns[np.linspace(ready[0], ready[-1], TIMES).astype(int)]
    assert len(np.unique(times)) == TIMES
    (windows, _), rows = table.windows(times), table.market[np.searchsorted(table.t_ns, times)]
    expected = {int(t): bits(x, row) for t, x, row in zip(times, windows, rows, strict=True)}
    assert len(set(expected.values())) == TIMES

    assert live_windows(tape, times) == expected

    order = np.array([3, 0, 4, 1, 2])
    ids = [candidate_id(tape.symbol, t, 1) for t in times]
    write_store(table, ids, times, np.zeros((TIMES, len(CTX_NAMES)), np.float32))
    assert offline_windows(tape.symbol, [ids[i] for i in order], times[order]) == expected

    shutil.copytree(tmp_path / "pushed", tmp_path / "materialised", ignore=shutil.ignore_patterns("online.db*"))
    online, pushed = OnlineWindow(tape.symbol), {}
    for t_ns, x, row in zip(times.tolist(), windows, rows, strict=True):
        assert online.push(x, row)
        pushed[t_ns] = bits(*online.snapshot_at(t_ns))
    assert pushed == expected

    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "materialised"))
    apply_definitions()
    store, materialised = open_store(), {}
    online = OnlineWindow(tape.symbol)
    for t_ns in times.tolist():
        end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t_ns // 1_000)
        store.materialize(end - timedelta(minutes=5), end, feature_views=["window_sequence"])
        materialised[t_ns] = bits(*online.snapshot_at(t_ns))
    assert materialised == expected
