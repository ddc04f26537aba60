"""What "equals the oracle" means, with the largest difference of each channel where it does not."""

from __future__ import annotations

import numpy as np

from feature_repo.constants import EngineDefaults
from feature_repo.fields import CHANNELS, MARKET_DTYPE
from feature_repo.instruments import Instrument
from feature_repo.table import QUOTE_DTYPE

from ..oracles_series import SeriesRows, series_rows
from .engine_run import Run, hashed, one_call

__all__ = ["assert_engine_is_the_oracle", "assert_quotes_are_the_oracles", "assert_rows_are_the_oracles"]


def assert_rows_are_the_oracles(X: np.ndarray, market: np.ndarray, oracle: SeriesRows) -> None:
    """Every channel to float32's own precision, every market field to 1e-9; says the largest difference of each."""
    assert len(X) == len(market) == len(oracle.X)
    assert np.isfinite(X).all()
    wrong = []
    for i, name in enumerate(CHANNELS):
        far = ~np.isclose(X[:, i], oracle.X[:, i], rtol=1e-5, atol=2e-6)
        if far.any():
            wrong.append(_difference(name, X[:, i], oracle.X[:, i], far))
    for name in MARKET_DTYPE.names:
        far = ~np.isclose(market[name], oracle.market[name], rtol=1e-9, atol=1e-9, equal_nan=True)
        if far.any():
            wrong.append(_difference(f"market {name}", market[name], oracle.market[name], far))
    assert not wrong, "\n".join(wrong)


def _difference(name: str, got: np.ndarray, expected: np.ndarray, far: np.ndarray) -> str:
    apart = np.where(far, np.nan_to_num(np.abs(got - expected), nan=np.inf), -1.0)
    k = int(np.argmax(apart))
    return f"{name}: {far.sum()} windows, first {far.argmax()}, worst {k}: {got[k]} against {expected[k]}"


def assert_quotes_are_the_oracles(quotes: np.ndarray, expected: np.ndarray) -> None:
    """All but the last message's: whether it is whole, the next event would say."""
    assert len(expected) - 1 <= len(quotes) <= len(expected)
    for name in QUOTE_DTYPE.names:
        np.testing.assert_allclose(quotes[name], expected[name][: len(quotes)], rtol=1e-12, err_msg=name)


def assert_engine_is_the_oracle(
    events: np.ndarray, instrument: Instrument, config: EngineDefaults
) -> tuple[SeriesRows, tuple[str, ...]]:
    """In a single call; returns the oracle and the hashes of all that the engine wrote."""
    run, oracle = Run(instrument, config), series_rows(events, instrument, config)
    X, market, quotes = one_call(run, events)
    assert run.engine.rejected == {}
    assert_rows_are_the_oracles(X, market, oracle)
    assert_quotes_are_the_oracles(quotes, oracle.book.quotes)
    assert run.engine.breaks == oracle.book.breaks
    return oracle, hashed((X, market, quotes))
