"""Asking a release about candidates that were not its to decide: its P, and what its gate would have said."""

from __future__ import annotations

import numpy as np

from feature_repo.fields import CHANNELS, align
from feature_repo.table import FeatureTable
from meta_models.label_io import LabelFile
from reports.drift import Decided
from reports.drift.sampling import even_rows
from runtime.arms import DECISION_DTYPE, decide_all
from runtime.bundle import Bundle
from runtime.context import context_rows, round_trip_cost_bps
from runtime.gate import MetaFilter
from runtime.profiles import profile_of

__all__ = ["Asked"]

_BATCH = 1_024
_SESSION = CHANNELS.index("session_flag")


class Asked:
    """Gathers answers table by table; ``answers`` hands them over and begins anew.

    The gate decides as if the release were rolled out in full, at the release's own fees.

    Parameters
    ----------
    file : labels and their candidates, in time order or not
    profile : whose guards are asked
    """

    def __init__(self, bundle: Bundle, file: LabelFile, profile: str, seed: int) -> None:
        self._bundle, self._file, self._seed = bundle, file, seed
        self._gate = MetaFilter(bundle, profile=profile, shadow=True)
        self._tier, self._fee = profile_of(profile).tier, bundle.manifest.fee_tier
        self._order = np.argsort(file.labels["ts_ns"], kind="stable")
        self._ts = file.labels["ts_ns"][self._order]
        self._parts: list[Decided] = []

    def count(self, first_ns: int, end_ns: int) -> int:
        """Candidates in a span of time."""
        lo, hi = np.searchsorted(self._ts, (first_ns, end_ns))
        return int(hi - lo)

    def take(self, table: FeatureTable, first_ns: int, end_ns: int, most: int) -> None:
        """Ask about at most so many candidates of a span of time, evenly; their windows lie in ``table``."""
        lo, hi = np.searchsorted(self._ts, (first_ns, end_ns))
        rows = self._order[lo:hi][even_rows(int(hi - lo), most, self._seed)]
        if not len(rows) or not len(table.t_ns):
            return
        labels, candidates = self._file.labels[rows], [self._file.candidates[i] for i in rows]
        manifest = self._bundle.manifest
        at = np.minimum(np.searchsorted(table.t_ns, labels["ts_ns"]), len(table.t_ns) - 1)
        x, found = table.windows(labels["ts_ns"], manifest.T)
        market, X = table.market[at], table.X[at]
        p = np.full(len(rows), np.nan)
        side = np.array([c.side for c in candidates])
        ctx = context_rows(candidates, market, self._fee)
        asked = np.flatnonzero(found)
        for start in range(0, len(asked), _BATCH):
            part = asked[start : start + _BATCH]
            turned = np.stack([align(x[i], int(side[i])) for i in part])
            p[part] = self._bundle.predict(turned, ctx[part])
        decided = decide_all([self._gate] * len(rows), candidates, x, found, market, X[:, _SESSION] > 0)
        self._parts.append(self._of(labels, candidates, X, np.where((p >= 0) & (p <= 1), p, np.nan), decided))

    def _of(self, labels: np.ndarray, candidates: list, X: np.ndarray, p: np.ndarray, decided: np.ndarray) -> Decided:
        assert decided.dtype == DECISION_DTYPE
        return Decided(
            ts_ns=labels["ts_ns"].astype(np.int64),
            X=X,
            p=p,
            y=labels["y"].astype(np.int8),
            weight=np.where(labels["y"] >= 0, labels["weight"], 0.0).astype(float),
            sig_type=decided["sig_type"].astype(np.int8),
            in_tier=decided["tier"] <= self._tier,
            reason=decided["reason"].astype(np.int16),
            allow=decided["allow"].astype(bool),
            cost_bps=np.array([round_trip_cost_bps(c, self._fee) for c in candidates]),
            exp_reward_bps=np.array([c.exp_reward_bps for c in candidates], float),
        )

    def answers(self) -> Decided:
        """All that was taken since the last call."""
        parts, self._parts = self._parts, []
        if not parts:
            return Decided.none()
        return Decided(**{name: np.concatenate([getattr(d, name) for d in parts]) for name in vars(parts[0])})
