"""What a run of the honesty check is told, and the key below which its result is kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from feature_repo.errors import InputError
from feature_repo.jit import sources_of

from .parameters import ShadowParameters

__all__ = [
    "FIRST_SEED",
    "SPREAD",
    "RunPlan",
    "arguments_of",
    "code_version",
    "key_of",
    "plan_runs",
    "sources",
]

FIRST_SEED = 601
"""Seeds below this one were looked at when defaults were chosen; an honest rate needs others."""
EDGES = (0.0, 1.0)
_PER_HOUR = 125
"""Candidates that each tape surely has: quiet hours at edge 0 have 150 to 190, a day has 220 to 290 an hour."""
SPREAD = 6
"""How many times longer a tape is than its candidates need: most candidates of an hour overlap, and as many from six
days know more. Drawn from two, the mean of profile B was told apart from no model in 10 to 12 of 20 runs."""
_PACKAGES = ("feature_repo", "runtime", "meta_models")
_LIBRARIES = ("numpy", "numba", "torch", "lightning", "scikit-learn", "onnxruntime", "hftbacktest", "arch", "duckdb")
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run.

    Attributes
    ----------
    edge : of the simulated tape, 0 or 1
    seed : of the simulator, the training and the bootstrap
    candidates : drawn evenly from the tape, as many as this
    models : names as ``ofi-meta shadow --model`` takes them
    folds : of the walk-forward
    spread : see ``SPREAD``

    Raises
    ------
    InputError
        A value that cannot be used.
    """

    edge: float
    seed: int
    candidates: int
    models: tuple[str, ...]
    folds: int
    spread: int = SPREAD

    def __post_init__(self) -> None:
        if self.edge not in EDGES:
            raise InputError(f"edge {self.edge:g}", "0 or 1", "Give one of them")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed {self.seed}", "an integer from 0 on", "Give another seed")
        if not 100 <= self.candidates <= 90_000:
            raise InputError(f"{self.candidates} candidates", "100 to 90,000", "Give another number")
        if not 1 <= self.folds <= 20:
            raise InputError(f"{self.folds} folds", "1 to 20", "Give another number")
        if not 1 <= self.spread <= 20:
            raise InputError(f"a spread of {self.spread}", "1 to 20", "Give another number")
        unknown = [m for m in self.models if m not in known_models()]
        if unknown or not self.models or len(set(self.models)) < len(self.models):
            raise InputError(
                f"models {','.join(self.models) or 'none'!r}",
                f"some of {', '.join(known_models())}, each once",
                "Give other names",
            )

    @property
    def hours(self) -> float:
        """Length of the tape: long enough for the candidates."""
        return float(math.ceil(self.candidates * self.spread / _PER_HOUR))

    @property
    def name(self) -> str:
        """Of the run and of its file."""
        return f"edge{self.edge:g}-seed{self.seed}"


def arguments_of(chunk: Sequence[RunPlan]) -> list[str]:
    """As ``flows.honesty_run`` reads them; the runs of a chunk differ in their seeds alone."""
    first = chunk[0]
    told = {"edge": f"{first.edge:g}", "seed": ",".join(str(plan.seed) for plan in chunk)}
    told |= {"candidates": first.candidates, "models": ",".join(first.models), "folds": first.folds}
    told["spread"] = first.spread
    return [text for name, value in told.items() for text in (f"--{name}", str(value))]


def known_models() -> tuple[str, ...]:
    """Names of the models that a shadow run takes."""
    return get_args(ShadowParameters.model_fields["model"].annotation)


def plan_runs(seeds: int, candidates: int, models: Sequence[str], folds: int, spread: int = SPREAD) -> list[RunPlan]:
    """Both edges of each seed in turn, so that what is done at any moment is balanced.

    Raises
    ------
    InputError
        A value that cannot be used.
    """
    if not 1 <= seeds <= 1_000:
        raise InputError(f"{seeds} seeds", "1 to 1,000", "Give another number")
    return [
        RunPlan(edge, seed, candidates, tuple(models), folds, spread)
        for seed in range(FIRST_SEED, FIRST_SEED + seeds)
        for edge in EDGES
    ]


def code_version() -> str:
    """Hash of all that decides a run's figures: the text of the code that it goes through, and the libraries.

    The text rather than a commit: a checkout with edits in it has no commit of its own, and a commit that touches no
    code must not throw two hours of results away. Files are read anew at each call.
    """
    digest = hashlib.sha256(json.dumps({name: version(name) for name in _LIBRARIES}).encode())
    for path in sources():
        digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def sources() -> list[Path]:
    """Files of this project that a run goes through, or may."""
    files = set(sources_of(Path(__file__).with_name("honesty_run.py")))
    for package in _PACKAGES:
        files |= {p for kind in ("*.py", "*.yaml") for p in (_ROOT / package).rglob(kind)}
    return sorted(files)


def key_of(plan: RunPlan, code: str) -> str:
    """The same for all runs whose results may stand in one table; not of edge and seed, which name the file."""
    told = {k: v for k, v in asdict(plan).items() if k not in ("edge", "seed")} | {"code": code}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
