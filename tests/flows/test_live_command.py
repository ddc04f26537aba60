"""`ofi-meta live` as a person runs it: a replay to its end, what is left on disk, and what it refuses."""

from __future__ import annotations

import gzip
import subprocess
import sys

import pytest

from feature_repo.store import feast_root
from runtime.decision import Decision, Reason
from runtime.live.flat_memory import FLAT_MEMORY
from tests.runtime.gate_builders import candidate
from tests.runtime.live_run import ETHUSDT, release


def live(*arguments, folder, **more):
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "live", *map(str, arguments), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**more.pop("env", {})} or None,
        **more,
    )


@pytest.fixture(autouse=True)
def _memory_is_set_already(monkeypatch):
    """Else a command that is called in this process would begin this process again."""
    for name, value in FLAT_MEMORY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return release(tmp_path_factory.mktemp("releases"), "binance_usdm", "ETHUSDT")


@pytest.mark.slow
def test_a_replay_runs_to_its_end_through_the_store_and_its_decisions_can_be_explained(bundle, tmp_path, monkeypatch):
    if not ETHUSDT.is_dir():
        pytest.skip(f"no recording at {ETHUSDT}")
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path))
    lines = b"".join(gzip.decompress(p.read_bytes()) for p in sorted(ETHUSDT.glob("*.gz"))).splitlines(keepends=True)
    recording = tmp_path / "r.txt"
    recording.write_bytes(b"".join(lines[:12_000]))
    asked = ("ETHUSDT", "--bundle", bundle, "--profile", "C", "--replay", recording, "--speed", 0)
    done = live(*asked, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "REPLAY" in done.stdout
    assert "release tiny" in done.stdout
    assert "orders are only printed, never placed" in done.stdout
    assert "no release" not in done.stdout
    assert (feast_root() / "registry.db").is_file()
    log = tmp_path / "live" / "binance_usdm" / "ETHUSDT" / "replayed"
    assert list(log.glob("*/*.parquet"))
    told = subprocess.run(
        [sys.executable, "-m", "flows.cli", "explain", "last", "--log", log, "--releases", bundle.parent],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    assert "the same answer, bit for bit" in told.stdout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["NOSUCH"], "unknown symbol 'NOSUCH'"),
        (["ETHUSDT", "--venue", "kraken"], "venue 'kraken'. Expected binance_usdm"),
        (["ETHUSDT", "--trades", "x"], "trades 'x'. Expected aggTrade or trade"),
        (["ETHUSDT", "--bundle", "nowhere"], "no bundle at nowhere"),
        (["ETHUSDT", "--replay", "nowhere"], "nowhere cannot be read"),
        (["ETHUSDT", "--profile", "Q", "--in-process"], "the profile 'Q'"),
        (["ETHUSDT", "--fee-tier", "gold", "--in-process"], "gold"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence_and_nothing_is_written(
    bundle, tmp_path, capsys, monkeypatch, asked, said
):
    from flows.cli import main

    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    asked = asked if "--bundle" in asked else [*asked, "--bundle", str(bundle)]
    monkeypatch.setattr(sys, "argv", ["ofi-meta", "live", *asked, "--port", "0"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in " ".join(error.split())
    assert "Traceback" not in error
    assert not list(tmp_path.glob("data/live/**/*.gz"))


def test_a_release_for_another_symbol_is_refused(tmp_path, capsys, monkeypatch):
    from flows.cli import main

    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    other = release(tmp_path / "releases", "binance_usdm", "BTCUSDT")
    monkeypatch.setattr(
        sys, "argv", ["ofi-meta", "live", "ETHUSDT", "--bundle", str(other), "--in-process", "--port", "0"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "a release for BTCUSDT" in capsys.readouterr().err


def test_an_order_that_would_have_been_sent_is_told_as_a_sentence():
    from flows.live import order_told

    decision = Decision(allow=True, p=0.8125, size=1_250.0, reason=Reason.ALLOW, p_breakeven=0.5, latency_us=400.0)
    entry = candidate(ts_ns=1_767_571_200_300_000_000, symbol="ETHUSDT", side=-1, price=3_424.1)
    assert order_told(entry, decision) == (
        "00:00:00.3 UTC would sell 1,250.00 USD of ETHUSDT at about 3,424.10: momentum, P 0.812; not placed"
    )
