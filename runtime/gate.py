"""The gate: what may be done with a candidate now. It answers, never places an order, and fails closed.

The checks are in guards.py; here their inputs are gathered, the model is asked when all guards pass, and whatever goes
wrong becomes a denial with its reason. :class:`MetaFilter` needs a bundle. :class:`GuardsOnly` is the arm without a
model, a class of its own so that nobody gets it by leaving a parameter out.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from feature_repo.constants import MODEL, ORDER
from feature_repo.errors import InputError, words_of
from feature_repo.fields import CHANNELS, CTX_NAMES, align
from feature_repo.instruments import FeeTier, Instrument, instrument

from .buckets import Bucket, BucketTable, Shares
from .budget import E2E_BUDGET_MS, RESERVE_MS
from .bundle import Bundle, load_bundle
from .candidate import Candidate, is_sound
from .context import fee_bps, fill_context
from .decision import Decision, Reason
from .guards import Answer, GuardInputs, decide, judge
from .kill_switch import KILL_NAME, KillSwitch
from .manifest import Manifest
from .payoff import BARRIERS
from .profiles import Profile, profile_of
from .rollout import CAPS
from .sizing import round_to_lot, size_usd
from .window_source import WindowSource, fits, told

__all__ = ["GuardsOnly", "MetaFilter"]

_OFI_Z, _SESSION = CHANNELS.index("ofi_z"), CHANNELS.index("session_flag")
_ALLOW, _NO_WINDOW, _MODEL_ERROR = Reason.ALLOW, Reason.NO_WINDOW, Reason.MODEL_ERROR


class _Outcome(NamedTuple):
    reason: Reason
    p: float = math.nan
    size: float = 0.0
    p_breakeven: float = math.nan


class _Gate:
    """What both arms share: gathering, guarding, and turning every failure into a denial."""

    def __init__(
        self,
        *,
        profile: str,
        fee: FeeTier,
        symbol: str,
        tick: float,
        lot: float,
        face_value: float,
        min_notional: float,
        base_size: float,
        T: int,
        source: WindowSource | None,
        kill_switch: Path | str | None,
    ) -> None:
        self.profile: Profile = profile_of(profile)
        self.profile_name = profile
        for name, value in (("tick", tick), ("lot", lot), ("base_size", base_size)):
            if not 0 < value < math.inf:
                raise InputError(f"{name} = {value}", "a positive number", f"Give the {name} of {symbol}")
        for name, value in (("face_value", face_value), ("min_notional", min_notional)):
            if not 0 <= value < math.inf:
                raise InputError(f"{name} = {value}", "zero or a positive number", f"Give the {name} of {symbol}")
        if not (math.isfinite(fee.maker_bps) and math.isfinite(fee.taker_bps)):
            raise InputError(f"the fee tier {fee}", "finite fees in bps", "Give a tier of feature_repo/instruments.py")
        self.fee, self.symbol, self.tick, self.lot = fee, symbol, float(tick), float(lot)
        self.face_value, self.min_notional = float(face_value), float(min_notional)
        self.base_size, self.source = float(base_size), source
        self._payoff = BARRIERS
        self.kill_switch = None if kill_switch is None else KillSwitch(kill_switch)
        self.stopped = False
        """As the kill switch, of this gate alone and without a file."""
        self.last_error: str | None = None
        """What the latest exception inside said; for the log, never for control."""
        self.T, self._shape = T, (T, len(CHANNELS))

    def allow(self, candidate: Candidate, now_ns: int) -> Decision:
        """Judge a candidate by the window that the source holds. Never raises.

        Parameters
        ----------
        now_ns : ns UTC on the corrected local clock

        Returns
        -------
        Decision
            Unpacks as ``allow, p, size``.
        """
        return self._closed(candidate, now_ns, None)

    def decide(self, candidate: Candidate, now_ns: int, x: NDArray[np.float32], market_row: np.void) -> Decision:
        """Judge a candidate by a window in hand. Never raises.

        Parameters
        ----------
        x : float32 [T, C], unaligned
        market_row : MARKET_DTYPE scalar of its last row
        """
        return self._closed(candidate, now_ns, (x, market_row))

    def _closed(self, candidate: Candidate, now_ns: int, in_hand: tuple[Any, Any] | None) -> Decision:
        start = time.perf_counter_ns()
        try:
            reason, p, size, breakeven = self._judge(candidate, now_ns, in_hand)
        except Exception as e:  # fail closed: the caller gets a denial, whatever broke
            self._note(e)
            reason, p, size, breakeven = _Outcome(Reason.INTERNAL_ERROR)
        allowed = reason is _ALLOW
        took_us = (time.perf_counter_ns() - start) / 1e3
        return Decision(allowed, p, size if allowed else 0.0, reason, breakeven, took_us)

    def _judge(self, candidate: Candidate, now_ns: int, in_hand: tuple[Any, Any] | None) -> _Outcome:
        if self.stopped or (self.kill_switch is not None and self.kill_switch.is_on()):
            return _Outcome(Reason.KILL_SWITCH)
        if not is_sound(candidate):
            return _Outcome(Reason.BAD_CANDIDATE)
        # Nobody waits for a store on behalf of a candidate that is denied anyhow.
        question = self._question(candidate, now_ns)
        reason = decide(question)
        if reason is not _NO_WINDOW:
            return _Outcome(reason)
        breakeven = self._payoff.p_breakeven(question.R_bps, question.fee_bps + question.est_slip_bps)
        try:
            x, market_row = self._fetch(candidate) if in_hand is None else in_hand
        except Exception as e:  # a store may fail in any way it likes; it is a denial all the same
            self._note(e)
            x, inputs = None, question._replace(store_answered=False)
        else:
            inputs = self._with_window(question, x, market_row)
        reason = decide(inputs)
        if reason is not _ALLOW:
            return _Outcome(reason, p_breakeven=breakeven)
        return self._verdict(candidate, inputs, x, breakeven)

    def _verdict(self, candidate: Candidate, inputs: GuardInputs, x: NDArray[np.float32], breakeven: float) -> _Outcome:
        """What follows when every guard passed."""
        size = self._whole_lots(self.base_size, candidate)
        answer = Answer(p=math.nan, floor=math.nan, multiplier=math.nan, size=size)
        return _Outcome(judge(answer, asked=False), math.nan, size, breakeven)

    def _whole_lots(self, notional: float, candidate: Candidate) -> float:
        """What of a notional can be ordered; 0 where the venue would refuse it."""
        price = float(candidate.price)
        return round_to_lot(notional, price, self.lot, face_value=self.face_value, min_notional=self.min_notional)

    def _question(self, candidate: Candidate, now_ns: int) -> GuardInputs:
        """What is known of a sound candidate before its window; by position, as keywords cost more than all checks."""
        return GuardInputs(
            True,
            candidate.symbol,
            self.symbol,
            int(candidate.ts_ns),
            int(candidate.expiry_ns),
            now_ns,
            float(candidate.price),
            candidate.tier,
            candidate.sig_type,
            candidate.reclaimed,
            float(candidate.exp_reward_bps),
            float(candidate.R_bps),
            float(candidate.est_slip_bps),
            fee_bps(candidate, self.fee),
            self.tick,
            self.profile,
        )

    def inputs(
        self, candidate: Candidate, now_ns: int, x: NDArray[np.float32] | None, market_row: np.void | None
    ) -> GuardInputs:
        """What the guards see of a sound candidate and a window in hand; for an explanation, not for a decision."""
        return self._with_window(self._question(candidate, now_ns), x, market_row)

    def usable(self, found: Any) -> tuple[NDArray[np.float32], np.void] | tuple[None, None]:
        """A source's answer as window and market row, where it has their shapes and types."""
        try:
            x, market_row = found
        except (TypeError, ValueError):
            return None, None
        if not fits(x, market_row, self._shape):
            return None, None
        return x, market_row if isinstance(market_row, np.void) else market_row[()]

    def _fetch(self, candidate: Candidate) -> tuple[Any, Any]:
        """What the source gives for the candidate; whatever it raises comes out."""
        if self.source is None:
            return None, None
        t_ns, within = int(candidate.ts_ns), getattr(self.source, "snapshot_within", None)
        if within is None:
            found = self.source.snapshot_at(t_ns)
        else:
            found = within(t_ns, E2E_BUDGET_MS[candidate.sig_type] - RESERVE_MS)
        return (None, None) if found is None else found

    def _with_window(self, question: GuardInputs, x: Any, market_row: Any) -> GuardInputs:
        """What the guards see of the question and what was found for it."""
        return question.with_window(told(x, market_row)) if fits(x, market_row, self._shape) else question

    def _note(self, error: Exception) -> None:
        self.last_error = words_of(error)


