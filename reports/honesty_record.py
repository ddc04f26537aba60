"""What one run of the honesty check leaves behind, and how it is read back: a damaged file is refused, not judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from feature_repo.errors import InputError
from runtime.quality import brier

from .records import EXITS
from .statistics import Interval, PairedDifference

__all__ = ["PARTS", "SCHEMA", "HonestModel", "HonestRun"]

SCHEMA = "ofi-meta/honesty-run/1"
PARTS = ("difference", "model_mean", "none_mean")
"""The intervals of a ``PairedDifference``."""
_COUNTS = ("blocks", "n", "n_model", "n_none")
_DIGITS = 6  # of a kept probability


@dataclass(frozen=True)
class HonestModel:
    """One model in one run, out of sample.

    Attributes
    ----------
    p : float64 [n], probabilities of the labelled candidates, rounded to 6 digits
    y : int64 [n], 1 target, 0 not
    brier_logistic, brier_base : of the baselines on the same rows; None where they were not asked
    arms : (fee tier, exit) -> model minus no model, profile B
    candidates : out of sample, those without a label included
    notes : what the walk-forward has to say, e.g. a fold without a model
    """

    p: np.ndarray
    y: np.ndarray
    brier_logistic: float | None
    brier_base: float | None
    arms: Mapping[tuple[str, str], PairedDifference]
    candidates: int
    notes: tuple[str, ...] = ()

    @property
    def brier(self) -> float | None:
        """Of ``p``; None without a label."""
        return brier(self.p, self.y) if len(self.y) else None


@dataclass(frozen=True)
class HonestRun:
    """One simulated tape, the whole way, with every model asked for."""

    edge: float
    seed: int
    models: Mapping[str, HonestModel]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without a NaN: an unknown bound is null."""
        return {
            "schema": SCHEMA,
            "simulated": True,
            "edge": self.edge,
            "seed": self.seed,
            "models": {name: _model_dict(m) for name, m in self.models.items()},
        }

    @classmethod
    def from_dict(cls, record: object) -> HonestRun:
        """Read ``to_dict`` back.

        Raises
        ------
        InputError
            When something is missing, of another kind, or does not agree with the rest of the record.
        """
        try:
            if record["schema"] != SCHEMA:
                raise ValueError(f"schema {record['schema']!r}")
            models = {str(name): _model(m) for name, m in record["models"].items()}
            run = cls(float(record["edge"]), int(record["seed"]), models)
            if not run.models:
                raise ValueError("no model")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"a damaged result ({what})", f"a whole {SCHEMA}", "Delete it and run again") from error
        return run


def _model_dict(m: HonestModel) -> dict[str, Any]:
    return {
        "candidates": m.candidates,
        "labels": len(m.y),
        "base_rate": _number(float(np.mean(m.y))) if len(m.y) else None,
        "brier": m.brier,
        "brier_logistic": m.brier_logistic,
        "brier_base": m.brier_base,
        "arms": [
            {"fee_tier": tier, "exit": exit_}
            | {part: [_number(v) for v in getattr(found, part)] for part in PARTS}
            | {name: int(getattr(found, name)) for name in _COUNTS}
            | {"claim": found.beats}
            for (tier, exit_), found in m.arms.items()
        ],
        "notes": list(m.notes),
        "p": np.round(m.p, _DIGITS).tolist(),
        "y": m.y.astype(int).tolist(),
    }


def _model(record: Mapping[str, Any]) -> HonestModel:
    p, y = np.array(record["p"], np.float64), np.array(record["y"], np.int64)
    found = HonestModel(
        p,
        y,
        _known(record["brier_logistic"]),
        _known(record["brier_base"]),
        dict(map(_arm, record["arms"])),
        int(record["candidates"]),
        tuple(map(str, record["notes"])),
    )
    told = record["brier"]
    if len(y) != record["labels"] or len(p) != len(y) or len(y) > found.candidates:
        raise ValueError(f"{record['labels']} labels told, {len(p)} p and {len(y)} y of {found.candidates} candidates")
    mine = found.brier  # raises ValueError for a p outside [0, 1] or a y that is no label
    if (mine is None) != (told is None) or (mine is not None and abs(mine - told) > 1e-4):
        raise ValueError(f"a Brier score of {told} beside probabilities that have {mine}")
    if not found.arms:
        raise ValueError("no arm")
    return found


def _arm(record: Mapping[str, Any]) -> tuple[tuple[str, str], PairedDifference]:
    key = (str(record["fee_tier"]), str(record["exit"]))
    if key[1] not in EXITS:
        raise ValueError(f"exit {key[1]!r}")
    found = PairedDifference(*(_interval(record[part]) for part in PARTS), *(int(record[name]) for name in _COUNTS))
    if found.beats != record["claim"]:
        raise ValueError(f"claim {record['claim']} beside intervals that say {found.beats}")
    return key, found


def _interval(values: list[float | None]) -> Interval:
    value, low, high = (math.nan if v is None else float(v) for v in values)
    if math.isfinite(low) != math.isfinite(high) or low > high:
        raise ValueError(f"an interval {values}")
    return Interval(value, low, high)


def _known(value: float | None) -> float | None:
    return None if value is None else float(value)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
