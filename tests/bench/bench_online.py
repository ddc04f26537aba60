"""The online stores as a gate meets them: one read each 100 ms, while another process pushes a window each 100 ms."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from tests.redis_server import NO_SERVER, has_redis, redis_server

from .harness import ROOT, Bench, in_process, measured, not_measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from feast import FeatureStore

__all__ = ["run"]

_STORES = {"SQLite": ("feature_store.yaml", 2), "Redis": ("feature_store.redis.yaml", 3)}
"""Configuration, and what the slowest read in a hundred may take, ms."""
_READS, _PERIOD_NS = 250, 100_000_000
_SWEEP_NS = 1_000_000  # a read comes 1 ms later in its 100 ms than the one before: at any time of a push
_T = 64
_SYMBOL = "ETHUSDT"


def run() -> list[Bench]:
    """P50 and P99 of either store, beside Feast's own of the same rows."""
    rows = []
    for name, (yaml, limit_ms) in _STORES.items():
        p99, goal = f"online: {name} read P99, paced", f"ours <= {limit_ms}"
        if name == "Redis" and not has_redis():
            rows.append(not_measured(p99, "ms", NO_SERVER, goal=goal))
            continue
        with TemporaryDirectory() as folder, ExitStack() as running:
            server = running.enter_context(redis_server()).address if name == "Redis" else ""
            ours, peer = (
                in_process(f"bench_online:{side}", folder, yaml, server, cpus=2) for side in ("gate", "feast")
            )
        how = (
            f"snapshot_at() of [{_T}, 24] and its market row, {_READS} reads 101 ms apart, each after a pause, while a "
            f"second process pushes a new window every 100 ms; P50 {ours[0]:.2f} ms, the oldest window read "
            f"{ours[2]:.0f} ms old, a push takes {ours[3]:.1f} ms; Feast's own {name} store of the same rows: "
            f"get_online_features(window_sequence).to_dict(), P50 {peer[0]:.2f} ms"
        )
        rows.append(
            measured(p99, ours[1], "ms", peer_name=f"Feast's {name} store", peer=peer[1], goal=goal, how=how),
        )
    return rows


def gate(folder: str, yaml: str, server: str) -> tuple[float, float, float, float]:
    """P50 and P99 of our reader, ms; age of the oldest window it gave, ms; median of a push, ms."""
    from runtime.live.online import OnlineWindow

    with _pushing(folder, yaml, server) as pushed:
        window = OnlineWindow(_SYMBOL, T=_T)
        ages = []

        def read() -> None:
            now_ns = time.time_ns()
            found = window.snapshot_at(now_ns)
            ages.append(now_ns - int(found[1]["t_ns"]))

        return *_paced(read), max(ages) / 1e6, pushed()


def feast(folder: str, yaml: str, server: str) -> tuple[float, float]:
    """P50 and P99 of Feast's own store and answer, ms."""
    with _pushing(folder, yaml, server):
        store = _stock(server)
        refs = [f"window_sequence:{f.name}" for f in store.get_feature_view("window_sequence").features]
        rows = [{"symbol": _SYMBOL}]

        def read() -> None:
            answer = store.get_online_features(features=refs, entity_rows=rows).to_dict()
            if len(answer["x"][0]) != _T * 24:
                raise RuntimeError(f"a window of {len(answer['x'][0])} values")

        return _paced(read)


def push(seconds: str) -> float:
    """Push a new window at each 100 ms of the clock; median of a push, ms."""
    from feature_repo.fields import CHANNELS, MARKET_DTYPE
    from runtime.live.online import OnlineWindow

    window = OnlineWindow(_SYMBOL, T=_T)
    x = np.random.default_rng(0).standard_normal((_T, len(CHANNELS)), dtype=np.float32)
    row = np.ones((), MARKET_DTYPE)
    took = []
    until_ns = time.time_ns() + int(float(seconds) * 1e9)
    while (t_ns := -(-time.time_ns() // _PERIOD_NS) * _PERIOD_NS) < until_ns:
        time.sleep((t_ns - time.time_ns()) / 1e9)
        row["t_ns"], x[-1, 0] = t_ns, len(took)
        began = time.perf_counter()
        if not window.push(x, row[()]):
            raise RuntimeError("a newer window was refused")
        took.append(time.perf_counter() - began)
    return 1e3 * float(np.median(took))


@contextmanager
def _pushing(folder: str, yaml: str, server: str) -> Iterator[Callable[[], float]]:
    """Another process that pushes; gives what waits for its end and tells the median of a push, ms."""
    from feature_repo.offline import apply_definitions
    from feature_repo.store import REPO_DIR
    from runtime.live.online import OnlineWindow

    os.environ |= {"OFI_META_DATA": folder, "FEAST_FS_YAML_FILE_PATH": str(REPO_DIR / yaml)}
    os.environ["OFI_META_REDIS"] = f"{server},socket_timeout=10"  # a read that is too slow for a gate is a figure here
    apply_definitions()
    seconds = _READS * (_PERIOD_NS + _SWEEP_NS) / 1e9 + 10
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.worker", "bench_online:push", f'["{seconds}"]'],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )

    def pushed() -> float:
        return float(process.communicate(timeout=60)[0])

    try:
        window = OnlineWindow(_SYMBOL, T=_T)
        until = time.monotonic() + 60
        while window.snapshot_at(time.time_ns()) is None:  # none that is new
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("nothing is pushed")
            time.sleep(0.1)
        yield pushed
    finally:
        process.kill()
        process.wait()


def _paced(read: Callable[[], None]) -> tuple[float, float]:
    for _ in range(20):
        read()
    took = []
    next_ns = time.perf_counter_ns()
    for _ in range(_READS):
        next_ns += _PERIOD_NS + _SWEEP_NS
        time.sleep(max(0, next_ns - time.perf_counter_ns()) / 1e9)
        began = time.perf_counter_ns()
        read()
        took.append(time.perf_counter_ns() - began)
    p50, p99 = np.percentile(took, (50, 99)) / 1e6
    return float(p50), float(p99)


def _stock(server: str) -> FeatureStore:
    """Feast's own online store on our registry and rows."""
    from feast import FeatureStore, RepoConfig

    from feature_repo.store import feast_root

    registry = "registry.redis.db" if server else "registry.db"
    online = {"type": "redis", "connection_string": server} if server else {"type": "sqlite"}
    if not server:
        online["path"] = str(feast_root() / "online.db")
    config = RepoConfig(
        project="ofi_meta",
        provider="local",
        registry={"path": str(feast_root() / registry), "cache_ttl_seconds": 0},
        online_store=online,
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)
