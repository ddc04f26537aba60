"""The feature engine over a stored tape, beside a bare replay of the same events in hftbacktest."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from .data import ETHUSDT, WHY_NOT, make_recording
from .harness import Bench, Took, alternate, in_process, measured, not_measured

__all__ = ["run"]

_NAME = "engine: batch, one core"
_COPIES = 4


def run() -> list[Bench]:
    """Batch form only."""
    if not ETHUSDT.is_dir():
        return [not_measured(_NAME, "events/s", WHY_NOT)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ethusdt.gz"
        make_recording(path, _COPIES)
        (rows, replayed), ((_, ours_s), (_, peer_s)) = in_process("bench_engine:both", path)
    return [
        measured(
            _NAME,
            rows / ours_s,
            "events/s",
            peer_name="hftbacktest, bare replay in steps of 100 ms",
            peer=replayed / peer_s,
            how=f"the ETHUSDT recording {_COPIES} times in a row, in memory: {rows:,} events to rows of features; "
            f"the peer keeps a book of the {replayed:,} events that it knows and computes nothing; CPU time",
        )
    ]


def both(path: str) -> tuple[tuple[int, int], list[Took]]:
    """Events of each side and the time they took."""
    from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
    from numba import njit

    from feature_repo.build import build_features
    from feature_repo.market.tape import read_tape, to_hftbacktest

    tape = read_tape(path)
    events = to_hftbacktest(tape)

    @njit
    def replay(backtest) -> int:
        n = 0
        while backtest.elapse(100_000_000) == 0:
            n += 1
        return n

    def peer() -> None:
        asset = (
            BacktestAsset()
            .data([events])
            .linear_asset(1.0)
            .constant_order_latency(1_000_000, 1_000_000)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(tape.instrument.tick)
            .lot_size(tape.instrument.lot)
        )
        backtest = HashMapMarketDepthBacktest([asset])
        replay(backtest)
        backtest.close()

    return (len(tape.events), len(events)), alternate([lambda: build_features(tape), peer])
