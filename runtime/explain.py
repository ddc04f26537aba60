"""Why the gate said what it said: each check with its value and what it was held against, and the answer made again."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from feature_repo.constants import GATE, LABEL
from feature_repo.errors import InputError

from .bundle import MODEL_NAME, load_bundle
from .decision import Decision, Reason
from .decision_log import LoggedDecision, window_hash
from .gate import MetaFilter
from .guards import GUARDS, VERDICT, Answer, GuardInputs, stop_ticks
from .rollout import stage_of

__all__ = ["CheckRow", "Explained", "explain"]


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check.

    Attributes
    ----------
    value : what was seen
    wanted : what it was held against
    passed : None where it was never asked, as what came before it had failed
    """

    reason: Reason
    value: str
    wanted: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Explained:
    """Attributes
    ----------
    rows : every check in the order in which they are made
    window : hash of the window and market row, empty without one
    again : the same release asked again with what was logged
    same : whether it gave the same answer, bit for bit; None where what stopped it lay outside of what was logged: the
        kill switch, a store, an exception
    """

    logged: LoggedDecision
    rows: tuple[CheckRow, ...]
    window: str
    again: Decision
    same: bool | None


def explain(logged: LoggedDecision, releases: Path | str) -> Explained:
    """Make a logged decision again with the release that made it.

    Raises
    ------
    InputError
        When that release is not there, or is not the one any more.
    """
    folder = Path(releases) / logged.release
    bundle = load_bundle(folder)
    have = bundle.manifest.files[MODEL_NAME]
    if have != logged.model_sha256:
        raise InputError(
            f"{folder} holds another model ({have[:12]}) than the one that decided ({logged.model_sha256[:12]})",
            "the release as it was then",
            "Restore that release",
        )
    gate = MetaFilter(
        bundle,
        profile=logged.profile,
        source=_Given(logged),
        fee=logged.fee,
        base_size=logged.base_size,
        breakeven_guard=logged.breakeven_guard,
        shadow=logged.shadow,
    )
    outside = logged.decision.reason in (Reason.KILL_SWITCH, Reason.STORE_ERROR, Reason.INTERNAL_ERROR)
    again = gate.allow(logged.candidate, logged.now_ns)
    same = None if outside else _bits(again) == _bits(logged.decision)
    rows = _rows(gate, logged, logged.decision)
    return Explained(logged, rows, window_hash(logged.x, logged.market), again, same)


class _Given:
    def __init__(self, logged: LoggedDecision) -> None:
        self._logged = logged

    def snapshot_at(self, _: int) -> tuple | None:
        return None if self._logged.x is None else (self._logged.x, self._logged.market)


def _bits(d: Decision) -> tuple:
    return d.allow, d.reason, struct.pack("<3d", d.p, d.size, d.p_breakeven)


def _rows(gate: MetaFilter, logged: LoggedDecision, decision: Decision) -> tuple[CheckRow, ...]:
    killed = decision.reason is Reason.KILL_SWITCH
    rows = [CheckRow(Reason.KILL_SWITCH, "there" if killed else "not there", "not there", not killed)]
    inputs = gate.inputs(logged.candidate, logged.now_ns, logged.x, logged.market)
    failed = killed
    if decision.reason is Reason.STORE_ERROR:
        inputs = inputs._replace(store_answered=False)
    for reason, passes in GUARDS:
        value, wanted = _GUARD[reason](inputs)
        passed = None if failed else passes(inputs)
        failed = failed or not passed
        rows.append(CheckRow(reason, value, wanted, passed))
    floor, where, multiplier = gate.floor(decision.p_breakeven), "", math.nan
    if logged.x is not None:
        state = (logged.candidate, logged.x, inputs.spread_bps, inputs.depth)
        multiplier = gate.multiplier_of(*state)
        where = f" in {gate.bucket_of(*state)}" + (", shadow" if gate.shadow else "")
    size = gate.size_of(decision.p, multiplier, logged.candidate)
    answer = Answer(p=decision.p, floor=floor, multiplier=multiplier, size=size)
    for reason, passes in VERDICT:
        if failed or decision.reason is Reason.INTERNAL_ERROR:
            rows.append(CheckRow(reason, "", "", None))
            continue
        value, wanted = _VERDICT[reason](answer)
        if reason is Reason.NOT_ROLLED_OUT:
            value, wanted = value + where, f"{wanted}; stage {stage_of(gate.manifest.rollout)}"
        passed = passes(answer)
        failed = not passed
        rows.append(CheckRow(reason, value, wanted, passed))
    return tuple(rows)


