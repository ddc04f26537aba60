"""Windows lie in the store as numbers without names: what another catalogue wrote is refused."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from feature_repo.constants import WINDOW_NS
from feature_repo.offline import training_set, write_store
from feature_repo.store import StoreError

from .store_table import DAY_NS, START_NS, make_table, some_candidates

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "feast"


@pytest.mark.parametrize("view", ["window_sequence", "candidate_context"])
@pytest.mark.parametrize("mark", [{b"catalogue": b"f" * 64}, {}])
def test_a_day_of_another_catalogue_or_of_none_is_refused(root, view, mark):
    table = make_table()
    ids, ts, ctx = some_candidates(table, [200])
    write_store(table, ids, ts, ctx)
    assert training_set(table.symbol, ids, ts).found.all()
    (file,) = (root / view / table.symbol).glob("*.parquet")
    rows = pq.read_table(file)
    pq.write_table(rows.replace_schema_metadata(mark), file)
    with pytest.raises(StoreError, match=r"written with field catalogue (ffffffffffff|none)") as refused:
        training_set(table.symbol, ids, ts)
    assert str(file) in str(refused.value)


def test_a_day_that_is_not_asked_for_may_be_anyones(root):
    table, later = make_table(), make_table(start_ns=START_NS + DAY_NS + WINDOW_NS)
    write_store(table, *some_candidates(table, [200]))
    write_store(later, *some_candidates(later, [200]))
    file = root / "window_sequence" / table.symbol / "2026-01-05.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)
    assert training_set(later.symbol, *some_candidates(later, [200])[:2]).found.all()


def test_days_of_another_catalogue_go_when_their_symbol_is_written(root, monkeypatch):
    table, later = make_table(), make_table(start_ns=START_NS + DAY_NS + WINDOW_NS)
    with monkeypatch.context() as older:
        older.setattr("feature_repo.offline.CATALOGUE_HASH", "f" * 64)
        write_store(table, *some_candidates(table, [200]))
    write_store(later, *some_candidates(later, [200]))
    assert {p.name for p in root.glob("*/ETHUSDT-SIM/*.parquet")} == {"2026-01-06.parquet"}
    ids, ts, _ = some_candidates(table, [200])
    assert not training_set(table.symbol, ids, ts).found.any()
