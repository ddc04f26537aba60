"""One arm of the experiment matrix: the gate's decisions over recorded candidates, and the orders that follow.

The gate that trades decides here too, once a candidate; nothing of it is written again for the replay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from feature_repo.constants import MS_NS, ORDER

from .bundle import Bundle
from .candidate import Candidate
from .decision import Decision, Reason
from .shadow_account import no_trades
from .shadow_types import NO_DATA, ORDER_DTYPE

__all__ = ["DECISION_DTYPE", "Decider", "Remembered", "candidate_orders", "decide_all", "rows_of_orders"]

DECISION_DTYPE = np.dtype(
    [
        ("ts_ns", "i8"),
        ("side", "i1"),
        ("sig_type", "i1"),
        ("tier", "i1"),
        ("session", "?"),  # inside a hand-over window
        ("allow", "?"),
        ("reason", "i2"),  # position in list(Reason)
        ("p", "f8"),  # NaN where the model was not asked
        ("size", "f8"),  # quote notional
        ("p_breakeven", "f8"),
        ("latency_us", "f8"),  # measured; not reproducible
    ]
)
"""One row a candidate, in the candidates' order."""

_REASON_AT = {reason: i for i, reason in enumerate(Reason)}


@dataclass(frozen=True)
class Remembered(Bundle):
    """A bundle that is asked once a window: what differs between arms is not what the graph sees."""

    answers: dict[bytes, np.ndarray]

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The same bundle with a memory of its own."""
        return cls(bundle.path, bundle.manifest, bundle.session, {}, buckets=bundle.buckets)

    def predict(self, x: np.ndarray, ctx: np.ndarray) -> np.ndarray:
        """As ``Bundle.predict``, and the same bits."""
        key = hashlib.blake2b(x.tobytes() + ctx.tobytes(), digest_size=16).digest()
        if key not in self.answers:
            self.answers[key] = super().predict(x, ctx)
        return self.answers[key]


class Decider(Protocol):
    """A gate, with or without a model."""

    def decide(self, candidate: Candidate, now_ns: int, x: np.ndarray | None, market: np.void | None) -> Decision: ...


def decide_all(
    gate_of: Sequence[Decider | None],
    candidates: Sequence[Candidate],
    x: np.ndarray,
    found: np.ndarray,
    market: np.ndarray,
    session: np.ndarray,
    *,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Ask the gate about each candidate at the moment its order would leave.

    Parameters
    ----------
    gate_of : one gate a candidate: the one whose bundle was fitted before that candidate's test fold
    x : float32 [N, T, C], windows as the store returned them, not aligned
    found : bool [N], whether the store had the window
    market : MARKET_DTYPE [N], the market row at each candidate's t_k
    session : bool [N], inside a hand-over window

    Returns
    -------
    DECISION_DTYPE [N]
    """
    out = np.zeros(len(candidates), DECISION_DTYPE)
    for i, candidate in enumerate(candidates):
        gate = gate_of[i]
        if gate is None:
            raise ValueError(f"candidate {i} has no gate: only candidates of a fold with a gate can be decided")
        now_ns = candidate.ts_ns + ORDER.compute_ms * MS_NS
        window = (x[i], market[i]) if found[i] else (None, None)
        decision = gate.decide(candidate, now_ns, *window)
        out[i] = (
            candidate.ts_ns,
            candidate.side,
            candidate.sig_type,
            candidate.tier,
            session[i],
            decision.allow,
            _REASON_AT[decision.reason],
            decision.p,
            decision.size,
            decision.p_breakeven,
            decision.latency_us,
        )
        if progress is not None and i % 256 == 0:
            progress(i / len(candidates))
    return out


def candidate_orders(candidates: Sequence[Candidate], notional: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orders of the candidate book: every candidate that can be ordered at all, whatever the gate says of it.

    A candidate without a known reward has no barriers, and so no order.

    Parameters
    ----------
    notional : float64 [N], quote currency

    Returns
    -------
    ORDER_DTYPE [M] and the position of each order's candidate, int64 [M]
    """
    rows = np.flatnonzero([c.R_bps > 0 for c in candidates])
    out = np.zeros(len(rows), ORDER_DTYPE)
    for order, i in enumerate(rows):
        c = candidates[i]
        out[order] = (c.ts_ns, c.side, c.entry, c.price, c.R_bps, notional[i])
    return out, rows


def rows_of_orders(trades: np.ndarray, rows: np.ndarray, candidates: Sequence[Candidate]) -> np.ndarray:
    """Trades back in the candidates' places; a candidate that could not be ordered has no data.

    Returns
    -------
    TRADE_DTYPE [N]
    """
    out = no_trades(len(candidates))
    out["status"], out["outcome"] = NO_DATA, 4
    out["t_end_ns"] = [c.ts_ns for c in candidates]
    out[rows] = trades
    return out
