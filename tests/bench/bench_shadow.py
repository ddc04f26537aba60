"""The shadow run: one arm and six arms beside a bare replay of the same tape, and two exits on two cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .bare_replay import BARE, bare_replay
from .harness import Bench, Took, alternate, in_process, measured

__all__ = ["run"]

_RATE, _HOURS = 1_000, 4.0  # events a second, as the real ETHUSDT has
_EXITS = ("label", "runner")


def run() -> list[Bench]:
    """One arm, six arms, and both exits on two cores."""
    (rows, replayed, candidates, trades), took = in_process("bench_shadow:arms")
    peer, *sides = (Took(*t).cpu_s for t in took)
    shown = f"SIMULATED: {rows:,} events, {replayed:,} of them replayed, {candidates:,} candidates"
    names = (
        ("shadow: one arm, label exit", "ratio <= 1.3", f"one arm that allows every candidate, {trades[0]:,} trades"),
        ("shadow: one arm, runner exit", "ratio <= 1.3", f"one arm that allows every candidate, {trades[1]:,} trades"),
        ("shadow: six arms and the candidate book", None, "one pass, label exit, and each candidate on its own"),
    )
    out = [
        measured(name, ours, "s", peer_name=BARE, peer=peer, goal=goal, how=f"{what}; {shown}; CPU time")
        for (name, goal, what), ours in zip(names, sides, strict=True)
    ]
    _, ((after_s, _), (beside_s, _)) = in_process("bench_shadow:exits", cpus=2)
    out.append(
        measured(
            "shadow: six arms, both exits on two cores",
            after_s,
            "s",
            peer_name="the same, each exit in a thread",
            peer=beside_s,
            goal="ratio >= 1.5",
            how=f"one exit after the other, and side by side; {shown}; wall time",
        )
    )
    return out


def _market(folder: Path) -> tuple:
    """Tape, its rows for the replay, and orders of its candidates."""
    from feature_repo.build import build_features
    from feature_repo.constants import ORDER
    from feature_repo.market.hft import to_hftbacktest
    from feature_repo.market.simulator import Simulation
    from feature_repo.market.tape import open_tape, write_stream
    from runtime.arms import candidate_orders
    from runtime.shadow import blind_spans
    from runtime.signals import find_candidates

    tape = open_tape(write_stream(Simulation(seed=7, hours=_HOURS, edge=1.0, rate=_RATE), folder))
    table = build_features(tape)
    found = find_candidates(table)
    orders, _ = candidate_orders(found, np.full(len(found), ORDER.base_size_usd))
    return tape, to_hftbacktest(tape.load()), orders, blind_spans(table.quotes)


def arms() -> tuple[tuple[int, int, int, list[int]], list[Took]]:
    """Rows, replayed rows, candidates and trades; the time of the bare replay, of one arm by exit, and of six."""
    from runtime.shadow import replay
    from runtime.shadow_types import OK

    with TemporaryDirectory() as folder:
        tape, events, orders, blind = _market(Path(folder))
    facts = tape.instrument
    one, six = np.ones((1, len(orders)), bool), np.random.default_rng(7).random((6, len(orders))) < 0.5
    trades = {}

    def arm(exit_: str) -> None:
        made = replay(events, facts, orders, allowed=one, every=False, exit=exit_, blind=blind)
        trades[exit_] = int((made.parents["status"] == OK).sum())

    took = alternate(
        [
            bare_replay(events, facts),
            lambda: arm("label"),
            lambda: arm("runner"),
            lambda: replay(events, facts, orders, allowed=six, blind=blind),
        ]
    )
    return (tape.rows, len(events), len(orders), [trades[e] for e in _EXITS]), took


def exits() -> tuple[None, list[Took]]:
    """Both exits one after the other, and each in a thread of its own."""
    from runtime.shadow import replay

    with TemporaryDirectory() as folder:
        tape, events, orders, blind = _market(Path(folder))
    six = np.random.default_rng(7).random((6, len(orders))) < 0.5

    def one(exit_: str) -> None:
        replay(events, tape.instrument, orders, allowed=six, exit=exit_, blind=blind)

    def beside() -> None:
        with ThreadPoolExecutor(len(_EXITS)) as pool:
            list(pool.map(one, _EXITS))

    return None, alternate([lambda: [one(e) for e in _EXITS], beside])
