"""The feature table: its windows, its folder, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.build import build_features
from feature_repo.constants import WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.fields import CATALOGUE_HASH, CHANNELS, MARKET_DTYPE
from feature_repo.table import QUOTE_DTYPE, FeatureTable

from .streams import SHORT, StreamTape, random_events

DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def table() -> FeatureTable:
    return build_features(StreamTape(random_events(31, 30.0)), config=SHORT)


def _made(t_ns: list[int], valid: list[bool]) -> FeatureTable:
    market = np.zeros(len(t_ns), MARKET_DTYPE)
    market["t_ns"], market["valid"] = t_ns, valid
    X = np.arange(len(t_ns) * 24, dtype=np.float32).reshape(-1, 24)
    return FeatureTable("simulated", "ETHUSDT-SIM", True, X, market, np.zeros(0, QUOTE_DTYPE), 0.01)


def test_there_is_a_row_for_every_window(table):
    events = random_events(31, 30.0)
    first, last = int(events["local_ts"][0]), int(events["local_ts"][-1])
    assert table.t_ns[0] == first // WINDOW_NS * WINDOW_NS + WINDOW_NS
    assert table.t_ns[-1] == last // WINDOW_NS * WINDOW_NS
    assert (np.diff(table.t_ns) == WINDOW_NS).all()
    assert (np.diff(table.quotes["exch_ts"]) >= 0).all()
    assert (np.diff(table.quotes["local_ts"]) >= 0).all()


def test_windows_equal_a_plain_loop(table):
    t_ns, rng = table.t_ns, np.random.default_rng(0)
    ts = rng.choice(np.concatenate([t_ns, t_ns + 1, t_ns[:1] - WINDOW_NS, t_ns[-1:] + WINDOW_NS]), 400)
    x, ok = table.windows(ts, 20)
    assert 0 < ok.sum() < len(ok)
    for i, t in enumerate(ts):
        end = int(np.searchsorted(t_ns, t, side="right"))
        rows = slice(max(end - 20, 0), end)
        there = end >= 20 and t_ns[end - 1] == t and table.market["valid"][rows].all()
        assert ok[i] == there
        assert (x[i] == (table.X[rows] if there else 0)).all()


def test_a_window_with_a_hole_or_an_invalid_row_is_not_ok():
    t = [1, 2, 3, 5, 6, 7, 8]
    holed = _made([i * WINDOW_NS for i in t], [True] * 5 + [False, True])
    x, ok = holed.windows(np.array([3, 6, 5, 8, 4, 99]) * WINDOW_NS, 3)
    assert ok.tolist() == [True, False, False, False, False, False]
    assert (x[0] == holed.X[:3]).all()
    assert not x[1:].any()
    assert holed.windows(np.array([WINDOW_NS]), 50)[1].tolist() == [False]


def test_saved_and_loaded_bit_by_bit_over_two_days(tmp_path, table):
    market, quotes = table.market.copy(), table.quotes.copy()
    shift = DAY_NS - market["t_ns"][len(market) // 2] % DAY_NS
    market["t_ns"] += shift
    quotes["local_ts"] += shift
    moved = FeatureTable("binance_usdm", "ETHUSDT", False, table.X, market, quotes, 0.01, {"late": 3}, {"gap": 2})
    folder = moved.save(tmp_path)
    assert folder == tmp_path / "binance_usdm" / "ETHUSDT"
    assert len(list((folder / "features").iterdir())) == 2
    loaded = FeatureTable.load(folder)
    for name in ("X", "market", "quotes"):
        assert getattr(loaded, name).tobytes() == getattr(moved, name).tobytes()
    assert (loaded.venue, loaded.symbol, loaded.simulated, loaded.tick) == ("binance_usdm", "ETHUSDT", False, 0.01)
    assert (loaded.rejected, loaded.breaks) == ({"late": 3}, {"gap": 2})
    assert json.loads((folder / "meta.json").read_text())["catalogue_hash"] == CATALOGUE_HASH
    assert set(CHANNELS) <= set(pq.read_schema(next((folder / "features").iterdir())).names)


def test_row_groups_leave_no_trace_in_the_table(tmp_path, table, monkeypatch):
    monkeypatch.setattr("feature_repo.table._ROW_GROUP", 37)
    folder = table.save(tmp_path)
    assert pq.read_metadata(next((folder / "features").iterdir())).num_row_groups == -(-len(table.X) // 37)
    loaded = FeatureTable.load(folder)
    for name in ("X", "market", "quotes"):
        assert getattr(loaded, name).tobytes() == getattr(table, name).tobytes()


def test_a_table_saved_before_breaks_were_counted_loads_without_any(tmp_path):
    folder = _made([DAY_NS], [True]).save(tmp_path)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta.pop("breaks") == {}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert FeatureTable.load(folder).breaks == {}


def test_saving_again_replaces_the_whole_folder(tmp_path):
    _made([DAY_NS - WINDOW_NS, DAY_NS], [True, True]).save(tmp_path)
    folder = _made([5 * DAY_NS], [True]).save(tmp_path)
    assert [f.name for f in (folder / "features").iterdir()] == ["1970-01-06.parquet"]
    assert len(FeatureTable.load(folder).X) == 1
    assert [f.name for f in folder.parent.iterdir()] == ["ETHUSDT-SIM"], "nothing is left beside it"


def test_a_failed_save_leaves_the_old_table(tmp_path, monkeypatch):
    folder = _made([DAY_NS], [True]).save(tmp_path)

    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", broken)
    with pytest.raises(OSError, match="disk full"):
        _made([2 * DAY_NS, 3 * DAY_NS], [True, True]).save(tmp_path)
    assert len(FeatureTable.load(folder).X) == 1
    assert [f.name for f in folder.parent.iterdir()] == ["ETHUSDT-SIM"]


def test_what_a_killed_save_left_is_put_right_by_the_next(tmp_path, monkeypatch):
    folder = _made([DAY_NS], [True]).save(tmp_path)
    # As a kill leaves it between two renames: the table only under its hidden name, and a new one half written.
    folder.rename(folder.with_name(".ETHUSDT-SIM.old"))
    (folder.with_name(".ETHUSDT-SIM.new") / "features").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _made([2 * DAY_NS], [True]).save(tmp_path)
    assert FeatureTable.load(folder).t_ns.tolist() == [DAY_NS], "the old table is back"
    _made([2 * DAY_NS], [True]).save(tmp_path)
    assert FeatureTable.load(folder).t_ns.tolist() == [2 * DAY_NS]
    assert [f.name for f in folder.parent.iterdir()] == ["ETHUSDT-SIM"]


def test_a_folder_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="no readable feature table"):
        FeatureTable.load(tmp_path / "nowhere")
    folder = _made([DAY_NS, DAY_NS + WINDOW_NS], [True, True]).save(tmp_path)
    meta = json.loads((folder / "meta.json").read_text())

    def refuse(change: dict, match: str) -> None:
        (folder / "meta.json").write_text(json.dumps(meta | change))
        with pytest.raises(InputError, match=match):
            FeatureTable.load(folder)

    refuse({"catalogue_hash": "0" * 64}, "field catalogue 000000000000")
    refuse({"rows": 1}, "more rows than")
    refuse({"rows": 3}, "holds 2 rows")
    refuse({"schema": 99}, "schema 99")
    (folder / "meta.json").write_text("[]")
    with pytest.raises(InputError, match="lacks schema"):
        FeatureTable.load(folder)
    (folder / "meta.json").write_text(json.dumps(meta))
    file = next((folder / "features").iterdir())
    whole = pq.read_table(file)
    bytes_ = bytearray(file.read_bytes())
    bytes_[4:400] = bytes(396)
    file.write_bytes(bytes_)
    with pytest.raises(InputError, match="cannot be read"):
        FeatureTable.load(folder)
    pq.write_table(whole.drop_columns(["ofi_z"]), file)
    with pytest.raises(InputError, match="lacks the columns ofi_z"):
        FeatureTable.load(folder)
    file.write_bytes(b"PAR1 cut short")
    for days in (None, [file.stem]):
        with pytest.raises(InputError, match="cannot be read"):
            FeatureTable.load(folder, days=days)
