"""A bundle's manifest: what it was made from and for. A frozen record and its JSON, strictly checked."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.fields import CATALOGUE_HASH, CHANNELS, CTX_NAMES
from feature_repo.instruments import FeeTier

from .buckets import BucketEdges, edges_from_json, edges_to_json, is_edges
from .payoff import Payoff
from .profiles import PROFILES
from .rollout import Rollout, is_rollout

__all__ = [
    "MANIFEST_NAME",
    "MANIFEST_SCHEMA",
    "Manifest",
    "check_tag",
    "manifest_from_json",
    "manifest_to_json",
]

MANIFEST_NAME = "manifest.json"
MANIFEST_SCHEMA = 3
T_RANGE = (20, 100)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = "Get the release again from where it was made, or train a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a release is.

    Attributes
    ----------
    tag : its name, and the name of its folder under releases/
    simulated : made from simulated data
    model : the nets in the graph, such as "tcn"
    fee_tier : the fees it was labelled and judged with
    payoff : what targets and misses of the training span paid, so that a gate knows which P breaks even; None: unknown
    rollout : how far it is rolled out; None: a candidate, which no gate allows an order
    edges : of the buckets, as they were judged with; None: every candidate goes by its parent bucket
    taus : threshold of P by profile
    spans : a dict a fold: train_start_ns, train_end_ns and what else its maker notes
    metrics, versions : finite numbers and text; any nesting that JSON knows
    files : sha256 by file name, filled in by ``write_bundle``
    """

    tag: str
    symbol: str
    venue: str
    simulated: bool
    model: str
    fee_tier: FeeTier
    T: int = MODEL.T
    C: int = MODEL.C
    ctx: int = MODEL.ctx
    catalogue_hash: str = CATALOGUE_HASH
    payoff: Payoff | None = None
    rollout: Rollout | None = None
    edges: BucketEdges | None = None
    taus: dict[str, float] = field(default_factory=lambda: {name: p.tau for name, p in PROFILES.items()})
    spans: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    schema: int = MANIFEST_SCHEMA


def check_tag(tag: str) -> str:
    """The tag, if it can name a folder and nothing else.

    Raises
    ------
    InputError
        When it could lead elsewhere, or is the name of the link.
    """
    if not isinstance(tag, str) or not _TAG.fullmatch(tag) or tag == "current":
        raise InputError(
            f"the tag {tag!r}",
            "letters, digits, '.', '_' and '-', starting with a letter or digit, and not 'current'",
            "Choose another tag",
        )
    return tag


def manifest_to_json(manifest: Manifest) -> str:
    """JSON text, keys sorted.

    Raises
    ------
    InputError
        When a number is not finite or a value is nothing that JSON knows.
    """
    check_tag(manifest.tag)
    raw = asdict(manifest) | {"edges": edges_to_json(manifest.edges)}
    try:
        return json.dumps(raw, indent=1, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as e:
        raise InputError(
            f"the manifest of {manifest.tag!r} cannot be written ({e})",
            "finite numbers, text, lists and dicts",
            "Leave unknown numbers out or make them None, and turn numpy values into Python's",
        ) from e


def manifest_from_json(text: str, *, name: str) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    name : what an error calls it, usually the bundle's path

    Raises
    ------
    InputError
        When it is damaged, of another schema or made for another field catalogue.
    """
    raw = _parse(text, name)
    if not isinstance(raw, dict) or raw.get("schema") != MANIFEST_SCHEMA:
        schema = raw.get("schema") if isinstance(raw, dict) else None
        raise InputError(
            f"{name}: a manifest of schema {schema!r}",
            f"schema {MANIFEST_SCHEMA}",
            "Train a new bundle with this version, or use the version that wrote this one",
        )
    if raw.get("catalogue_hash") != CATALOGUE_HASH:
        raise InputError(
            f"{name}: made from another field catalogue ({str(raw.get('catalogue_hash'))[:12]})",
            f"the catalogue {CATALOGUE_HASH[:12]} of feature_repo/fields.py",
            "Train a new bundle on features of this version",
        )
    names = {f.name for f in fields(Manifest)}
    if raw.keys() != names:
        missing, unknown = sorted(names - raw.keys()), sorted(raw.keys() - names)
        raise InputError(f"{name}: missing fields {missing}, unknown fields {unknown}", "every field once", _AGAIN)
    wrong = sorted(n for n, ok in _CHECKS.items() if not ok(raw[n]))
    if wrong:
        got = ", ".join(f"{n} = {str(raw[n])[:60]}" for n in wrong)
        raise InputError(f"{name}: unusable {got}", "the fields of runtime/manifest.py and this version's T, C", _AGAIN)
    check_tag(raw["tag"])
    rollout = raw["rollout"] and Rollout(**raw["rollout"])
    if rollout is not None:
        for tag in (rollout.base, rollout.previous):
            if tag is not None:
                check_tag(tag)  # they name folders, too
    return Manifest(
        **{
            **raw,
            "fee_tier": FeeTier(**raw["fee_tier"]),
            "payoff": raw["payoff"] and Payoff(**raw["payoff"]),
            "rollout": rollout,
            "edges": edges_from_json(raw["edges"]),
        }
    )


def _parse(text: str, name: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"the number {constant}")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{name}: a manifest that is no JSON ({e})", "an undamaged manifest.json", _AGAIN) from e


def _number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e6


def _fee(v: Any) -> bool:
    return (
        isinstance(v, dict)
        and v.keys() == {"name", "maker_bps", "taker_bps"}
        and isinstance(v["name"], str)
        and _number(v["maker_bps"])
        and _number(v["taker_bps"])
    )


def _payoff(v: Any) -> bool:
    return v is None or (
        isinstance(v, dict)
        and v.keys() == {"target_R", "miss_R"}
        and _number(v["target_R"])
        and _number(v["miss_R"])
        and v["target_R"] > v["miss_R"]
    )


def _is_int(v: Any, low: int, high: int) -> bool:
    return isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


_CHECKS = {
    "tag": lambda v: isinstance(v, str),
    "symbol": lambda v: isinstance(v, str) and bool(v),
    "venue": lambda v: isinstance(v, str) and bool(v),
    "simulated": lambda v: isinstance(v, bool),
    "model": lambda v: isinstance(v, str) and bool(v),
    "fee_tier": _fee,
    "T": lambda v: _is_int(v, *T_RANGE),
    "C": lambda v: _is_int(v, len(CHANNELS), len(CHANNELS)),
    "ctx": lambda v: _is_int(v, len(CTX_NAMES), len(CTX_NAMES)),
    "payoff": _payoff,
    "rollout": is_rollout,
    "edges": is_edges,
    "taus": lambda v: (
        isinstance(v, dict) and v.keys() == PROFILES.keys() and all(_number(t) and 0 < t < 1 for t in v.values())
    ),
    "spans": lambda v: isinstance(v, list) and all(isinstance(s, dict) for s in v),
    "metrics": lambda v: isinstance(v, dict),
    "versions": lambda v: isinstance(v, dict) and all(isinstance(s, str) for s in v.values()),
    "files": lambda v: isinstance(v, dict) and all(isinstance(s, str) and _SHA256.fullmatch(s) for s in v.values()),
}