class GuardsOnly(_Gate):
    """The arm without a model: the same guards and EV gate, P not asked (NaN), size = base_size in whole lots.

    Parameters
    ----------
    profile : "A", "B", "C", or a variant of ``profiles.VARIANTS``
    fee : both legs are priced with it
    symbol, tick, lot : of the instrument; tick in quote currency, lot in base units (inverse: contracts)
    face_value, min_notional : of the instrument, quote currency; 0 for a linear contract, and without a least order
    base_size : notional, quote currency
    T : rows of a window
    source : where ``allow`` reads windows; ``decide`` needs none
    kill_switch : a file; while it is there everything is denied
    """

    def __init__(
        self,
        profile: str = "B",
        *,
        fee: FeeTier,
        symbol: str,
        tick: float,
        lot: float,
        face_value: float = 0.0,
        min_notional: float = 0.0,
        base_size: float = ORDER.base_size_usd,
        T: int = MODEL.T,
        source: WindowSource | None = None,
        kill_switch: Path | str | None = None,
    ) -> None:
        super().__init__(
            profile=profile, fee=fee, symbol=symbol, tick=tick, lot=lot, face_value=face_value,
            min_notional=min_notional, base_size=base_size, T=T, source=source, kill_switch=kill_switch,
        )  # fmt: skip

    @classmethod
    def on(cls, facts: Instrument, profile: str, *, fee: FeeTier, T: int = MODEL.T) -> Self:
        """For a known instrument; windows are handed to ``decide``."""
        return cls(
            profile, fee=fee, symbol=facts.symbol, tick=facts.tick, lot=facts.lot, face_value=facts.face_value,
            min_notional=facts.min_notional, T=T,
        )  # fmt: skip


