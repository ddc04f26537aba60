"""`ofi-meta features` of one tape and of several: side by side, each failure told, none in the way of the others."""

from __future__ import annotations

import sys

import pytest

from feature_repo.build import build_features
from feature_repo.market.tape import Tape, write_stream
from feature_repo.table import FeatureTable
from flows.cli import main
from tests.feature_repo.streams import random_events


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `ofi-meta features` in a folder of its own; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ofi-meta", "features", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code or 0, *capsys.readouterr()

    return call


def tape(symbol: str, seed: int) -> Tape:
    return Tape("binance_usdm", symbol, random_events(seed, 20.0), {})


def test_one_tape(run, tmp_path):
    folder = write_stream(tape("ETHUSDT", 1), tmp_path / "elsewhere")
    code, out, err = run(folder)
    assert (code, out) == (0, f"{tmp_path / 'data' / 'features' / 'binance_usdm' / 'ETHUSDT'}\n")
    assert [line.split()[:2] for line in err.splitlines()] == [["done", "tape"], ["done", "features"]]


def test_several_tapes_of_which_some_cannot_be_used(run, tmp_path):
    tapes = {symbol: tape(symbol, seed) for seed, symbol in enumerate(("ETHUSDT", "BTCUSDT", "SOLUSDT"))}
    eth, btc, sol = (write_stream(t, tmp_path / "elsewhere") for t in tapes.values())
    again = write_stream(tapes["ETHUSDT"], tmp_path / "again")
    next(sol.glob("*.parquet")).write_bytes(b"PAR1 cut short")
    code, out, err = run(eth, tmp_path / "nowhere.gz", sol, again, btc, "--workers", 2)
    assert code == 2
    made = [tmp_path / "data" / "features" / "binance_usdm" / s for s in ("ETHUSDT", "BTCUSDT")]
    assert out.split() == [str(m) for m in made], "in the order of the arguments"
    for folder in made:
        assert FeatureTable.load(folder).X.tobytes() == build_features(tapes[folder.name]).X.tobytes()
    assert sorted(p.name for p in made[0].parent.iterdir()) == ["BTCUSDT", "ETHUSDT"]
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    for sentence, words in zip(told, ("nowhere.gz does not exist", "cannot be read", "as"), strict=True):
        assert words in sentence
        assert "Expected" in sentence
    assert f"{again} is of ETHUSDT on binance_usdm, as {eth} is" in told[2]
    assert "Traceback" not in err


def test_a_tape_that_turns_out_bad_on_the_way_leaves_its_old_features_and_the_others(run, tmp_path):
    eth, btc = (write_stream(tape(s, 3), tmp_path / "data" / "tape") for s in ("ETHUSDT", "BTCUSDT"))
    assert run(btc)[0] == 0
    features = tmp_path / "data" / "features" / "binance_usdm"
    before = {p: p.read_bytes() for p in (features / "BTCUSDT").rglob("*") if p.is_file()}
    day = next(btc.glob("*.parquet"))
    day.write_bytes(day.read_bytes()[:-300] + bytes(8) + day.read_bytes()[-292:])
    code, out, err = run(btc, eth)
    assert code == 2
    assert out.split() == [str(features / "ETHUSDT")]
    assert err.count("error: ") == 1
    assert {p: p.read_bytes() for p in before} == before


def test_help_tells_what_several_tapes_take(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run("--help")
    assert code == 0
    assert "{TAPE}..." in out
    assert "each with its table in memory" in out
