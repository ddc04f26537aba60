"""Whether a candidate release may be promoted: rules on metrics.json, each of which a reader can check again.

Anything that is missing, null or contradicts itself keeps the release a candidate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from feature_repo.paths import atomic_path

from .kpis import Status
from .matrix import BANNER
from .promotion_file import Absent, MetricsFile
from .promotion_rules import rule_specs
from .tables import Table, cut
from .tables.promotion import rule_table, rule_value

__all__ = [
    "PROMOTION_NAME",
    "PROMOTION_SCHEMA",
    "Promotion",
    "Rule",
    "judge_promotion",
    "judge_promotion_file",
    "promotion_dict",
    "promotion_table",
    "write_promotion",
]

PROMOTION_SCHEMA = "ofi-meta/promotion/1"
PROMOTION_NAME = "promotion.json"


@dataclass(frozen=True)
class Rule:
    """One rule, judged.

    Attributes
    ----------
    key : stable name for machines; title : for people
    value : None where the rule has no number, or there is none
    threshold : as text, with its relation and unit
    note : sample size, or why the rule is not met
    blocks : False: shown, and nothing more
    """

    key: str
    title: str
    status: Status
    value: float | None
    threshold: str
    note: str
    blocks: bool = True


@dataclass(frozen=True)
class Promotion:
    """The decision.

    Attributes
    ----------
    promoted : every rule that blocks is at PASS
    reasons : one sentence for each that is not; empty exactly when promoted
    simulated : unless the file says that the data is real
    made_from : symbol, venue, fee tier and identity of the run, as far as the file tells
    """

    promoted: bool
    rules: tuple[Rule, ...]
    reasons: tuple[str, ...]
    simulated: bool
    made_from: Mapping[str, str | None]


def judge_promotion(
    metrics: Mapping,
    *,
    drift_status: str | None = None,
    allow_simulated: bool = False,
    wants_drift: bool = False,
) -> Promotion:
    """Judge the headline arm with the model (profile B, the fee tier that was named, the judged exit).

    Never raises for what the file holds: a damaged file promotes nothing, and the rules say why.

    Parameters
    ----------
    metrics : ``Report.metrics``, or metrics.json as read back
    drift_status : of the newest drift report, one of ``drift_file.STATUSES``; None where there is none
    allow_simulated : for rehearsals: simulated data passes, and the decision says SIMULATED
    wants_drift : without a drift report that could judge there is no promotion
    """
    return _judge(MetricsFile(metrics), drift_status, allow_simulated, wants_drift)


def judge_promotion_file(
    path: Path, *, drift_status: str | None = None, allow_simulated: bool = False, wants_drift: bool = False
) -> Promotion:
    """``judge_promotion`` of a file; one that is not there or is no JSON promotes nothing, and the rules say why."""
    try:
        file = MetricsFile(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        file = MetricsFile(None, f"{Path(path).name} cannot be read ({type(error).__name__})")
    return _judge(file, drift_status, allow_simulated, wants_drift)


def _judge(file: MetricsFile, drift_status: str | None, allow_simulated: bool, wants_drift: bool) -> Promotion:
    rules = []
    for spec in rule_specs(drift_status, allow_simulated=allow_simulated, wants_drift=wants_drift):
        try:
            status, value, note = spec.judge(file)
        except Absent as why:
            status, value, note = "N/A", None, str(why)
        rules.append(Rule(spec.key, spec.title, status, value, spec.threshold, cut(note), spec.blocks))
    against = [r for r in rules if r.blocks and r.status != "PASS"]
    return Promotion(not against, tuple(rules), _sentences(against), *_origin(file.metrics))


def promotion_table(promotion: Promotion) -> Table:
    """The rules as text."""
    return rule_table(promotion_dict(promotion))


def promotion_dict(promotion: Promotion, *, tag: str | None = None, at_ns: int | None = None) -> dict[str, object]:
    """Plain JSON.

    Parameters
    ----------
    tag : of the release that was judged
    at_ns : when, ns UTC
    """
    return {
        "schema": PROMOTION_SCHEMA,
        "tag": tag,
        "at_ns": at_ns,
        "simulated": promotion.simulated,
        "banner": BANNER if promotion.simulated else None,
        "promoted": promotion.promoted,
        "reasons": list(promotion.reasons),
        "rules": [asdict(rule) for rule in promotion.rules],
        "made_from": dict(promotion.made_from),
    }


def write_promotion(promotion: Promotion, out: Path, *, tag: str | None = None, at_ns: int | None = None) -> Path:
    """Write promotion.json into ``out``, whole or not at all; the page shows it."""
    target = Path(out) / PROMOTION_NAME
    text = json.dumps(promotion_dict(promotion, tag=tag, at_ns=at_ns), indent=1, allow_nan=False)
    with atomic_path(target) as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    return target


def _sentences(against: list[Rule]) -> tuple[str, ...]:
    """One a rule; rules that lack the same thing share one."""
    lacking: dict[str, list[str]] = {}
    for rule in against:
        if rule.status == "N/A":
            lacking.setdefault(rule.note.rstrip("."), []).append(rule.title)
    failed = [
        f"{r.title}: {_value(r)}wanted {r.threshold} ({r.note.rstrip('.')})." for r in against if r.status == "FAIL"
    ]
    return (*failed, *(f"Not available, {note}: {'; '.join(titles)}." for note, titles in lacking.items()))


def _value(rule: Rule) -> str:
    return "" if rule.value is None else f"{rule_value(asdict(rule))}, "


def _origin(metrics: object) -> tuple[bool, dict[str, str | None]]:
    """Whether the data must be called simulated, and where the numbers come from."""
    top = metrics if isinstance(metrics, Mapping) else {}
    run = top.get("run") if isinstance(top.get("run"), Mapping) else {}
    names = ("symbol", "venue", "run_id", "tape_sha256", "code_version", "fee_tier_given")
    simulated = top.get("simulated") is not False or run.get("venue") == "simulated"
    return simulated, {k: run.get(k) if isinstance(run.get(k), str) else None for k in names}
