"""The experiment matrix: fee tier x profile x (no model, model), decided by the gate and filled by hftbacktest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from feature_repo.fees import fee_tiers, headline_tiers
from feature_repo.fields import CHANNELS
from feature_repo.instruments import FeeTier, Instrument
from feature_repo.market.tape import open_tape
from feature_repo.table import FeatureTable
from reports.records import EXITS, ArmInput, CalibrationInput, candidate_facts
from reports.sensitivity import SensitivityPoint
from runtime.arms import rows_of_orders
from runtime.profiles import PROFILES, VARIANTS
from runtime.shadow_account import Replayed, account, portfolio

from .cells import Asked, Cell
from .progress import parts
from .replays import Replays
from .sensitivity import sensitivity_cells, sensitivity_points
from .training import Trained

__all__ = ["Matrix", "run_matrix"]

_SHARES = (0.1, 0.3, 0.3, 0.3)
"""How much of the bar the files, the decisions, the replays and the sensitivity take."""


@dataclass(frozen=True)
class Matrix:
    """The arms and what the reports need beside them.

    Attributes
    ----------
    arms : headline tiers x profiles and variants x (no model, model)
    ladder : profile B at every tier of the venue
    calibration : out-of-sample forecasts
    training_facts : FACTS_DTYPE, candidates before the first test fold; empty without one
    sensitivity : net result against tau, latency, fee and size
    fold_of : int64 [N], test fold of each decision; None without a model
    tried : strategies among all this, told apart by profile, model, tau and exit; a fee is no strategy
    """

    arms: tuple[ArmInput, ...]
    ladder: tuple[ArmInput, ...]
    calibration: CalibrationInput
    training_facts: np.ndarray
    sensitivity: tuple[SensitivityPoint, ...]
    fold_of: np.ndarray | None
    tried: int


def run_matrix(
    tape_path: Path,
    features_path: Path,
    trained: Trained,
    *,
    fee_tier: str | None = None,
    order_latency: str = "constant",
    progress: Callable[[float], None] | None = None,
) -> Matrix:
    """Decide and replay every arm over the out-of-sample candidates.

    Without a model nothing is fitted, so those arms then judge every candidate of the tape; the others say why they are
    not there.

    Parameters
    ----------
    fee_tier : shown beside the venue's first and last one
    order_latency : "constant", or "tape": as long as the feed took at that moment
    """
    tape, table = open_tape(tape_path), FeatureTable.load(features_path)
    asked = Asked(trained, table, tape.instrument)
    tiers = _shown_tiers(tape.venue, fee_tier)
    cells = [Cell(p, m, fee) for fee in tiers for p in (*PROFILES, *VARIANTS) for m in (False, True)]
    ladder = [Cell("B", m, fee) for fee in fee_tiers(tape.venue) for m in (False, True)]
    run = [c for c in dict.fromkeys([*cells, *ladder]) if not (c.model and trained.reason_na)]
    every = list(dict.fromkeys([*run, *sensitivity_cells(tiers, model=not trained.reason_na)]))
    bars = parts(progress, _SHARES)
    with Replays.of(tape, table.quotes, order_latency, progress=next(bars)) as replays:
        tell = next(bars)
        for k, cell in enumerate(every, 1):
            asked.decide(cell)
            tell(k / len(every))
        allowed, tell = asked.allowed(every), next(bars)
        with ThreadPoolExecutor(len(EXITS)) as pool:  # the replay leaves the interpreter: an exit a core
            done = [pool.submit(replays, asked.orders, allowed, e, every=True, progress=tell) for e in EXITS]
            by_exit = {e: d.result() for e, d in zip(EXITS, done, strict=True)}
        points = sensitivity_points(asked, replays, by_exit["label"], every, tiers, progress=next(bars))
    facts = _facts(trained, table)
    arms = _arms(asked, trained, tape.instrument, facts, by_exit, every)
    p = np.full(len(asked.rows), np.nan) if trained.result is None else trained.result.p_test[asked.rows]
    types = np.array([int(c.sig_type) for c in asked.candidates], np.int64)
    calibration = CalibrationInput(p, asked.labels["y"], types, trained.reason_na)
    before = facts[: asked.rows[0]] if len(asked.rows) and not trained.reason_na else facts[:0]
    fold_of = None if trained.reason_na or trained.result is None else trained.result.fold_of[asked.rows]
    tried = len({(c.profile, c.model, c.tau) for c in every}) * len(EXITS)
    shown = (tuple(arms(c) for c in cells), tuple(arms(c) for c in ladder))
    return Matrix(*shown, calibration, before, tuple(points), fold_of, tried)


def _shown_tiers(venue: str, named: str | None) -> tuple[FeeTier, ...]:
    """The venue's first and last tier and the named one, in the venue's order."""
    shown = {t.name for t in headline_tiers(venue)} | {named}
    return tuple(t for t in fee_tiers(venue) if t.name in shown)


def _facts(trained: Trained, table: FeatureTable) -> np.ndarray:
    """FACTS_DTYPE of all candidates, those of the training spans included."""
    file = trained.file
    at = np.searchsorted(table.t_ns, file.labels["ts_ns"])
    market = table.market[at]
    return candidate_facts(
        np.array([c.exp_reward_bps for c in file.candidates]),
        table.X[at, CHANNELS.index("ofi_z")],
        market["spread_bps"],
        market["depth_top5"],
        np.array([c.side for c in file.candidates]),
        np.array([c.est_slip_bps for c in file.candidates]),
    )


def _arms(
    asked: Asked,
    trained: Trained,
    instrument: Instrument,
    facts: np.ndarray,
    by_exit: Mapping[str, Replayed],
    cells: Sequence[Cell],
) -> Callable[[Cell], ArmInput]:
    """A function from a cell to its arm; arms, and the books of one tier, are made once."""
    at = {cell: a for a, cell in enumerate(cells)}

    @cache
    def books(fee: FeeTier, exit_: str) -> tuple[np.ndarray, np.ndarray]:
        trades = account(by_exit[exit_], fee, instrument)
        return trades, rows_of_orders(trades, asked.order_rows, asked.candidates)

    @cache
    def arm(cell: Cell) -> ArmInput:
        if cell not in at:
            return ArmInput(cell.profile, cell.model, cell.fee, reason_na=trained.reason_na)
        decisions = asked.decide(cell)
        allow = decisions["allow"][asked.order_rows]
        alone = {e: books(cell.fee, e)[1] for e in EXITS}
        own = {e: portfolio(books(cell.fee, e)[0], allow, by_exit[e].busy[at[cell]]) for e in EXITS}
        return ArmInput(cell.profile, cell.model, cell.fee, decisions, alone, own, facts[asked.rows])

    return arm
