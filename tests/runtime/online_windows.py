"""Windows that tell their number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.constants import WINDOW_NS
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.market_row import MARKET_VALUES
from feature_repo.store import feast_root

__all__ = ["SYMBOL", "T", "assert_same", "at", "frame", "number", "window", "write_source"]

START_NS = 1_767_571_200_000_000_000
T = 8
SYMBOL = "ETHUSDT-SIM"


def window(k: int):
    """The k-th window, all of its values telling k."""
    x = np.random.default_rng(k).standard_normal((T, len(CHANNELS)), dtype=np.float32)
    x[0, :3] = [-0.0, 1e-42, 3.4e38]
    row = np.zeros((), MARKET_DTYPE)
    for name in MARKET_DTYPE.names:
        row[name] = k + 0.1
    row["t_ns"], row["valid"], row["warm"] = at(k), True, k % 2
    row["vwap"], row["slip_buy_bps"] = np.nan, np.inf
    return x, row[()]


def at(k: int) -> int:
    """Time of the k-th window, ns UTC."""
    return START_NS + k * WINDOW_NS


def number(found) -> int:
    """Which window it is; every value of it must say the same."""
    k = (int(found[1]["t_ns"]) - START_NS) // WINDOW_NS
    assert_same(found, window(k))
    return k


def frame(*ks: int) -> pd.DataFrame:
    """Windows as a user of Feast would push them."""
    rows = []
    for k in ks:
        x, row = window(k)
        event = pd.Timestamp(at(k), tz="UTC").as_unit("us").to_pydatetime()
        market = [float(row[name]) for name in MARKET_VALUES]
        rows.append(
            {"symbol": SYMBOL, "event_timestamp": event, "t_ns": at(k), "x": x.reshape(-1), "market": np.array(market)}
        )
    return pd.DataFrame(rows)


def write_source(*ks: int) -> None:
    """Windows of one day as a source of ``window_sequence``, to be materialised."""
    rows = pa.Table.from_pandas(frame(*ks), preserve_index=False)
    at_x = rows.schema.get_field_index("x")
    rows = rows.set_column(at_x, "x", rows.column("x").cast(pa.list_(pa.float32())))
    folder = feast_root() / "window_sequence" / SYMBOL
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / "2026-01-05.parquet")


def assert_same(found, expected):
    """Bit for bit."""
    x, row = found
    assert x.dtype == np.float32
    assert x.shape == (T, len(CHANNELS))
    np.testing.assert_array_equal(x.view(np.uint32), expected[0].view(np.uint32))
    assert isinstance(row, np.void)
    assert row.dtype == MARKET_DTYPE
    assert row.tobytes() == expected[1].tobytes()
