"""The same orders as labels and as hftbacktest's fills: how often the outcomes agree, and why not where they do not.

``python -m tests.runtime.label_agreement`` prints the figures of docs/labels.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from feature_repo.build import build_features
from feature_repo.constants import LABEL, MS_NS, ORDER, LabelDefaults, OrderDefaults
from feature_repo.events import BUY, DEPTH, DEPTH_SNAPSHOT, KIND_MASK, SELL, TRADE
from feature_repo.instruments import FeeTier, Instrument
from feature_repo.market.hft import to_hftbacktest
from feature_repo.market.simulator import simulate_tape
from feature_repo.market.tape import Tape, read_tape
from meta_models.labels import INVALID, OUTCOMES, STOP, TARGET, label_candidates
from runtime.candidate import Candidate, Entry, SigType, Tier
from runtime.shadow import blind_spans
from runtime.shadow_types import OK, ORDER_DTYPE
from runtime.signals import find_candidates
from tests.runtime.label_tapes import best_quotes, random_tape, rough_tape
from tests.runtime.shadow_run import trades_of

__all__ = ["CLASSES", "RECORDINGS", "STYLES", "Case", "Market", "grid", "markets", "place"]

FEE = FeeTier("test", 2.0, 5.0)
RECORDINGS = Path(__file__).parents[3] / "shared" / "data"
STYLES = {"taker": (Entry.IOC, 1), "sliced IOC": (Entry.IOC, 3), "maker": (Entry.MAKER, 3)}
"""Entry and number of slices."""

CLASSES = {
    "queue out of sight": "maker: while a better quote stood before the limit, orders ahead of it went; best quotes do "
    "not show it, the replay's book does",
    "rows of an instant": "trades and quotes, or the rows of one message, carry one time stamp: the label takes trades "
    "before quotes and a message as a whole, the replay row by row",
    "exchange order": "messages overtook each other on their way: the replay's exchange applies them by exchange time, "
    "best quotes are those of the book in order of arrival",
    "blind span": "the book is invalid near an end of the trade, which the two look at on different clocks",
    "sold in parts": "the replay sells no more than the best level at a time: its last part is sold after the tape "
    "ends or within a blind span",
}
"""Why an outcome may differ; anything else is a fault."""


@dataclass(frozen=True)
class Market:
    """A tape ready for both sides."""

    name: str
    tape: Tape
    hft: np.ndarray
    quotes: np.ndarray
    R_bps: float
    label: LabelDefaults = LABEL

    @property
    def facts(self) -> Instrument:
        return self.tape.instrument


@dataclass(frozen=True)
class Case:
    """The same orders on both sides; rows of both arrays belong to each other."""

    market: Market
    candidates: list[Candidate]
    labels: np.ndarray
    trades: np.ndarray
    order: OrderDefaults

    @property
    def share(self) -> float:
        return float(np.mean(self.labels["outcome"] == self.trades["outcome"]))

    @property
    def confusion(self) -> np.ndarray:
        """int [5, 5]: label's outcome, then the replay's."""
        out = np.zeros((len(OUTCOMES), len(OUTCOMES)), int)
        np.add.at(out, (self.labels["outcome"], self.trades["outcome"]), 1)
        return out

    @property
    def both(self) -> np.ndarray:
        """Where both sides traded."""
        return (self.labels["y"] >= 0) & (self.trades["status"] == OK)

    def classes(self) -> Counter[str]:
        """Each disagreement's class, or "unexplained"."""
        return Counter(self.why(int(k)) for k in np.flatnonzero(self.labels["outcome"] != self.trades["outcome"]))

    def why(self, k: int) -> str:
        """The class of one disagreement, from what the tape shows."""
        label, trade, events = self.labels[k], self.trades[k], self.market.tape.events
        sent = int(label["ts_ns"]) + self.order.compute_ms * MS_NS
        latency = self.order.order_latency_ms * MS_NS
        end = max(int(label["t_end_ns"]), int(trade["t_end_ns"]))
        if (label["outcome"] == INVALID) != (trade["outcome"] == INVALID):
            blind = blind_spans(self.market.quotes)
            late = end > self.market.tape.span_ns[1] or bool(np.any((blind[:, 0] <= end) & (blind[:, 1] > sent)))
            if late and label["y"] >= 0 and end > label["t_end_ns"]:
                return "sold in parts"
            if np.any((blind[:, 0] <= end + latency) & (blind[:, 1] > label["ts_ns"])):
                return "blind span"
        if self.candidates[k].entry == Entry.MAKER:
            until = min((int(t) for t in (label["t_fill_ns"], trade["t_fill_ns"]) if t >= 0), default=end)
            if self._better_quote(k, sent + latency, until):
                return "queue out of sight"
            kinds = events["ev"][_exchange(events) == until] & KIND_MASK
            if TRADE in kinds and DEPTH in kinds:
                return "rows of an instant"
        if self._overtaken(sent, end):
            return "exchange order"
        if self._within_an_instant(k, trade):
            return "rows of an instant"
        return "unexplained"

    def _better_quote(self, k: int, start: int, end: int) -> bool:
        q, c = self.market.quotes, self.candidates[k]
        exch = np.minimum(q["exch_ts"], q["local_ts"])
        own = q["bid" if c.side > 0 else "ask"][max(np.searchsorted(exch, start, "right") - 1, 0) :]
        exch = exch[max(np.searchsorted(exch, start, "right") - 1, 0) :]
        return bool(np.any(c.side * (own[exch <= end] - c.price) > 0.1 * self.market.facts.tick))

    def _overtaken(self, start: int, end: int) -> bool:
        """Whether a depth row of the trade's time came after one that the exchange sent later."""
        events = self.market.tape.events
        exch = _exchange(events)
        kind = events["ev"] & KIND_MASK
        depth = exch[(kind == DEPTH) | (kind == DEPTH_SNAPSHOT)]
        late = depth < np.maximum.accumulate(depth)
        return bool(np.any(late & (depth >= start - 1000 * MS_NS) & (depth <= end)))

    def _within_an_instant(self, k: int, trade: np.void) -> bool:
        """Whether the replay met a barrier that no whole message shows, or several messages of an instant show both."""
        if trade["status"] != OK:
            return False
        c, quotes, events = self.candidates[k], self.market.quotes, self.market.tape.events
        at = int(trade["t_end_ns"]) - self.order.order_latency_ms * MS_NS
        own = events[(events["local_ts"] == at) & ((events["ev"] & np.uint64(BUY if c.side > 0 else SELL)) != 0)]
        seen = quotes["bid" if c.side > 0 else "ask"][quotes["local_ts"] == at]
        unit = trade["entry_px"] * c.R_bps * 1e-4
        met = {}
        for name, prices in (("messages", seen), ("rows", own["px"][own["qty"] > 0])):
            moves = c.side * (prices - trade["entry_px"]) / unit
            reached = {TARGET: np.any(moves >= LABEL.R_target - 1e-9), STOP: np.any(moves <= -LABEL.R_stop + 1e-9)}
            met[name] = {code for code, yes in reached.items() if yes}
        return len(met["messages"]) == 2 or int(trade["outcome"]) in met["rows"] - met["messages"]


