"""Skill that is too good to be true: a feature that knows the future stands out before anyone believes its profit.

How the limits were found, and which leaks stay below them, is in docs/leaks.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from feature_repo.errors import InputError

from .auc import auc_deviation, weighted_auc
from .ridge import ridge, window_columns

__all__ = ["VIEWS", "LeakError", "check_channels", "check_skill"]

VIEWS = ("newest", "mean", "change")
"""How a channel is looked at: its newest row, its mean over the window, newest less oldest row."""

# Areas under the ROC curve, turned to be above 0.5. Luck of as many standard deviations is allowed on top.
CHANNEL_LIMIT, CHANNEL_SIGMAS = 0.85, 3.0
LONE_LIMIT, LONE_SIGMAS, LONE_SHARE = 0.75, 2.0, 0.20
MODEL_LIMIT, MODEL_SIGMAS = 0.92, 3.0


class LeakError(InputError):
    """Something is known that cannot be known yet."""


def check_channels(x: np.ndarray, y: np.ndarray, weight: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Refuse a channel that alone ranks the labels better than any honest one does.

    Two rules. A channel must not rank better than `CHANNEL_LIMIT`. And one that ranks better than `LONE_LIMIT` must not
    know what no other does: of the area that all others together leave to be won it may take at most `LONE_SHARE`
    (honest channels confirm each other). The second is a linear fit on the rows themselves, where few rows make the
    others look better than they are, and so it errs towards silence.

    Parameters
    ----------
    x : float32 [N, T, C], side-aligned, finite
    y : 0/1 [N]
    weight : float [N], > 0, average uniqueness: its sum counts as independent rows
    names : of the C channels

    Returns
    -------
    dict
        limit, lone_limit (luck included), lone_share_limit, highest {channel, view, auc}, and channels {name: {auc,
        share}}: the best of the three views, and the part that this one takes of what the others leave. None where
        there is but one class.

    Raises
    ------
    LeakError
        Naming the channel that stands out most, and its figures.
    """
    y = np.asarray(y, float)
    strengths, shares = _strengths(x, y, weight), _shares(x, y, weight)
    limit = _limit(CHANNEL_LIMIT, CHANNEL_SIGMAS, y, weight)
    lone_limit = _limit(LONE_LIMIT, LONE_SIGMAS, y, weight)
    best = strengths.max(axis=0)
    alone = best > limit
    lone = (best > lone_limit) & (shares > LONE_SHARE)
    if alone.any() or lone.any():
        # What a leak takes away from the others tells it from channels that merely resemble it.
        channel = int(np.argmax(np.where(alone | lone, shares, -np.inf)))
        view = VIEWS[int(strengths[:, channel].argmax())]
        raise _told(
            f"channel {names[channel]}, whose {_VIEW_TEXT[view]} alone ranks {len(y)} labels with an area under the "
            f"ROC curve of {best[channel]:.3f} and takes {shares[channel]:.0%} of what all others leave to be won",
            f"at most {limit:.3f}, and above {lone_limit:.3f} at most {LONE_SHARE:.0%}, as of any honest channel",
        )
    return {
        "limit": _number(limit),
        "lone_limit": _number(lone_limit),
        "lone_share_limit": LONE_SHARE,
        "highest": _highest(strengths, names),
        "channels": {
            str(name): {"auc": _number(a), "share": _number(s)} for name, a, s in zip(names, best, shares, strict=True)
        },
    }


def check_skill(
    p_oof: np.ndarray, x_oof: np.ndarray, y: np.ndarray, weight: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Refuse out-of-fold probabilities that rank better than any honest model's.

    Parameters
    ----------
    p_oof : float [N], out-of-fold probabilities or scores, finite
    x_oof : float32 [N, T, C], the same rows
    y, weight, names : as in `check_channels`

    Returns
    -------
    dict
        limit (luck included), auc, highest (the channel that ranks best alone); None where there is but one class.

    Raises
    ------
    LeakError
        Naming the channel with the highest skill of its own.
    """
    y = np.asarray(y, float)
    auc = float(weighted_auc(p_oof, y, weight)[0])
    limit = _limit(MODEL_LIMIT, MODEL_SIGMAS, y, weight)
    highest = _highest(_strengths(x_oof, y, weight), names)
    if auc > limit:
        raise _told(
            f"out-of-fold probabilities that rank {len(y)} labels with an area under the ROC curve of {auc:.3f}; of "
            f"the channels, the {_VIEW_TEXT[highest['view']]} of {highest['channel']} alone does best with "
            f"{highest['auc']:.3f}",
            f"at most {limit:.3f}, as of any honest model",
        )
    return {"limit": _number(limit), "auc": _number(auc), "highest": highest}


_VIEW_TEXT = {
    "newest": "newest row",
    "mean": "mean over the window",
    "change": "change over the window",
}


def _strengths(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """float64 [views, C]: the area by each view of each channel, turned to be above 0.5."""
    newest = x[:, -1]
    area = np.stack([weighted_auc(view, y, weight) for view in (newest, x.mean(axis=1), newest - x[:, 0])])
    return np.maximum(area, 1 - area)


def _shares(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """float64 [C]: (area with all channels - area without this one) / (1 - area without this one)."""
    channels = x.shape[2]
    columns = window_columns(x)
    coefficients, inverse = ridge(columns, y[:, None], weight)
    whole = coefficients[:, 0]
    fits = [whole]
    for c in range(channels):
        own = [c, channels + c]
        # Leaving columns out of a least-squares fit needs no new one: block inversion.
        fits.append(whole - inverse[:, own] @ np.linalg.solve(inverse[np.ix_(own, own)], whole[own]))
    area = weighted_auc(columns @ np.stack(fits, axis=1), y, weight)
    return (area[0] - area[1:]) / np.maximum(1 - area[1:], 1e-9)


def _limit(auc: float, sigmas: float, y: np.ndarray, weight: np.ndarray) -> float:
    hits = float(weight[y == 1].sum())
    return auc + sigmas * auc_deviation(auc, hits, float(np.sum(weight)) - hits)


def _highest(strengths: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    if not np.isfinite(strengths).all():
        return {"channel": None, "view": None, "auc": None}
    view, channel = np.unravel_index(np.argmax(strengths), strengths.shape)
    return {"channel": str(names[channel]), "view": VIEWS[view], "auc": _number(strengths[view, channel])}


def _told(got: str, accepts: str) -> LeakError:
    return LeakError(got, accepts, "Look for a value in it that is known only after the decision (docs/leaks.md)")


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
