"""Days of a market, made once: by the bytes that they are made from, and again when those or the outputs change."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from feature_repo.errors import InputError
from feature_repo.market.tape import open_tape
from feature_repo.table import FeatureTable
from flows import steps
from flows.days import contract_of_market, ingest_day, join_days, made_days, market_days, tape_key
from flows.made import unless_made
from flows.market_steps import make_market
from flows.markets import DayParameters, Market
from meta_models.label_io import labels_from_parquet
from tests.flows.conftest import RECORDINGS

ETHUSDT = RECORDINGS / "binance_usdm_ethusdt"


@pytest.fixture(autouse=True)
def _data(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))


@pytest.fixture
def recording(tmp_path):
    """The first part of ETHUSDT, which begins shortly before midnight, and a piece of the second."""
    if not ETHUSDT.is_dir():
        pytest.skip(f"no recording at {ETHUSDT}")
    folder = tmp_path / "raw"
    folder.mkdir()
    first, second = sorted(ETHUSDT.glob("*.gz"))
    shutil.copy(first, folder / "one.gz")
    lines = gzip.decompress(second.read_bytes()).splitlines(keepends=True)
    (folder / "two.gz").write_bytes(gzip.compress(b"".join(lines[:4_000])))
    return folder, lines


def days(folder, **more):
    parameters = DayParameters(markets=[Market(source=folder)], **more)
    return market_days(parameters.markets[0], parameters)


def test_a_day_is_made_once(recording):
    folder, _ = recording
    items = days(folder)
    assert [item.day for item in items] == [date(2024, 7, 18), date(2024, 7, 19)]
    first = [ingest_day(item) for item in items]
    assert [m.fresh for m in first] == [True, True]
    assert [m.fresh for m in map(ingest_day, items)] == [False, False]
    assert [m.day for m in made_days("binance_usdm", "ETHUSDT")] == ["2024-07-18", "2024-07-19"]


def test_more_data_of_a_day_makes_that_day_again_and_no_other(recording):
    folder, lines = recording
    before = [ingest_day(item) for item in days(folder)]
    (folder / "two.gz").write_bytes(gzip.compress(b"".join(lines[:5_000])))
    after = [ingest_day(item) for item in days(folder)]
    assert [m.fresh for m in after] == [False, True]
    assert after[1].rows > before[1].rows


@pytest.mark.parametrize("damage", ["tape gone", "mark damaged", "mark gone", "rows missing"])
def test_what_is_gone_or_damaged_is_made_again(recording, damage):
    folder, _ = recording
    made = next(ingest_day(item) for item in days(folder))
    tape = Path(made.path)
    mark = tape.with_name(f".{tape.name}.made.json")
    if damage == "tape gone":
        shutil.rmtree(tape)
    elif damage == "mark damaged":
        mark.write_text("{")
    elif damage == "mark gone":
        mark.unlink()
    else:
        (tape / f"{made.day}.parquet").unlink()
    again = ingest_day(days(folder)[0])
    assert again.fresh
    assert open_tape(again.path).rows == made.rows


def test_days_join_to_the_market_once(recording):
    folder, _ = recording
    made = [ingest_day(item) for item in days(folder)]
    tape = join_days(made)
    stamp, key = (tape / "manifest.json").stat().st_mtime_ns, tape_key(tape)
    assert (join_days(made) / "manifest.json").stat().st_mtime_ns == stamp
    assert tape_key(join_days(made[1:])) != key
    assert open_tape(tape).rows == made[1].rows


@pytest.mark.slow
def test_features_and_labels_are_made_once_and_again_when_the_tier_changes(recording, tmp_path):
    folder, _ = recording
    made = [ingest_day(item) for item in days(folder)]
    first = make_market(made, max_candidates=50)
    assert first.fresh
    assert sum(d.rows for d in first.days) > 2_000
    assert not make_market(made, max_candidates=50).fresh
    assert make_market(made, max_candidates=50, fee_tier="vip9").fresh
    shutil.rmtree(tmp_path / "data" / "feast" / "window_sequence")
    assert make_market(made, max_candidates=50, fee_tier="vip9").fresh


@pytest.mark.slow
def test_what_another_command_put_in_their_place_is_not_taken_for_them(recording):
    """`ofi-meta label`, `features` and `shadow` write the same folders."""
    folder, _ = recording
    made = [ingest_day(item) for item in days(folder)]
    mine = make_market(made, max_candidates=50)
    tape, features, fee = Path(mine.tape), Path(mine.features), steps.fee_of(mine.venue, "vip9")
    rows = FeatureTable.load(features).t_ns
    steps.make_labels(tape, features, fee, max_candidates=7)
    again = make_market(made, max_candidates=50)
    assert again.fresh
    assert (again.candidates, labels_from_parquet(Path(again.labels)).fee.name) == (mine.candidates, "regular")
    steps.make_features(Path(made[0].path))
    make_market(made, max_candidates=50)
    assert (FeatureTable.load(features).t_ns == rows).all()


def test_an_output_is_not_trusted_while_it_is_being_made(tmp_path):
    mark, out = tmp_path / ".mark.json", tmp_path / "out"

    def make(text):
        out.write_text(text)
        return {"text": text}

    def files(_):
        return [out] if out.is_file() else []

    assert unless_made(mark, "a", lambda: make("one"), outputs=files) == ({"text": "one"}, True)
    assert unless_made(mark, "a", lambda: make("two"), outputs=files) == ({"text": "one"}, False)

    def killed():
        make("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unless_made(mark, "b", killed, outputs=files)
    assert unless_made(mark, "a", lambda: make("three"), outputs=files) == ({"text": "three"}, True)
    # Another command may write the same place: what it left there is not what the mark tells of.
    out.write_text("other")
    assert unless_made(mark, "a", lambda: make("four"), outputs=files) == ({"text": "four"}, True)
    out.unlink()
    assert unless_made(mark, "a", lambda: make("five"), outputs=files) == ({"text": "five"}, True)


def test_the_contract_is_asked_of_the_files(recording):
    folder, _ = recording
    assert contract_of_market(Market(source=folder)) == ("binance_usdm", "ETHUSDT")
    assert contract_of_market(Market()) == ("simulated", "ETHUSDT-SIM")
    assert contract_of_market(Market(source=folder, symbol="X", venue="y")) == ("y", "X")


@pytest.mark.parametrize("line", ["", ",ETHUSDT,1721347200000000,1721347200001000,7,buy,100,1\n"])
def test_files_that_do_not_name_their_contract_in_full_are_told(tmp_path, line):
    (tmp_path / "trades.csv").write_text(f"exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n{line}")
    with pytest.raises(InputError, match=r"do not name their contract in full\. Expected symbol and venue"):
        contract_of_market(Market(source=tmp_path))


def test_a_span_without_a_day_is_named(recording):
    folder, _ = recording
    with pytest.raises(InputError, match="has 2024-07-18 to 2024-07-19, none from 2025-01-01"):
        days(folder, first_day=date(2025, 1, 1))
    with pytest.raises(InputError, match="does not exist"):
        days(folder / "nowhere")


def test_days_that_are_meant():
    there = [date(2026, 1, d) for d in range(1, 11)]
    assert DayParameters(last_days=3).chosen(there) == there[-3:]
    assert DayParameters(first_day=date(2026, 1, 9)).chosen(there) == there[-2:]
    assert DayParameters(last_day=date(2026, 1, 4), last_days=2).chosen(there) == there[2:4]
    with pytest.raises(ValidationError, match="is after last_day"):
        DayParameters(first_day=date(2026, 1, 2), last_day=date(2026, 1, 1))
    with pytest.raises(ValidationError):
        DayParameters(markets=[])
    with pytest.raises(ValidationError, match="one simulated market at the most"):
        DayParameters(markets=[Market(), Market(seed=8)])


@pytest.mark.slow
def test_a_simulated_day_is_the_same_however_many_follow_it():
    two = DayParameters(markets=[Market(rate=20)], simulated_days=2)
    first, second = (ingest_day(item) for item in market_days(two.markets[0], two))
    assert first.simulated
    assert json.loads((Path(second.path) / "manifest.json").read_text())["opened_from_ns"] is not None
    one = DayParameters(markets=[Market(rate=20)], simulated_days=1)
    assert [m.fresh for m in map(ingest_day, market_days(one.markets[0], one))] == [False]