def _exchange(events: np.ndarray) -> np.ndarray:
    return np.minimum(events["exch_ts"], events["local_ts"])


def grid(market: Market, entry: Entry, step_ms: int, seed: int = 0) -> list[Candidate]:
    """An order every ``step_ms``, of either side; a maker's limit is the best quote of its own."""
    q = market.quotes
    ts = np.arange(int(q["local_ts"][0]) + 1000 * MS_NS, market.tape.span_ns[1], step_ms * MS_NS)
    side = np.random.default_rng(seed).choice([-1, 1], len(ts))
    at = np.searchsorted(q["local_ts"], ts, side="right") - 1
    price = np.where(side > 0, q["bid"][at], q["ask"][at])
    return [
        Candidate(int(t), market.tape.symbol, int(s), SigType.MOMENTUM, Tier.A, float(p), market.R_bps, market.R_bps,
                  1.0, entry, int(t) + 1)
        for t, s, p in zip(ts, side, price, strict=True)
        if p > 0
    ]  # fmt: skip


def place(market: Market, candidates: list[Candidate], slices: int = ORDER.ioc_slices) -> Case:
    """Label the candidates and send the same orders through hftbacktest, each on its own."""
    order = replace(ORDER, ioc_slices=slices)
    labels = label_candidates(
        market.quotes, market.tape.of_kind(TRADE), candidates, FEE, label=market.label, order=order,
        instrument=market.facts, end_ns=market.tape.span_ns[1],
    )  # fmt: skip
    orders = np.array(
        [(c.ts_ns, c.side, c.entry, c.price, c.R_bps, order.base_size_usd) for c in candidates], ORDER_DTYPE
    )
    trades = trades_of(
        market.hft, market.facts, orders, fee=FEE, one_at_a_time=False, label=market.label, order=order,
        blind=blind_spans(market.quotes),
    )  # fmt: skip
    return Case(market, candidates, labels, trades, order)


