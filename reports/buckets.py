"""Which market states pay: signal type x terciles of OFI, spread and depth x session, with shrunken lower bounds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from feature_repo.constants import JUDGE
from runtime.buckets import BucketEdges
from runtime.candidate import SigType
from runtime.metrics import ir_trade
from runtime.rollout import STEP, STEP_TRADES

from .arm_stats import candidate_net
from .records import FACTS_DTYPE, ArmInput
from .statistics import benjamini_hochberg, shrink

__all__ = ["TERCILES", "BucketRow", "bucket_rows", "buckets_csv", "fit_edges", "multiplier"]

TERCILES = ("low", "mid", "high")
_STATES = ("ofi_z", "spread_bps", "depth")
_EXIT = "label"


@dataclass(frozen=True)
class BucketRow:
    """One bucket, or one parent (states "all"), of one arm; the fields are the columns of buckets.csv.

    Attributes
    ----------
    n : allowed and filled candidates, each on its own (candidate book)
    mean_net_bps, ir_trade : of these trades, NaN below 1 and 2
    shrunk_bps, lower80_bps : pulled towards the parent; one-sided lower bound
    p_value : one-sided, of a mean that is not above 0
    positive : what a roll-out may trade
    judged_by : "bucket", or "parent" below ``JudgeDefaults.bucket_min_trades`` trades
    multiplier : share of the full size that the evidence allows
    """

    simulated: bool
    fee_tier: str
    profile: str
    model: bool
    exit: str
    sig_type: str
    ofi_z: str
    spread: str
    depth: str
    session: str
    n: int
    mean_net_bps: float
    ir_trade: float
    shrunk_bps: float
    lower80_bps: float
    p_value: float
    positive: bool
    judged_by: str
    multiplier: float
    note: str


def fit_edges(training: np.ndarray) -> BucketEdges:
    """Tercile edges from candidates before the first test fold.

    Parameters
    ----------
    training : FACTS_DTYPE [n]; NaN values are left out, state by state

    Returns
    -------
    BucketEdges, NaN where a state has fewer than three values
    """
    edges = []
    for state in _STATES:
        x = training[state][np.isfinite(training[state])]
        lo, hi = np.quantile(x, [1 / 3, 2 / 3]) if len(x) >= 3 else (math.nan, math.nan)
        edges.append((float(lo), float(hi)))
    return BucketEdges(*edges, n=len(training))


def _tercile(x: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    """int [N]: 0 up to and with the lower edge, 2 above the upper one, -1 unknown."""
    if not all(map(math.isfinite, edges)):
        return np.full(len(x), -1)
    return np.where(np.isfinite(x), np.searchsorted(edges, x, side="left"), -1)


def multiplier(positive: bool, n: int) -> float:
    """Share of the full size: 0.2 when a bucket is admitted, 0.2 more for every 100 trades behind it, at most 1."""
    return min(1.0, round(STEP * (1 + n // STEP_TRADES), 10)) if positive else 0.0


def bucket_rows(arm: ArmInput, edges: BucketEdges | None, *, simulated: bool) -> tuple[BucketRow, ...]:
    """Parents first, then their buckets, of the label exit; an arm without a trade has one row, a bucket without none.

    A bucket is positive with at least 30 trades, a shrunken lower 80 % bound above 0 and a place among the discoveries
    at a false discovery rate of 10 % (counted over the arm's judged buckets). Below 30 trades its parent, signal type x
    session, is asked; parents are judged the same way against each other.
    """
    common = {
        "simulated": simulated,
        "fee_tier": arm.fee.name,
        "profile": arm.profile,
        "model": arm.model,
        "exit": _EXIT,
    }
    if arm.reason_na or arm.decisions is None:
        return (_nothing(common, f"N/A: {arm.reason_na}"),)
    net = candidate_net(arm, _EXIT)
    use = np.isfinite(net)
    if not use.any():
        return (_nothing(common, "no trades"),)
    d, net = arm.decisions[use], net[use]
    facts = np.full(len(d), np.nan, FACTS_DTYPE) if arm.facts is None else arm.facts[use]
    terciles = (
        np.full((len(d), 3), -1)
        if edges is None
        else np.stack([_tercile(facts[s], getattr(edges, s)) for s in _STATES], axis=1)
    )
    parent_keys = sorted({(int(s), bool(h)) for s, h in zip(d["sig_type"], d["session"], strict=True)})
    in_parent = {k: (d["sig_type"] == k[0]) & (d["session"] == k[1]) for k in parent_keys}
    parent_verdicts = _judge([net[in_parent[k]] for k in parent_keys])
    members: list[tuple[tuple[int, bool], tuple[int, ...], np.ndarray]] = []
    stats: list[tuple[float, float, float]] = []
    for key in parent_keys:
        known = in_parent[key] & (terciles >= 0).all(axis=1)
        cells = sorted({tuple(int(v) for v in row) for row in terciles[known]})
        groups = [net[known & (terciles == cell).all(axis=1)] for cell in cells]
        shrunk = shrink(groups) if groups else None
        members += [(key, cell, g) for cell, g in zip(cells, groups, strict=True)]
        if shrunk is not None:
            stats += list(zip(shrunk.mean, shrunk.low, shrunk.p_value, strict=True))
    enough = np.array([len(g) >= JUDGE.bucket_min_trades for _, _, g in members], bool)
    p = np.array([s[2] for s in stats])
    found = benjamini_hochberg(np.where(enough, p, np.nan), JUDGE.bucket_fdr)

    rows = []
    parent_positive = {}
    for key, (mean, low, p_value, positive) in zip(parent_keys, parent_verdicts, strict=True):
        x = net[in_parent[key]]
        parent_positive[key] = positive
        note = "" if len(x) >= JUDGE.bucket_min_trades else f"few trades: {len(x)} of {JUDGE.bucket_min_trades}"
        rows.append(_row(common, key, ("all",) * 3, x, mean, low, p_value, positive, "bucket", note))
    for i, (key, cell, x) in enumerate(members):
        mean, low, p_value = stats[i]
        own = bool(enough[i])
        positive = bool(found[i] and low > 0) if own else parent_positive[key]
        note = "" if own else f"few trades: {len(x)} of {JUDGE.bucket_min_trades}, judged by its parent"
        names = tuple(TERCILES[v] for v in cell)
        rows.append(_row(common, key, names, x, mean, low, p_value, positive, "bucket" if own else "parent", note))
    return tuple(rows)


def _judge(groups: Sequence[np.ndarray]) -> list[tuple[float, float, float, bool]]:
    shrunk = shrink(groups)
    enough = np.array([len(g) >= JUDGE.bucket_min_trades for g in groups], bool)
    found = benjamini_hochberg(np.where(enough, shrunk.p_value, np.nan), JUDGE.bucket_fdr)
    return [
        (float(m), float(lo), float(p), bool(f and lo > 0))
        for m, lo, p, f in zip(shrunk.mean, shrunk.low, shrunk.p_value, found, strict=True)
    ]


def _row(
    common: dict[str, object],
    key: tuple[int, bool],
    names: tuple[str, ...],
    x: np.ndarray,
    mean: float,
    low: float,
    p_value: float,
    positive: bool,
    judged_by: str,
    note: str,
) -> BucketRow:
    return BucketRow(
        **common,
        sig_type=SigType(key[0]).name.lower(),
        ofi_z=names[0],
        spread=names[1],
        depth=names[2],
        session="handover" if key[1] else "other",
        n=len(x),
        mean_net_bps=float(x.mean()) if len(x) else math.nan,
        ir_trade=ir_trade(x),
        shrunk_bps=float(mean),
        lower80_bps=float(low),
        p_value=float(p_value),
        positive=positive,
        judged_by=judged_by,
        multiplier=multiplier(positive, len(x)),
        note=note,
    )


def _nothing(common: dict[str, object], note: str) -> BucketRow:
    nan = math.nan
    return BucketRow(
        **common,
        **dict.fromkeys(("sig_type", "ofi_z", "spread", "depth", "session"), "all"),
        n=0,
        mean_net_bps=nan,
        ir_trade=nan,
        shrunk_bps=nan,
        lower80_bps=nan,
        p_value=nan,
        positive=False,
        judged_by="bucket",
        multiplier=0.0,
        note=note,
    )


def buckets_csv(rows: Sequence[BucketRow]) -> str:
    """The rows as CSV with a header; an empty field is a number that does not exist."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(BucketRow)]
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return value