class MetaFilter(_Gate):
    """The gate with a model, made by :meth:`load`.

    ::

        gate = MetaFilter.load("releases/current", source=feature_window)
        allow, p, size = gate.allow(candidate, now_ns)
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        profile: str = "B",
        source: WindowSource | None = None,
        fee: FeeTier | None = None,
        base_size: float = ORDER.base_size_usd,
        breakeven_guard: bool | None = None,
        kill_switch: Path | str | None = None,
        shadow: bool = False,
    ) -> None:
        if not isinstance(shadow, bool):
            raise InputError(f"shadow = {shadow!r}", "True or False", "Correct shadow")
        manifest = bundle.manifest
        facts = instrument(manifest.venue, manifest.symbol)
        super().__init__(
            profile=profile,
            fee=manifest.fee_tier if fee is None else fee,
            symbol=manifest.symbol,
            tick=facts.tick,
            lot=facts.lot,
            face_value=facts.face_value,
            min_notional=facts.min_notional,
            base_size=base_size,
            T=manifest.T,
            source=source,
            kill_switch=kill_switch,
        )
        self._bundle, self.tau, self._payoff = bundle, manifest.taus[profile[0]], manifest.payoff or BARRIERS
        self.breakeven_guard = manifest.payoff is not None if breakeven_guard is None else breakeven_guard
        self.shadow, self._shares = shadow, _shares(bundle, profile, shadow=shadow)
        # Taken from and put back by one operation each: no two calls have the same, whatever their threads.
        self._free = [_Asked(bundle, self._shape)]

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        profile: str = "B",
        source: WindowSource | None = None,
        fee: FeeTier | None = None,
        base_size: float = ORDER.base_size_usd,
        breakeven_guard: bool | None = None,
        kill_switch: Path | str | None = None,
        shadow: bool = False,
    ) -> Self:
        """A gate on the bundle at ``path``.

        Parameters
        ----------
        path : a release's folder, or releases/current
        profile : "A", "B", "C" or a variant; its tau is the bundle's
        source : where ``allow`` reads windows; ``decide`` needs none
        fee : by default the tier that the bundle was made with
        base_size : notional at P - tau = 1 and a multiplier of 1, quote currency
        breakeven_guard : also deny where P does not exceed p_breakeven; None: where the bundle knows its payoffs
        kill_switch : a file; while it is there everything is denied. None: KILL beside the release, releases/KILL
        shadow : answer as if the release were rolled out in full. For a process that places no order; one that does
            gets `Reason.NOT_ROLLED_OUT` from a release that may not trade (docs/roll-out.md)

        Raises
        ------
        InputError
            When the bundle is refused, or its symbol or the profile is unknown.
        """
        return cls(
            load_bundle(Path(path)),
            profile=profile,
            source=source,
            fee=fee,
            base_size=base_size,
            breakeven_guard=breakeven_guard,
            kill_switch=Path(path).absolute().parent / KILL_NAME if kill_switch is None else kill_switch,
            shadow=shadow,
        )

    @property
    def manifest(self) -> Manifest:
        """What the model was made from and for."""
        return self._bundle.manifest

    def _verdict(self, candidate: Candidate, inputs: GuardInputs, x: NDArray[np.float32], breakeven: float) -> _Outcome:
        try:
            p = self._ask(candidate, x, inputs.spread_bps)
        except Exception as e:  # fail closed: whatever the graph raises
            self._note(e)
            p = math.nan
        multiplier = self.multiplier_of(candidate, x, inputs.spread_bps, inputs.depth)
        size = self.size_of(p, multiplier, candidate)
        reason = judge(Answer(p, self.floor(breakeven), multiplier, size))
        return _Outcome(reason, math.nan if reason is _MODEL_ERROR else p, size, breakeven)

    def floor(self, breakeven: float) -> float:
        """What P must be above."""
        # A NaN break-even makes every comparison false, and so denies.
        return self.tau if not self.breakeven_guard or breakeven <= self.tau else breakeven

    def size_of(self, p: float, multiplier: float, candidate: Candidate) -> float:
        """Notional of a P, in whole lots; quote currency."""
        return self._whole_lots(size_usd(self.base_size, p, self.tau) * multiplier, candidate)

    def multiplier_of(self, candidate: Candidate, x: NDArray[np.float32], spread_bps: float, depth: float) -> float:
        """Share of the full size that the release may order in the candidate's market state.

        Parameters
        ----------
        x : float32 [T, C], unaligned
        spread_bps, depth : of its market row, ``spread_bps`` and ``depth_top5``
        """
        return 1.0 if self.shadow else self._shares.multiplier(*_state(candidate, x, spread_bps, depth))

    def bucket_of(self, candidate: Candidate, x: NDArray[np.float32], spread_bps: float, depth: float) -> Bucket:
        """The candidate's market state; arguments as for ``multiplier_of``."""
        return self._shares.bucket(*_state(candidate, x, spread_bps, depth))

    def _ask(self, candidate: Candidate, x: NDArray[np.float32], spread_bps: float) -> float:
        # The tier that the model was trained with, whatever tier the EV gate is asked for: to the graph it is a unit.
        fee = self._bundle.manifest.fee_tier
        try:
            asked = self._free.pop()
        except IndexError:
            asked = _Asked(self._bundle, self._shape)
        try:
            align(x, candidate.side, asked.window)
            fill_context(asked.context, candidate, spread_bps, fee)
            (p,) = self._bundle.predict(asked.x, asked.ctx).tolist()
        finally:
            self._free.append(asked)
        return float(p)