def _market(name: str, tape: Tape, R_bps: float, quotes: np.ndarray | None = None) -> Market:
    return Market(name, tape, to_hftbacktest(tape), build_features(tape).quotes if quotes is None else quotes, R_bps)


def markets(*names: str) -> Iterator[Market]:
    """The markets named; a recording that is not there is left out."""
    for name in names:
        if name == "made up":
            tape = random_tape(1)
            yield _market(name, tape, 6.0, best_quotes(tape.events))
        elif name == "rough":
            # Gaps come every 12 s: a horizon of 3 s leaves trades between them.
            yield replace(_market(name, rough_tape(1), 2.0), label=replace(LABEL, horizon_ms=3_000))
        elif name.startswith("simulated"):
            yield _market(name, simulate_tape(seed=7, hours=3, edge=1.0, mechanism=name.split()[1]), 15.0)
        elif (RECORDINGS / name).exists():
            yield _market(name, read_tape(RECORDINGS / name), 12.0 if "nexo" in name else 5.0)


_STEPS_MS = {
    "made up": 25, "rough": 25, "simulated flow": 200, "simulated book": 200, "binance_usdm_ethusdt": 20,
    "binance_spot_nexousdt": 2_000,
}  # fmt: skip


def main() -> None:
    """Print a row for each tape and style, and the confusion of all orders together."""
    total = np.zeros((len(OUTCOMES), len(OUTCOMES)), int)
    print("| tape | entry | orders | agree | fill times differ | classes |\n| --- | --- | --- | --- | --- | --- |")
    for market in markets(*_STEPS_MS):
        cases = {s: place(market, grid(market, e, _STEPS_MS[market.name]), n) for s, (e, n) in STYLES.items()}
        if market.tape.simulated:
            found = [c for c in find_candidates(build_features(market.tape)) if c.R_bps > 0]
            cases["its candidates"] = place(market, found)
        for style, case in cases.items():
            total += case.confusion
            fills = int(np.sum(case.both & (case.labels["t_fill_ns"] != case.trades["t_fill_ns"])))
            classes = ", ".join(f"{name} {n}" for name, n in sorted(case.classes().items())) or "-"
            n = len(case.labels)
            print(f"| {market.name} | {style} | {n:,} | {case.share:.3%} | {fills} | {classes} |", flush=True)
    print("\n| label, replay | " + " | ".join(OUTCOMES) + " |\n|" + " --- |" * 6)
    for name, row in zip(OUTCOMES, total, strict=True):
        print(f"| {name} | " + " | ".join(f"{n:,}" for n in row) + " |")


if __name__ == "__main__":
    main()
