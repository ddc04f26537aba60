"""Events a second that the simulator makes."""

from __future__ import annotations

from .harness import Bench, Took, alternate, in_process, measured

__all__ = ["run"]

_RATE = 1_000  # rows a second of the market, as ETHUSDT has
_HOURS = 1.0


def run() -> list[Bench]:
    """Both mechanisms, at the rate of a real market."""
    out = []
    for mechanism in ("flow", "book"):
        rows, ((_, cpu_s),) = in_process("bench_simulator:make", mechanism)
        out.append(
            measured(
                f"simulator: {mechanism}",
                rows / cpu_s,
                "events/s",
                goal="ours >= 2000000",
                how=f"SIMULATED: {rows:,} events, {_HOURS:g} h at a rate of {_RATE:,}, nothing written; CPU time",
            )
        )
    return out


def make(mechanism: str) -> tuple[int, list[Took]]:
    """Rows, and the time they took."""
    from feature_repo.market.simulator import Simulation

    rows = 0

    def ours() -> None:
        nonlocal rows
        simulation = Simulation(seed=7, hours=_HOURS, edge=1.0, mechanism=mechanism, rate=_RATE)
        rows = sum(len(chunk) for chunk in simulation.chunks())

    took = alternate([ours])
    return rows, took
