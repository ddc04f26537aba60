"""One run of the honesty check, the whole way: simulated tape, features, labels, store, walk-forward, gate, replay.

In a process of its own: ``python -m flows.honesty_run --edge 0 --seed 101 --candidates 3000 --models tcn,logistic
--folds 3 --out FOLDER --scratch FOLDER``. Several seeds follow each other in the one process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feature_repo.errors import InputError
from feature_repo.fees import headline_tiers
from feature_repo.instruments import Instrument
from feature_repo.market.tape import StoredTape, open_tape
from feature_repo.paths import atomic_path
from feature_repo.table import FeatureTable
from reports.arm_stats import paired
from reports.honesty_record import HonestModel, HonestRun
from reports.records import EXITS, ArmInput
from runtime.arms import rows_of_orders
from runtime.shadow_account import Replayed, account, portfolio

from . import steps
from .cells import Asked, Cell
from .honesty_plan import SPREAD, RunPlan, code_version
from .parameters import ShadowParameters
from .replays import Replays
from .training import train

__all__ = ["main"]

PROFILE = "B"
_MINUTES = 24 * 60.0
"""Of training: no limit that a slow machine could reach, or the figures would depend on it."""


def run_one(plan: RunPlan) -> HonestRun:
    """Make the tape, train, decide and replay. Everything is written below the data folder of this process.

    Raises
    ------
    InputError
        When the tape has too few candidates, or too few labels for any model.
    """
    tape_path = steps.make_tape(None, seed=plan.seed, hours=plan.hours, edge=plan.edge)
    tape = open_tape(tape_path)
    fee = steps.fee_of(tape.venue, None)
    features = steps.make_features(tape_path)
    labelled = steps.make_labels(tape_path, features, fee, max_candidates=plan.candidates, draw="even")
    if labelled.used < plan.candidates:
        raise InputError(
            f"{labelled.found:,} candidates on {plan.hours:g} simulated hours (edge {plan.edge:g}, seed {plan.seed})",
            f"{plan.candidates:,}",
            "Ask for fewer candidates",
        )
    steps.fill_store(features, labelled.path, fee)
    table = FeatureTable.load(features)
    with Replays.of(tape, table.quotes) as replays:
        models = {name: _judged(plan, name, labelled.path, tape, table, replays) for name in plan.models}
    return HonestRun(plan.edge, plan.seed, models)


def _judged(
    plan: RunPlan, name: str, labels: Path, tape: StoredTape, table: FeatureTable, replays: Replays
) -> HonestModel:
    """One model: fold bundles, the gate's answers on the test folds, and what became of the orders."""
    parameters = ShadowParameters(
        seed=plan.seed,
        edge=plan.edge,
        hours=plan.hours,
        folds=plan.folds,
        max_candidates=plan.candidates,
        train_minutes=_MINUTES,
        model=name,
    )
    trained = train(labels, parameters, release=False, explain=False, workers=1)
    if trained.reason_na:
        raise InputError(trained.reason_na, "at least one fold with a model", "Ask for more candidates or fewer folds")
    asked = Asked(trained, table, tape.instrument)
    cells = [Cell(PROFILE, model, fee) for fee in headline_tiers(tape.venue) for model in (False, True)]
    allowed = asked.allowed(cells)
    by_exit = {e: replays(asked.orders, allowed, e, every=True) for e in EXITS}
    arms = {c: _arm(c, by_exit, asked, a, tape.instrument) for a, c in enumerate(cells)}
    found = {}
    for fee in headline_tiers(tape.venue):
        pairs = paired(arms[Cell(PROFILE, True, fee)], arms[Cell(PROFILE, False, fee)], seed=plan.seed)
        found |= {(fee.name, exit_): pairs[exit_] for exit_ in EXITS}
    p, y, metrics = trained.result.p_test[asked.rows], asked.labels["y"], trained.result.metrics
    known = (y >= 0) & np.isfinite(p)
    return HonestModel(
        p[known],
        y[known].astype(np.int64),
        metrics["logistic"]["brier"],
        metrics["base"]["brier"],
        found,
        len(asked.rows),
        tuple(metrics["notes"]),
    )


def _arm(cell: Cell, by_exit: dict[str, Replayed], asked: Asked, at: int, instrument: Instrument) -> ArmInput:
    decisions = asked.decide(cell)
    allow = decisions["allow"][asked.order_rows]
    trades = {e: account(replayed, cell.fee, instrument) for e, replayed in by_exit.items()}
    alone = {e: rows_of_orders(t, asked.order_rows, asked.candidates) for e, t in trades.items()}
    own = {e: portfolio(t, allow, by_exit[e].busy[at]) for e, t in trades.items()}
    return ArmInput(cell.profile, cell.model, cell.fee, decisions, alone, own)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each seed and write its result; 2 when one of them could not be run, after a sentence that says why."""
    parser = argparse.ArgumentParser(prog="python -m flows.honesty_run", description=__doc__)
    parser.add_argument("--edge", type=float, required=True)
    parser.add_argument("--seed", required=True, help="or several, by commas")
    parser.add_argument("--candidates", type=int, required=True)
    parser.add_argument("--models", required=True, help="by commas")
    parser.add_argument("--folds", type=int, required=True)
    parser.add_argument("--spread", type=int, default=SPREAD, help="tape / what its candidates need")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, a JSON file a run")
    parser.add_argument("--scratch", type=Path, required=True, help="tapes and models go here and are deleted")
    parser.add_argument("--code", help="what the code must be; default: whatever it is")
    parser.add_argument("--parent", type=int, help="end when this process, which started this one, has ended")
    args = parser.parse_args(arguments)
    if args.parent is not None:
        threading.Thread(target=_end_with, args=(args.parent,), daemon=True).start()
    failed = False
    for seed in args.seed.split(","):
        try:
            if not seed.isdecimal():
                raise InputError(f"seed {seed!r}", "an integer from 0 on", "Give another seed")
            plan = RunPlan(
                args.edge, int(seed), args.candidates, tuple(args.models.split(",")), args.folds, args.spread
            )
            _keep(plan, args.out, args.scratch, args.code or code_version())
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0


def _keep(plan: RunPlan, out: Path, scratch: Path, code: str) -> None:
    """Run once in a data folder of its own and write the result."""
    began = time.perf_counter()
    _same_code(code)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{plan.name}.", dir=scratch) as folder:
        os.environ["OFI_META_DATA"] = folder
        found = run_one(plan)
    _same_code(code)  # modules are read when first needed: an edit on the way leaves a result of two codes
    record = found.to_dict() | {"code": code, "measured": {"seconds": round(time.perf_counter() - began, 1)}}
    with atomic_path(out / f"{plan.name}.json") as beside:
        beside.write_text(json.dumps(record, allow_nan=False) + "\n", encoding="utf-8")


def _same_code(code: str) -> None:
    if code_version() != code:
        raise InputError(
            "code that was changed since the runs began", "one code from start to end", "Run from a copy that stays"
        )


def _end_with(parent: int) -> None:
    """A parent that was killed can end nobody: what it started looks after itself."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
