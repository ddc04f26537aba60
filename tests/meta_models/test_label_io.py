"""Labels and candidates go through Parquet unchanged; what is no labels file is refused."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.errors import InputError
from meta_models import label_io
from meta_models.label_io import labels_from_parquet, labels_to_parquet
from meta_models.labels import label_candidates
from tests.meta_models.test_labels import FEE, drifting


def test_parquet_round_trip(tmp_path):
    q, t, cs = drifting()
    labels = label_candidates(q, t, cs, FEE)
    path = labels_to_parquet(
        labels, cs, tmp_path / "labels.parquet", symbol="ETHUSDT", venue="binance_usdm", simulated=False, fee=FEE
    )
    back = labels_from_parquet(path)
    np.testing.assert_equal(back.labels.tolist(), labels.tolist())
    assert back.candidates == cs
    assert (back.symbol, back.venue, back.simulated, back.fee) == ("ETHUSDT", "binance_usdm", False, FEE)


def test_parquet_refusals(tmp_path):
    q, t, cs = drifting()
    labels = label_candidates(q, t, cs, FEE)
    kw = {"symbol": "ETHUSDT", "venue": "binance_usdm", "simulated": False, "fee": FEE}
    for others in (labels[1:], labels[:-1], labels[::-1]):
        with pytest.raises(InputError, match="do not match"):
            labels_to_parquet(others, cs, tmp_path / "x.parquet", **kw)
    with pytest.raises(InputError, match="another symbol"):
        labels_to_parquet(labels, cs, tmp_path / "x.parquet", **{**kw, "symbol": "BTCUSDT"})
    assert not (tmp_path / "x.parquet").exists()
    with pytest.raises(InputError, match="no file"):
        labels_from_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="cannot be read"):
        labels_from_parquet(tmp_path / "x.parquet")
    path = labels_to_parquet(labels, cs, tmp_path / "labels.parquet", **kw)
    pq.write_table(pq.read_table(path).drop_columns(["y", "weight"]), path)
    with pytest.raises(InputError, match="lacks the columns y, weight"):
        labels_from_parquet(path)


@pytest.mark.parametrize("metadata", [None, {}, b"{half", b"[]", b'{"symbol": "ETHUSDT"}', b'{"fee": {"tier": 1}}'])
def test_a_file_of_unknown_origin_is_refused(tmp_path, metadata):
    q, t, cs = drifting()
    path = tmp_path / "labels.parquet"
    labels_to_parquet(
        label_candidates(q, t, cs, FEE), cs, path, symbol="ETHUSDT", venue="binance_usdm", simulated=False, fee=FEE
    )
    told = {label_io._KEY: metadata} if isinstance(metadata, bytes) else metadata
    pq.write_table(pq.read_table(path).replace_schema_metadata(told), path)
    with pytest.raises(InputError, match="lacks its metadata"):
        labels_from_parquet(path)