def _num(value: float, unit: str = "") -> str:
    if isinstance(value, float) and math.isnan(value):
        return "unknown"
    text = f"{value:,.2f}" if 1e3 <= abs(value) < math.inf else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


def _ms(ns: float) -> str:
    return f"{ns / 1e6:,.1f} ms"


def _most_slip(i: GuardInputs) -> float:
    return min(i.profile.max_slip_bps, GATE.slip_frac * i.exp_reward_bps)


_GUARD: dict[Reason, Callable[[GuardInputs], tuple[str, str]]] = {
    Reason.BAD_CANDIDATE: lambda i: ("sound" if i.candidate_sound else "damaged", "every field of its type and range"),
    Reason.WRONG_SYMBOL: lambda i: (i.symbol, i.gate_symbol),
    Reason.EXPIRED: lambda i: (f"asked {_ms(i.now_ns - i.ts_ns)} after t_k", f"0 to {_ms(i.expiry_ns - i.ts_ns)}"),
    Reason.STORE_ERROR: lambda i: ("answered" if i.store_answered else "failed", "an answer"),
    Reason.NO_WINDOW: lambda i: ("valid" if i.window_valid else "none, or not valid", "a valid window of its shape"),
    Reason.STALE: lambda i: (f"as of {_ms(i.window_t_ns - i.ts_ns)} after t_k", "t_k"),
    Reason.NOT_FINITE: lambda i: (
        f"bid {_num(i.bid)}, ask {_num(i.ask)}, spread {_num(i.spread_bps, 'bps')}",
        "finite, bid < ask, of a sane size",
    ),
    Reason.PRICE: lambda i: (
        _num(abs(i.price / i.mid - 1) * 1e4 if i.mid else math.nan, "bps off the mid"),
        f"<= {GATE.max_price_off_bps:g} bps",
    ),
    Reason.DATA_AGE: lambda i: (_num(i.data_age_ms, "ms"), f"<= {GATE.max_data_age_ms:g} ms"),
    Reason.TIER: lambda i: (i.tier.name, f"{i.profile.tier.name} or stricter"),
    Reason.SPREAD: lambda i: (
        _num(i.spread_bps, "bps"),
        f"<= {_num(i.profile.thin_spread * i.spread_median_bps, 'bps')}",
    ),
    Reason.DEPTH: lambda i: (_num(i.depth, "USD"), f">= {_num(i.depth_median, 'USD')}"),
    Reason.RECLAIM: lambda i: ("both stages" if i.reclaimed else i.sig_type.name.lower(), "both stages of a reclaim"),
    Reason.REWARD_UNKNOWN: lambda i: (f"reward {_num(i.exp_reward_bps)}, R {_num(i.R_bps)} bps", "both known"),
    Reason.SLIPPAGE: lambda i: (_num(i.est_slip_bps, "bps"), f"<= {_num(_most_slip(i), 'bps')}"),
    Reason.MIN_STOP: lambda i: (
        f"{_num(stop_ticks(i))} ticks at {LABEL.R_stop:g} R",
        f">= {i.profile.min_tick_sl} ticks",
    ),
    Reason.EV: lambda i: (
        _num(i.exp_reward_bps, "bps"),
        f">= {_num(GATE.ev_multiple * (i.fee_bps + i.est_slip_bps), 'bps')} ({GATE.ev_multiple:g} x cost)",
    ),
}
_VERDICT: dict[Reason, Callable[[Answer], tuple[str, str]]] = {
    Reason.MODEL_ERROR: lambda a: (f"P {_num(a.p)}", "0 to 1"),
    Reason.P_BELOW_TAU: lambda a: (f"P {_num(a.p)}", f"> {_num(a.floor)}"),
    Reason.NOT_ROLLED_OUT: lambda a: (f"x {_num(a.multiplier)}", "> 0"),
    Reason.SIZE_TOO_SMALL: lambda a: (_num(a.size, "USD"), "one lot and the venue's least order"),
}