def _state(
    candidate: Candidate, x: NDArray[np.float32], spread_bps: float, depth: float
) -> tuple[int, bool, Any, float, float]:
    """What tells a bucket, of the numbers that ``reports.records.candidate_facts`` holds of a candidate."""
    last = x[-1]
    return int(candidate.sig_type), last.item(_SESSION) > 0, last.item(_OFI_Z) * candidate.side, spread_bps, depth


def _shares(bundle: Bundle, profile: str, *, shadow: bool) -> Shares:
    """The bundle's multipliers for a profile; a variant without rows of its own goes by those of its letter."""
    manifest, table = bundle.manifest, BucketTable() if shadow else bundle.buckets
    named = profile if any(b.profile == profile for b in table.shares) else profile[0]
    cap = 0.0 if manifest.rollout is None else CAPS[manifest.rollout.stage]
    return Shares(table, manifest.edges, named, cap)


class _Asked:
    """The inputs of the graph for one question, filled in anew for each."""

    __slots__ = ("context", "ctx", "window", "x")

    def __init__(self, bundle: Bundle, shape: tuple[int, int]) -> None:
        self.x, self.ctx = np.zeros((1, *shape), np.float32), np.zeros((1, len(CTX_NAMES)), np.float32)
        self.window, self.context = self.x[0], self.ctx[0]
        if isinstance(bundle, Bundle):
            bundle.bind(self.x, self.ctx)
