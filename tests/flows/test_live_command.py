"""`ofi-meta live` as a person runs it: a replay to its end, what is left on disk, and what it refuses."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.errors import InputError
from feature_repo.store import feast_root
from runtime.decision import Decision, Reason
from runtime.live.flat_memory import FLAT_MEMORY
from tests.feature_repo.binance_messages import T0, record, usdm
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


@pytest.fixture
def called(bundle, tmp_path, capsys, monkeypatch):
    """`ofi-meta live --replay` in this process; returns (exit code, what a person reads)."""
    from flows.cli import main

    def call(replay: Path, *more: str) -> tuple[int, str]:
        monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
        asked = ["live", "ETHUSDT", "--bundle", str(bundle), "--replay", str(replay), "--in-process", "--port", "0"]
        monkeypatch.setattr(sys, "argv", ["ofi-meta", *asked, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code, " ".join((said.out + said.err).split())

    return call


def recording(path: Path, symbol: str = "ETHUSDT", seconds: int = 1) -> Path:
    """A change of the book now and one so much later."""
    messages = [usdm(k, k, k - 1, t=T0 + k * 1_000 * seconds, s=symbol) for k in range(2)]
    return record(path, [{"stream": f"{symbol.lower()}@depth@0ms", "data": m} for m in messages], step=1_000 * seconds)


def test_a_folder_without_a_recording_is_not_played(called, tmp_path):
    (tmp_path / "notes.txt").write_text("none of these is a recording\n")
    code, said = called(tmp_path)
    assert (code, f"{tmp_path}, a folder without a recording. Expected `<local_ts> <json>` a line" in said) == (2, True)


@pytest.mark.slow
def test_a_recording_of_another_symbol_is_not_played(called, tmp_path):
    code, said = called(recording(tmp_path / "btc.txt", "BTCUSDT"))
    assert code == 2
    assert "btc.txt, which has btcusdt@depth@0ms. Expected a recording of ETHUSDT. Give its symbol and --venue." in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("a book without sides", "two", "Look at it"), "error: a book without sides. Expected two."),
        (
            ArithmeticError("too deep"),
            "error: the thread that decides has ended (ArithmeticError: too deep). Expected a feed that it can follow. "
            "Start again; the recording and the decisions so far are on disk.",
        ),
    ],
)
def test_what_ended_the_decisions_is_told(called, tmp_path, monkeypatch, error, told):
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("runtime.live.service.drive", broken)
    code, said = called(recording(tmp_path / "eth.txt"), "--speed", "0")
    assert code == 2
    assert told in said


@pytest.mark.slow
@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_in_good_order(bundle, tmp_path, name):
    eth = recording(tmp_path / "eth.txt", seconds=86_400)
    command = [sys.executable, "-m", "flows.cli", "live", "ETHUSDT", "--bundle", bundle, "--replay", eth]
    with subprocess.Popen(
        [*map(str, command), "--in-process", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        try:
            assert any("REPLAY" in line for line in process.stdout), "it follows"
            process.send_signal(name)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "REPLAY" in said
    assert "Traceback" not in said


def test_an_order_that_would_have_been_sent_is_told_as_a_sentence():
    from flows.live import order_told

    decision = Decision(allow=True, p=0.8125, size=1_250.0, reason=Reason.ALLOW, p_breakeven=0.5, latency_us=400.0)
    entry = candidate(ts_ns=1_767_571_200_300_000_000, symbol="ETHUSDT", side=-1, price=3_424.1)
    assert order_told(entry, decision) == (
        "00:00:00.3 UTC would sell 1,250.00 USD of ETHUSDT at about 3,424.10: momentum, P 0.812; not placed"
    )
