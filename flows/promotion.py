"""What the night decides about a market's releases: back, a step up, or a candidate into the shadow. No Prefect here.

In this order, so that nothing is built on a release that has to go:

1. The release that serves is judged by its trades of the day: a drawdown or a negative day takes a live one back.
2. Its own trades so far may allow the next step of the ladder.
3. The candidate is judged by the promotion rules. It goes into the shadow if it passes, unless a release is live: that
   one is not replaced by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from feature_repo.market.day_cut import day_span_ns
from reports.page_index import write_index
from reports.promotion import Promotion, judge_promotion_file, write_promotion
from runtime.account_watch import AccountWatch
from runtime.alerts import send_alert
from runtime.buckets import Bucket
from runtime.bundle import read_release
from runtime.ladder import Event, State, next_step
from runtime.release_change import change, model_state
from runtime.release_state import ReleaseState, state
from runtime.rollout import STEP

from .day_trades import DayTrade, keep_trades, kept_trades

__all__ = ["Decided", "decide_releases"]

_LIVE = (State.SMALL_LIVE, State.SCALED)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided.

    Attributes
    ----------
    before, after : "tag (stage)" of what served, or "nothing"
    told : a sentence for each thing that happened or did not, in order
    promotion : of the candidate; None without one
    rolled_back : why, or None
    """

    before: str
    after: str
    told: tuple[str, ...]
    promotion: Promotion | None
    rolled_back: str | None


def decide_releases(
    releases: Path,
    out: Path,
    *,
    now_ns: int,
    candidate: str | None,
    day: date | None,
    trades: list[DayTrade] | None,
    drift_status: str | None = None,
    allow_simulated: bool = False,
    alert: Callable[[Mapping[str, Any]], object] = send_alert,
) -> Decided:
    """Judge what serves and the candidate, change what has to change, and write promotion.json and the page.

    Parameters
    ----------
    releases, out : of one market; ``out`` holds the metrics.json of the candidate
    now_ns : ns UTC, noted in the history
    candidate : tag of the newest release; None: nothing was trained
    day : of ``trades``, those that the serving release made on it; None: it could not be judged
    drift_status : of the day's drift report; without one no candidate is promoted
    alert : called with what happened when a release was taken back

    Raises
    ------
    InputError
        When the releases are damaged. What was changed until then stays.
    """
    now = state(releases) if releases.is_dir() else None
    before, told, rolled_back = _name(now), [], None
    if now is not None and day is not None and trades is not None:
        keep_trades(releases, now.base, day, trades)
        now, rolled_back = _judge_day(releases, now, trades, day, now_ns, told)
        if rolled_back is not None:
            alert({"event": "rolled back", "from": before, "to": _name(now), "why": rolled_back, "at_ns": now_ns})
        elif now.state not in (State.CANDIDATE, State.ROLLED_BACK):
            now = _step(releases, now, now_ns, told)
    elif now is not None:
        told.append(f"{now.tag}: no day after its training span to judge it by")
    promotion = None
    if candidate is not None:
        promotion = judge_promotion_file(
            out / "metrics.json", drift_status=drift_status, allow_simulated=allow_simulated, wants_drift=True
        )
        made_for = read_release(releases / candidate).manifest.metrics.get("run_id")
        if made_for is None or made_for != promotion.made_from.get("run_id"):
            told.append(f"{candidate} stays a candidate: {out / 'metrics.json'} is of another run")
        else:
            now = _candidate(releases, candidate, promotion, now, now_ns, told)
        write_promotion(promotion, out, tag=candidate, at_ns=now_ns)
    else:
        told.append("no candidate: too little data for a model, or nothing was trained")
    write_index(out, releases=releases)
    return Decided(before, _name(now), tuple(told), promotion, rolled_back)


def _judge_day(
    releases: Path, now: ReleaseState, trades: list[DayTrade], day: date, now_ns: int, told: list[str]
) -> tuple[ReleaseState, str | None]:
    """The day's trades through the account watch, as a trading process would have told them."""
    net = sum(t.net_bps for t in trades)
    told.append(f"{now.tag}: {len(trades)} replayed trades on {day}, {net:+,.1f} bps at full size")
    if now.state not in _LIVE:
        return now, None
    watch, tripped = AccountWatch(), None
    live = [(t, _share(now, t)) for t in trades]
    for trade, multiplier in sorted(live, key=lambda pair: pair[0].t_end_ns):
        if multiplier > 0 and tripped is None:
            tripped = watch.update(*trade.as_account(multiplier))
    seen, fallen = watch.trades, watch.drawdown_pct
    if tripped is None:
        tripped = watch.at(day_span_ns(day)[1])
    if tripped is None:
        return now, None
    if tripped == Event.DRAWDOWN.value:
        reading = f"drawdown of {fallen:.1f} % of the stated equity, {watch.max_drawdown_pct:g} % are allowed"
    else:
        reading = f"{tripped.replace('_', ' ')}, over {seen} trades"
    why = f"{day}: {reading}"
    after = change(releases, Event(tripped), at_ns=now_ns, why=why, tag=now.tag)
    told.append(f"{now.tag} went back to {after.tag}: {why}" if after.tag != now.tag else f"{now.tag} stopped: {why}")
    return after, why


def _step(releases: Path, now: ReleaseState, now_ns: int, told: list[str]) -> ReleaseState:
    evidence = [t.as_evidence() for t in kept_trades(releases, now.base)]
    step = next_step(now.state, now.table, evidence)
    if step is None:
        told.append(f"{now.tag}: no step yet, {len(evidence)} trades kept")
        return now
    after = change(releases, Event.STEP, at_ns=now_ns, why=step.why, multipliers=step.multipliers, tag=now.tag)
    told.append(f"{now.tag} to {after.tag}: {step.why}")
    return after


def _candidate(
    releases: Path, tag: str, promotion: Promotion, now: ReleaseState | None, now_ns: int, told: list[str]
) -> ReleaseState | None:
    if not promotion.promoted:
        told.append(f"{tag} stays a candidate: {len(promotion.reasons)} reasons against it")
        told += promotion.reasons
        return now
    if model_state(releases, tag) is State.ROLLED_BACK:
        told.append(f"{tag} passes every rule, and was rolled back before: only an operator brings it up again")
        return now
    if now is not None and now.base == tag:
        told.append(f"{tag} is what serves already")
        return now
    if now is not None and now.state in _LIVE:
        told.append(f"{tag} passes every rule and waits: {now.tag} is live, and is not replaced by itself")
        return now
    after = change(releases, Event.PASSED, at_ns=now_ns, why="every promotion rule passes", tag=tag)
    told.append(f"{tag} goes into the shadow as {after.tag}")
    return after


def _share(now: ReleaseState, trade: DayTrade) -> float:
    """Share of the full size that the trade was made at: one step less before its bucket's last step.

    So the shadow's own trades are none of a live release, and a day that is judged again after a step is judged alike.
    """
    row = now.table.row_of(Bucket.parse(trade.bucket))
    if row is None:
        return 0.0
    share = now.multipliers[row]
    return share if trade.ts_ns >= now.table.shares[row].since_ns else max(0.0, share - STEP)


def _name(now: ReleaseState | None) -> str:
    return "nothing" if now is None else f"{now.tag} ({now.stage}{', stopped' if now.stopped else ''})"
