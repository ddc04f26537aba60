"""The audit of a whole tape in one go."""

from __future__ import annotations

import numpy as np

from feature_repo.market.audit import BookAudit

__all__ = ["best_quotes"]


def best_quotes(events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best prices after each depth message of a whole tape, EVENT_DTYPE [N]; see ``BookAudit.update``."""
    audit = BookAudit()
    parts = audit.update(events), audit.finish()
    last_row, bid, ask = (np.concatenate(column) for column in zip(*parts, strict=True))
    return last_row, bid, ask
