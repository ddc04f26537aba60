"""What was learned on one simulated mechanism, judged on the other: does the model know more than one artefact?

The simulator gives its edge away in two ways that have nothing in common but the market around them. A model that only
earns on the one it was trained on has learned that simulator, which is what a reader of simulated results must know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.constants import JUDGE, SECOND_NS
from runtime.quality import auc_roc, brier, ece_debiased

from .statistics import MIN_BLOCKS, Interval, paired_block_bootstrap
from .tables import Table, interval_text, number

__all__ = ["Judged", "transfer_rows", "transfer_table"]


@dataclass(frozen=True)
class Judged:
    """One model on the candidates of one tape that it was not fitted on; label exit, each candidate on its own.

    Attributes
    ----------
    name : of the tape's mechanism, and how it relates to the training
    trained_on, mechanism : names of the simulator's mechanisms
    ts_ns : int64 [N], decision times
    p : float64 [N], NaN without a window
    y : int64 [N], 1 target, 0 stop or time-out, -1 no label
    net_bps : float64 [N], NaN without a fill
    none, model : bool [N], allowed by the guards and the EV gate alone, and by the model too (profile B)
    """

    name: str
    trained_on: str
    mechanism: str
    ts_ns: np.ndarray
    p: np.ndarray
    y: np.ndarray
    net_bps: np.ndarray
    none: np.ndarray
    model: np.ndarray


def transfer_rows(judged: Sequence[Judged], *, draws: int = JUDGE.bootstrap_draws, seed: int = 7) -> list[dict]:
    """Figures of each, for metrics.json."""
    return [_row(j, draws, seed) for j in judged]


def _row(j: Judged, draws: int, seed: int) -> dict[str, object]:
    known = (j.y >= 0) & np.isfinite(j.p)
    p, y, ts = np.clip(j.p[known], 0.0, 1.0), j.y[known], j.ts_ns[known]
    base = float(y.mean()) if len(y) else float("nan")
    pair = paired_block_bootstrap(
        j.ts_ns,
        np.where(j.model, j.net_bps, np.nan),
        np.where(j.none, j.net_bps, np.nan),
        draws=draws,
        seed=seed,
    )
    return {
        "name": j.name,
        "trained_on": j.trained_on,
        "mechanism": j.mechanism,
        "candidates": len(j.y),
        "judged": len(y),
        "base_rate": base,
        "auc": _block_interval(auc_roc, p, y, ts, min(draws, 500), seed)._asdict(),
        "brier": brier(p, y),
        "brier_base": base * (1.0 - base),
        "ece": ece_debiased(p, y) if len(y) else float("nan"),
        "model_trades": pair.n_model,
        "none_trades": pair.n_none,
        "model_net_bps": pair.model_mean._asdict(),
        "none_net_bps": pair.none_mean._asdict(),
    }


def _block_interval(
    figure: Callable[[np.ndarray, np.ndarray], float],
    p: np.ndarray,
    y: np.ndarray,
    ts: np.ndarray,
    draws: int,
    seed: int,
) -> Interval:
    """95 % by drawing blocks of clock time: neighbours share their minute, and so their outcome."""
    keys, at = np.unique(ts // (JUDGE.block_s * SECOND_NS), return_inverse=True)
    value, nan = figure(p, y), float("nan")
    if len(keys) < MIN_BLOCKS or not np.isfinite(value):
        return Interval(value, nan, nan)
    rows = [np.flatnonzero(at == k) for k in range(len(keys))]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        chosen = np.concatenate([rows[k] for k in rng.integers(0, len(keys), len(keys))])
        drawn.append(figure(p[chosen], y[chosen]))
    some = np.array(drawn)[np.isfinite(drawn)]
    if len(some) < 0.95 * draws:
        return Interval(value, nan, nan)
    low, high = np.percentile(some, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def transfer_table(metrics: Mapping) -> Table:
    """The rows as text; no rows for a recorded tape."""
    found = metrics.get("transfer") or []
    rows = tuple(
        (
            r["name"],
            f"{r['judged']:,}",
            number(r["base_rate"], ".3f"),
            interval_text(r["auc"], ".3f"),
            f"{number(r['brier'], '.3f')} / {number(r['brier_base'], '.3f')}",
            f"{r['none_trades']:,}",
            interval_text(r["none_net_bps"]),
            f"{r['model_trades']:,}",
            interval_text(r["model_net_bps"]),
        )
        for r in found
    )
    return Table(
        "SIMULATED: trained on one mechanism, judged on both",
        ("judged on", "n", "base", "AUC", "Brier / base", "trades", "no model", "trades", "model"),
        (False, *(True,) * 8),
        rows,
        ("",) * len(rows),
        "profile B, label exit, each candidate on its own, net bps with 95 % intervals (10 min blocks); "
        "neither tape was fitted on",
    )
