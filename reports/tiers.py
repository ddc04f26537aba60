"""The headline profile again at each fee tier of the venue: what it earns there, and the verdict of that tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .arm_stats import UNKNOWN
from .judged import JudgedArm, Pairs, headline
from .records import EXITS, JUDGED_EXIT, RunFacts
from .verdict import verdict

__all__ = ["tier_rows"]


def tier_rows(
    ladder: Sequence[JudgedArm], pairs: Pairs, facts: RunFacts, unbeaten: str = ""
) -> list[dict[str, object]]:
    """One row an arm of the ladder, for metrics.json; net bps, trades and IR of days are of the judged exit.

    The verdict is the one that the run would give had that tier been named: a reader finds the own tier here.

    Parameters
    ----------
    pairs : model minus no model by (fee tier, profile)
    unbeaten : the sentence that no net beats the logistic baseline; empty when one does
    """
    return [_row(judged, pairs, facts, unbeaten) for judged in ladder]


def _row(judged: JudgedArm, pairs: Pairs, facts: RunFacts, unbeaten: str) -> dict[str, object]:
    arm, stats = judged.arm, judged.stats.get(JUDGED_EXIT)
    given = verdict(replace(facts, fee_tier_given=arm.fee.name), [headline(judged, pairs)], unbeaten)
    return {
        "fee_tier": arm.fee.name,
        "maker_bps": arm.fee.maker_bps,
        "taker_bps": arm.fee.taker_bps,
        "model": arm.model,
        "na": arm.reason_na or None,
        "trades": stats.trades if stats else 0,
        "few": stats.few if stats else "",
        "net_bps": (stats.net_bps if stats else UNKNOWN)._asdict(),
        "ir_trade": {e: (judged.stats[e].ir_trade if stats else UNKNOWN)._asdict() for e in EXITS},
        "ir_day": (stats.ir_day if stats else UNKNOWN)._asdict(),
        "verdict": given.word,
        "reasons": given.reasons,
    }
