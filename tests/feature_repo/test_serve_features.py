"""From the shell: `feast apply` with the configuration for Redis, and `feast serve` over either store."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np
import pytest

from feature_repo.market_row import unpack_market
from feature_repo.offline import apply_definitions
from feature_repo.store import REPO_DIR, open_store
from runtime.live.online import OnlineWindow
from tests.feast_command import start_feast
from tests.redis_server import NO_SERVER, free_port, has_redis, redis_server
from tests.runtime.online_windows import SYMBOL, T, at, frame, number, window, write_source

pytestmark = pytest.mark.slow

ROOT = REPO_DIR.parent
REDIS_YAML = "feature_repo/feature_store.redis.yaml"
OPTIONS = {"sqlite": ["-c", "feature_repo"], "redis": ["-c", "feature_repo", "-f", REDIS_YAML]}


@dataclass(frozen=True)
class Served:
    """A running `feast serve` and the environment it was started in."""

    name: str
    process: BaseProcess
    port: int
    log: Path
    environment: dict[str, str]

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def wait(self) -> None:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1):
                    return
            except (URLError, OSError):
                assert self.process.is_alive(), self.log.read_text()
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.1)

    def end(self) -> None:
        self.process.terminate()  # the server's own worker outlives a kill
        self.process.join(30)
        self.process.kill()

    def stop(self) -> None:
        self.end()
        said = self.log.read_text()
        assert self.process.exitcode == 0, said
        assert "shutdown complete" in said, said


def serve(name: str, folder: Path, environment: dict[str, str]) -> Served:
    port, log = free_port(), folder / f"{name}.log"
    process = start_feast([*OPTIONS[name], "serve", "--port", str(port)], environment, ROOT, log)
    return Served(name, process, port, log, environment)


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[dict[str, Served]]:
    """Both stores, applied and served."""
    folder = tmp_path_factory.mktemp("serve")
    environment = {**os.environ, "OFI_META_DATA": str(folder), "FEAST_USAGE": "False"}
    environment.pop("FEAST_FS_YAML_FILE_PATH", None)
    log = folder / "apply.log"
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        if has_redis():
            environment["OFI_META_REDIS"] = running.enter_context(redis_server()).address
            applied = start_feast([*OPTIONS["redis"], "apply"], environment, ROOT, log)
        patch.setenv("OFI_META_DATA", str(folder))
        patch.delenv("FEAST_FS_YAML_FILE_PATH", raising=False)
        apply_definitions()
        served = {"sqlite": serve("sqlite", folder, environment)}
        running.callback(served["sqlite"].end)
        if has_redis():
            applied.join(120)
            assert applied.exitcode == 0, log.read_text()
            assert "Traceback" not in log.read_text()
            served["redis"] = serve("redis", folder, environment)
            running.callback(served["redis"].end)
        for one in served.values():
            one.wait()
        yield served
        for one in served.values():
            one.stop()


@pytest.fixture(params=["sqlite", "redis"])
def served(request, servers, monkeypatch) -> Served:
    if request.param not in servers:
        pytest.skip(NO_SERVER)
    one = servers[request.param]
    for name in ("OFI_META_DATA", "OFI_META_REDIS"):
        if name in one.environment:
            monkeypatch.setenv(name, one.environment[name])
    # The library and the gate follow Feast's variable where the command was given -f.
    if request.param == "redis":
        monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(ROOT / REDIS_YAML))
    else:
        monkeypatch.delenv("FEAST_FS_YAML_FILE_PATH", raising=False)
    return one


def columns(k: int) -> dict[str, list]:
    """A window as JSON."""
    rows = frame(k)
    given = {name: rows[name].tolist() for name in rows.columns}
    return given | {
        "x": [rows["x"][0].tolist()],
        "market": [rows["market"][0].tolist()],
        "event_timestamp": [rows["event_timestamp"][0].isoformat()],
    }


def read(served: Served, symbol: str = SYMBOL) -> dict[str, tuple[object, str, str]]:
    """Value, status and event time by feature."""
    entities = {"symbol": [symbol], "candidate_id": ["none"]}
    answer = served.post("/get-online-features", {"feature_service": "meta_model_v1", "entities": entities})
    cells = ((r["values"][0], r["statuses"][0], r["event_timestamps"][0]) for r in answer["results"])
    window = {"symbol", "t_ns", "x", "market"}
    named = zip(answer["metadata"]["feature_names"], cells, strict=True)
    return {name: cell for name, cell in named if name in window}


def served_number(served: Served) -> int:
    """Which window the server gives; every value of it must say the same, bit for bit."""
    answer = {name: value for name, (value, _, _) in read(served).items()}
    x = np.array(answer["x"], np.float64).astype(np.float32).reshape(T, -1)
    market = np.array(answer["market"], np.float64)  # "NaN" and "Infinity" are numbers to NumPy
    return number((x, unpack_market(answer["t_ns"], market)))


def test_what_is_pushed_over_http_is_served_bit_for_bit(served):
    served.post("/push", {"push_source_name": "window_push", "df": columns(5), "to": "online"})
    assert served_number(served) == 5
    value, status, event = read(served)["t_ns"]
    assert (value, status, event) == (at(5), "PRESENT", "2026-01-05T00:00:00.500Z")
    assert number(OnlineWindow(SYMBOL, T=T).snapshot_at(at(5))) == 5
    # Any way to push again: the newest stays.
    served.post("/push", {"push_source_name": "window_push", "df": columns(4), "to": "online"})
    assert served_number(served) == 5
    served.post("/write-to-online-store", {"feature_view_name": "window_sequence", "df": columns(3)})
    assert served_number(served) == 5
    open_store().push("window_push", frame(7, 6))
    assert served_number(served) == 7
    assert OnlineWindow(SYMBOL, T=T).push(*window(8))
    assert served_number(served) == 8


def test_what_is_materialised_from_the_shell_is_served_unless_it_is_older(served):
    def materialise(end: int) -> None:
        until = datetime.fromtimestamp(at(end) / 1e9, UTC).isoformat()
        log = served.log.with_suffix(f".{end}.log")
        arguments = [*OPTIONS[served.name], "materialize-incremental", until, "--views", "window_sequence"]
        done = start_feast(arguments, served.environment, ROOT, log)
        done.join(120)
        assert done.exitcode == 0, log.read_text()

    write_source(20, 21, 25)
    materialise(22)
    assert served_number(served) == 21
    assert OnlineWindow(SYMBOL, T=T).push(*window(26))
    materialise(27)
    assert served_number(served) == 26


def test_what_was_never_pushed_is_not_found(served):
    answer = read(served, "NEVER")
    assert {name: cell[:2] for name, cell in answer.items() if name != "symbol"} == dict.fromkeys(
        ["t_ns", "x", "market"], (None, "NOT_FOUND")
    )


def test_a_question_that_cannot_be_answered_is_an_http_error(served):
    with pytest.raises(HTTPError, match="404"):
        served.post("/get-online-features", {"feature_service": "nothing", "entities": {"symbol": [SYMBOL]}})
    assert "FeatureServiceNotFoundException" in served.log.read_text()
