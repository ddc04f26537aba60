"""Measures the drift report on SIMULATED days: python -m tests.flows.drift_measured --seeds 20 --out FOLDER [--docs].

A seed is a tape of some days of one market. A logistic model is fitted on its first day, or on its first three, and the
day after is judged: nothing changed, so whatever is flagged is flagged falsely. Then faults are planted in that day.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from math import comb
from pathlib import Path

import numpy as np

from feature_repo.fields import CHANNELS
from feature_repo.paths import atomic_path
from reports.drift import ALERT, LIMITS, OK, WARN, DriftInput, drift_checks
from reports.drift.check import worst
from tests.reports.drift_plants import CHANNEL_PLANTS, MODEL_PLANTS, planted

__all__ = ["PAGE", "binomial", "judged", "main", "tables", "unchanged"]

PAGE = Path(__file__).parents[2] / "docs" / "drift.md"
START_DAY = np.datetime64("2026-01-05", "D")
SPANS = (1, 3)
"""Days that a release is fitted on."""
FIRST_SEED = 3_000
_DAY_NS = 86_400 * 10**9


def unchanged(folder: Path, seed: int, spans: Sequence[int] = SPANS, *, edge: float = 1.0) -> dict[int, DriftInput]:
    """By days of training span, what ``collect`` gives of the day after, all on one simulated tape."""
    os.environ["OFI_META_DATA"] = str(folder)
    from flows import steps
    from flows.drift import collect
    from meta_models.label_io import labels_from_parquet

    tape = steps.make_tape(None, seed=seed, hours=24.0 * (max(spans) + 1), edge=edge)
    features = steps.make_features(tape)
    labels = steps.make_labels(tape, features, steps.fee_of("simulated", None), max_candidates=500_000).path
    file, found = labels_from_parquet(labels), {}
    for days in spans:
        release = _release(folder / f"fitted-{days}", file, features, days, seed)
        found[days] = collect(release, tape, features, labels, str(START_DAY + days))
    return found


def _release(workdir: Path, file, features: Path, days: int, seed: int) -> Path:
    """A logistic model on the labels of the first days, evenly at most 4,000 of them, as a shadow run takes them."""
    from feature_repo.fields import align
    from feature_repo.table import FeatureTable
    from meta_models.fit import FitConfig
    from meta_models.walk_forward import Origin, walk_forward
    from runtime.context import context_rows

    end_ns = START_DAY.astype("datetime64[ns]").astype(np.int64) + days * _DAY_NS - 120 * 10**9
    known = np.flatnonzero(file.labels["ts_ns"] < end_ns)
    rows = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), 4_000)).astype(int))]
    table = FeatureTable.load(features, days=[str(START_DAY + d) for d in range(days)], with_quotes=False)
    labels, candidates = file.labels[rows], [file.candidates[i] for i in rows]
    x, found = table.windows(labels["ts_ns"], 64)
    for i, c in enumerate(candidates):
        x[i] = align(x[i], c.side)
    at = np.minimum(np.searchsorted(table.t_ns, labels["ts_ns"]), len(table.t_ns) - 1)
    result = walk_forward(
        x, context_rows(candidates, table.market[at], file.fee), labels, labels["ts_ns"],
        config=FitConfig.of("logistic", seed=seed, folds=2, workers=1), workdir=workdir,
        origin=Origin(file.symbol, file.venue, file.simulated, file.fee), found=found, gross_R=file.gross_R[rows],
        explain=False,
    )  # fmt: skip
    assert result.release is not None, result.refused
    return result.release


def judged(inputs: DriftInput, *, plants: bool) -> dict[str, object]:
    """What was flagged on the day as it is, and the status that each planted fault leads to."""
    checks = drift_checks(inputs)
    out: dict[str, object] = {
        "status": worst(checks),
        "flagged": {f"{c.group}: {c.name}": c.status for c in checks if c.status in (WARN, ALERT)},
    }
    if plants:
        out["channels"] = {
            plant: {CHANNELS[c]: _of_features(planted(inputs, c, plant)) for c in range(len(CHANNELS))}
            for plant in CHANNEL_PLANTS
        }
        out["model"] = {name: worst(drift_checks(plant(inputs))) for name, plant in MODEL_PLANTS.items()}
    return out


def _of_features(inputs: DriftInput) -> str:
    from reports.drift.features import feature_drift

    return worst(feature_drift(inputs, LIMITS).checks)


def _seed(task: tuple[int, Path, int, Sequence[int], float]) -> None:
    seed, out, with_plants, spans, edge = task
    missing = [d for d in spans if not (out / f"{seed}-{d}.json").exists()]
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        for days, inputs in unchanged(Path(scratch), seed, missing, edge=edge).items():
            result = judged(inputs, plants=seed < FIRST_SEED + with_plants)
            with atomic_path(out / f"{seed}-{days}.json") as beside:
                beside.write_text(json.dumps(result, indent=1))


def binomial(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share (Clopper, Pearson 1934)."""

    def tail(p: float, lo: int, hi: int) -> float:
        return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(lo, hi + 1))

    def solve(f) -> float:
        lo, hi = 0.0, 1.0
        for _ in range(60):
            mid = (lo + hi) / 2
            lo, hi = (mid, hi) if f(mid) else (lo, mid)
        return lo

    half = (1 - level) / 2
    low = 0.0 if hits == 0 else solve(lambda p: tail(p, hits, n) < half)
    high = 1.0 if hits == n else solve(lambda p: tail(p, 0, hits) > half)
    return low, high


