"""The market row as an array: nothing is lost on the way."""

from __future__ import annotations

import numpy as np

from feature_repo.fields import MARKET_DTYPE
from feature_repo.market_row import MARKET_VALUES, pack_market, unpack_market


def test_packed_and_unpacked_it_is_the_same_bits():
    rng = np.random.default_rng(1)
    rows = np.zeros(50, MARKET_DTYPE)
    for name in MARKET_VALUES:
        kind = MARKET_DTYPE[name].kind
        rows[name] = rng.random(50) < 0.5 if kind == "b" else rng.choice([np.nan, np.inf, -0.0, 5e-324, 1 / 3], 50)
    rows["t_ns"] = rng.integers(0, 2**62, 50)
    packed = pack_market(rows)
    assert (packed.dtype, packed.shape) == (np.float64, (50, len(MARKET_DTYPE.names) - 1))
    for row, values in zip(rows, packed, strict=True):
        assert pack_market(row).tobytes() == values.tobytes()
        assert unpack_market(int(row["t_ns"]), values).tobytes() == row.tobytes()
