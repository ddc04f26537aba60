"""The experiment matrix: fee tier x profile x (no model, model), decided by the gate and filled by hftbacktest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_repo.constants import ORDER
from feature_repo.events import FUNDING
from feature_repo.fields import CHANNELS
from feature_repo.instruments import FEE_TIERS, FeeTier
from feature_repo.market.tape import StoredTape, open_tape, to_hftbacktest
from feature_repo.table import FeatureTable
from reports.records import EXITS, ArmInput, CalibrationInput, candidate_facts
from runtime.arms import Decider, candidate_orders, decide_all, portfolio_orders, rows_of_orders
from runtime.funding import settlements
from runtime.gate import GuardsOnly, MetaFilter
from runtime.profiles import PROFILES
from runtime.shadow import blind_spans, replay

from .training import Trained

__all__ = ["Matrix", "run_matrix"]


@dataclass(frozen=True)
class Matrix:
    """The arms and what the reports need beside them.

    Attributes
    ----------
    calibration : out-of-sample forecasts
    training_facts : FACTS_DTYPE, candidates before the first test fold; empty without one
    """

    arms: tuple[ArmInput, ...]
    calibration: CalibrationInput
    training_facts: np.ndarray


@dataclass(frozen=True)
class _Replay:
    """Everything a replay needs that is the same for every arm."""

    tape: StoredTape
    events: np.ndarray
    funding: np.ndarray
    blind: np.ndarray

    def __call__(self, orders: np.ndarray, fee: FeeTier, exit_: str, *, one_at_a_time: bool) -> np.ndarray:
        return replay(
            self.events,
            self.tape.instrument,
            orders,
            fee=fee,
            exit=exit_,
            one_at_a_time=one_at_a_time,
            funding=self.funding,
            blind=self.blind,
        )


def run_matrix(
    tape_path: Path, features_path: Path, trained: Trained, *, progress: Callable[[float], None] | None = None
) -> Matrix:
    """Decide and replay every arm over the out-of-sample candidates.

    Without a model nothing is fitted, so those arms then judge every candidate of the tape; the others say why they are
    not there.
    """
    tape, table, file = open_tape(tape_path), FeatureTable.load(features_path), trained.file
    funding = tape.of_kind(FUNDING)
    # hftbacktest replays one array: here, and only here, the whole tape is in memory.
    run = _Replay(tape, to_hftbacktest(tape.load()), settlements(funding), blind_spans(table.quotes))
    asked = _out_of_sample(trained)
    candidates = [file.candidates[i] for i in asked]
    at = np.searchsorted(table.t_ns, file.labels["ts_ns"])
    market, X = table.market[at], table.X[at]
    session = X[:, CHANNELS.index("session_flag")] > 0
    facts = candidate_facts(
        np.array([c.exp_reward_bps for c in file.candidates]),
        X[:, CHANNELS.index("ofi_z")],
        market["spread_bps"],
        market["depth_top5"],
        np.array([c.side for c in file.candidates]),
    )
    tiers = FEE_TIERS[tape.venue]
    steps = len(tiers) * (len(EXITS) + 2 * len(PROFILES) * len(EXITS))
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done / steps)

    arms: list[ArmInput] = []
    for fee in tiers:
        base = np.full(len(candidates), ORDER.base_size_usd)
        orders, rows = candidate_orders(candidates, base)
        alone = {}
        for exit_ in EXITS:
            alone[exit_] = rows_of_orders(run(orders, fee, exit_, one_at_a_time=False), rows, candidates)
            step()
        for profile in PROFILES:
            for model in (False, True):
                if model and trained.reason_na:
                    arms.append(ArmInput(profile, True, fee, reason_na=trained.reason_na))
                    for _ in EXITS:
                        step()
                    continue
                gates = _gates(trained, asked, tape, profile, fee, model)
                decisions = decide_all(
                    gates, candidates, trained.x[asked], trained.found[asked], market[asked], session[asked]
                )
                allowed = portfolio_orders(candidates, decisions)
                books = {}
                for exit_ in EXITS:
                    books[exit_] = run(allowed, fee, exit_, one_at_a_time=True)
                    step()
                arms.append(ArmInput(profile, model, fee, decisions, alone, books, facts[asked]))
    p = np.full(len(asked), np.nan) if trained.result is None else trained.result.p_test[asked]
    calibration = CalibrationInput(
        p, file.labels["y"][asked], np.array([int(c.sig_type) for c in candidates], np.int64), trained.reason_na
    )
    before = facts[: asked[0]] if len(asked) and not trained.reason_na else facts[:0]
    return Matrix(tuple(arms), calibration, before)


def _out_of_sample(trained: Trained) -> np.ndarray:
    """Positions of the candidates to judge, in time order: those of test folds with a bundle, or all without one."""
    n = len(trained.file.labels)
    if trained.reason_na or trained.result is None:
        return np.arange(n)
    with_bundle = [f.k for f in trained.result.folds if f.bundle_path is not None]
    return np.flatnonzero(np.isin(trained.result.fold_of, with_bundle))


def _gates(
    trained: Trained, asked: np.ndarray, tape: StoredTape, profile: str, fee: FeeTier, model: bool
) -> list[Decider]:
    facts = tape.instrument
    if not model:
        guards = GuardsOnly(
            profile,
            fee=fee,
            symbol=tape.symbol,
            tick=facts.tick,
            lot=facts.lot,
            face_value=facts.face_value,
            min_notional=facts.min_notional,
            T=trained.x.shape[1],
        )
        return [guards] * len(asked)
    by_fold = {
        f.k: MetaFilter.load(f.bundle_path, profile=profile, fee=fee)
        for f in trained.result.folds
        if f.bundle_path is not None
    }
    return [by_fold[k] for k in trained.result.fold_of[asked]]
