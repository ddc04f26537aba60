"""Prints the tables of docs/simulator.md: python -m tests.feature_repo.simulator_table [recording].

The first compares simulated facts with those of a recording and with published ones, the second says how well the
first barrier can be foretold, by edge and mechanism: as many days to learn from as to be judged on.
"""

from __future__ import annotations

import sys

from feature_repo.market.simulator import MECHANISMS, Simulation
from feature_repo.market.stylised import Facts
from feature_repo.market.summary import summarise

from .sim_proof import prove, spots_of

SHOWN = {
    "within_r2_100ms": "R2 of return on OFI, 0.1 s",
    "within_r2_1s": "R2, 1 s",
    "within_r2_10s": "R2, 10 s",
    "next_r2_100ms": "R2 on the OFI of the window before, 0.1 s",
    "next_r2_1s": "the same, 1 s",
    "one_tick_share": "time at a spread of one tick",
    "std_10s_bps": "return std, 10 s, bps",
    "kurtosis_1s": "excess kurtosis, 1 s",
    "kurtosis_10s": "excess kurtosis, 10 s",
    "abs_acf_1s": "autocorrelation of the size of 1 s returns, lag 1 s",
    "abs_acf_60s": "lag 60 s",
    "sign_acf_1": "autocorrelation of trade signs, lag 1",
    "sign_acf_100": "lag 100",
    "sign_exponent": "its power of the lag",
    "branching": "branching ratio of orders",
    "rows_per_s": "rows a second",
    "orders_per_s": "market orders a second",
    "depth_best": "best level, ETH",
}
PUBLISHED = {
    "within_r2_10s": "0.65 [1]",
    "sign_exponent": "0.5 to 0.7 [2]",
    "kurtosis_1s": "> 3, falls with the horizon [3]",
    "abs_acf_1s": "> 0, slow decay [3]",
    "branching": "0.7 to 1 [4]",
}
COLUMNS = {
    "quiet, edge 0": {"edge": 0.0},
    "quiet, edge 1, flow": {"edge": 1.0},
    "quiet, edge 1, book": {"edge": 1.0, "mechanism": "book"},
    "rate 1000, edge 0": {"edge": 0.0, "rate": 1_000},
}


def _value(facts: Facts, name: str) -> str:
    value = getattr(facts, name)
    if value != value:  # the recording is too short for lines by half hours
        value = getattr(facts, name.removeprefix("within_"))
    return f"{value:.3g}"


def facts_table(recording: str | None) -> None:
    columns = {k: summarise(Simulation(**{"seed": 3, "hours": 24.0} | v)).facts for k, v in COLUMNS.items()}
    if recording is not None:
        from feature_repo import read_tape

        columns["real, 8 minutes"] = summarise(read_tape(recording)).facts
    print("| |", " | ".join(f"{'' if k.startswith('real') else 'SIMULATED '}{k}" for k in columns), "| published |")
    print("| --- |" + " --- |" * (len(columns) + 1))
    for name, text in SHOWN.items():
        print(f"| {text} |", " | ".join(_value(c, name) for c in columns.values()), f"| {PUBLISHED.get(name, '')} |")


def skill_table() -> None:
    head = (
        "mechanism | edge | days | where | n | touched | AUC [99 %] | forecast and 60 s move [99 %] | drift, bps [99 %]"
    )
    print(f"| {head} |\n|{' --- |' * 9}")
    for mechanism in MECHANISMS:
        for edge, days in ((0.0, 4), (0.5, 2), (1.0, 2)):
            spots = [spots_of(seed=seed, edge=edge, mechanism=mechanism) for seed in range(20, 20 + 2 * days)]
            for place in spots[0]:
                proof = prove([s[place] for s in spots[:days]], [s[place] for s in spots[days:]])
                told = f"{proof.n} | {proof.touched:.2f} | {proof.auc} | {proof.corr} | {proof.drift}"
                print(f"| {mechanism} | {edge:g} | {days} + {days} | {place} | {told} |", flush=True)


if __name__ == "__main__":
    facts_table(sys.argv[1] if len(sys.argv) > 1 else None)
    print()
    skill_table()