def tables(results: dict[int, list[dict]]) -> str:
    """The measured part of docs/drift.md, of results by days of training span."""
    lines = [
        f"SIMULATED, seeds from {FIRST_SEED} on, edge 1; a share with its exact 95 % interval.", "",
        "| fitted on | days judged | ALERT | WARN or ALERT | what was flagged |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for days, of in results.items():
        alerts = sum(r["status"] == ALERT for r in of)
        loud = sum(r["status"] != OK for r in of)
        names = Counter(f"{name} ({status})" for r in of for name, status in r["flagged"].items())
        told = ", ".join(f"{name} {k}" for name, k in names.most_common()) or "nothing"
        lines.append(f"| {_days(days)} | {len(of)} | {_share(alerts, len(of))} | {_share(loud, len(of))} | {told} |")
    planted_in = {days: [r for r in of if "model" in r] for days, of in results.items()}
    counts = ", ".join(f"{len(of)} after {_days(days)}" for days, of in planted_in.items())
    lines += ["", f"Faults planted in such days ({counts}): how many of them come out as an ALERT.", ""]
    lines += ["| planted | " + " | ".join(f"fitted on {_days(d)}" for d in results) + " | not always an ALERT |"]
    lines += ["| --- | " + "--- | " * (len(results) + 1)]
    for plant in CHANNEL_PLANTS:
        cells, missed = [], Counter()
        for of in planted_in.values():
            found = [(c, s) for r in of for c, s in r["channels"][plant].items()]
            cells.append(f"{sum(s == ALERT for _, s in found)} of {len(found)}")
            missed.update(c for c, s in found if s != ALERT)
        told = ", ".join(f"{c} {k}" for c, k in missed.most_common()) or "-"
        lines.append(f"| one channel {plant} | {' | '.join(cells)} | {told} |")
    for name in MODEL_PLANTS:
        cells = [f"{sum(r['model'][name] == ALERT for r in of)} of {len(of)}" for of in planted_in.values()]
        lines.append(f"| {name} | {' | '.join(cells)} | |")
    return "\n".join(lines)


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _share(hits: int, n: int) -> str:
    low, high = binomial(hits, n)
    return f"{hits} ({hits / n:.0%}, {low:.0%} to {high:.0%})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Goes on where it was ended: a seed is a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--plants", type=int, default=5, help="of the seeds, in which faults are planted")
    parser.add_argument("--spans", default="1,3", help="days that a release is fitted on, by commas")
    parser.add_argument("--edge", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--docs", action="store_true", help="write the measured part of docs/drift.md anew")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    spans = [int(d) for d in args.spans.split(",")]
    tasks = [(FIRST_SEED + k, args.out.resolve(), args.plants, spans, args.edge) for k in range(args.seeds)]
    with ProcessPoolExecutor(args.workers) as pool:
        list(pool.map(_seed, tasks))
    results: dict[int, list[dict]] = {}
    for place in sorted(args.out.glob("*-*.json")):
        results.setdefault(int(place.stem.split("-")[1]), []).append(json.loads(place.read_text()))
    results = dict(sorted(results.items()))
    text = tables(results)
    print(text)
    if args.docs:
        page = PAGE.read_text(encoding="utf-8")
        begin, end = "<!-- measured -->\n", "<!-- end measured -->"
        page = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}{text}\n{end}", page, flags=re.DOTALL)
        with atomic_path(PAGE) as beside:
            beside.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
