"""The walk over a tape and its facts again, as plainly as can be: dictionaries, lists and loops."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np

from feature_repo.events import (
    BUY,
    DEPTH,
    DEPTH_BBO,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT_DTYPE,
    GAP,
    KIND_MASK,
    SELL,
    TRADE,
)
from feature_repo.market.walk import SILENCE_NS, STEP_NS

__all__ = ["PlainWalk", "plain_r2", "plain_returns", "random_tape"]


class PlainWalk:
    """Windows as dictionaries, market-order signs as a list, and the spread's time by (source, ticks)."""

    def __init__(self, events: np.ndarray, tick: float) -> None:
        self.tick = tick
        self.book = ({}, {})
        self.synced = False
        self.top = [None, None]  # (bid, bid size, ask, ask size) of the depth messages and of the best quotes
        self.since = [None, None]
        self.said = {}  # best-quote rows so far, by side
        self.messages = [0, 0]
        self.windows, self.signs, self.spread_ns = [], [], {}
        self.order = None
        self.steps = []
        start = int(events["local_ts"][0])
        last = start
        self.open(0)
        for (local, _), rows in groupby(events, key=lambda r: (int(r["local_ts"]), int(r["exch_ts"]))):
            k = (local - start) // STEP_NS
            while self.windows[-1]["k"] < k:
                self.close()
                self.open(k if local - last > SILENCE_NS else self.windows[-1]["k"] + 1)
            self.message(list(rows), local)
            last = local
        self.close()

    def open(self, k: int) -> None:
        broken = [int(t is None) for t in self.top]
        self.windows.append({"k": k, "ofi": [0.0, 0.0], "broken": broken, "orders": 0, "buy_qty": 0.0, "sell_qty": 0.0})

    def close(self) -> None:
        w = self.windows[-1]
        w["bid"] = [t[0] if t else math.nan for t in self.top]
        w["ask"] = [t[2] if t else math.nan for t in self.top]
        for s in (0, 1):
            w["broken"][s] |= self.top[s] is None
        best = [sorted(side, reverse=r) for side, r in zip(self.book, (True, False), strict=True)]
        for name, side in (("bid", 0), ("ask", 1)):
            sizes = [self.book[side][p] for p in best[side]]
            w[f"{name}_qty"] = sizes[0] if self.top[0] else math.nan
            # Added up from the fifth level inwards, as the kernel does: floats do not commute.
            w[f"{name}_qty5"] = sum(reversed(sizes[:5]), 0.0) if self.top[0] else math.nan

    def message(self, rows, local: int) -> None:
        touched, cut = [False, False], False
        for row in rows:
            kind, side = int(row["ev"]) & KIND_MASK, 0 if int(row["ev"]) & BUY else 1
            px, qty = float(row["px"]), float(row["qty"])
            if kind in (DEPTH, DEPTH_SNAPSHOT):
                touched[0] = True
                self.synced |= kind == DEPTH_SNAPSHOT
                if qty > 0:
                    self.steps += [abs(px - p) for p in self.book[side] if p != px]
                    self.book[side][px] = qty
                else:
                    self.book[side].pop(px, None)
            elif kind == DEPTH_CLEAR:
                touched[0] = True
                self.book[side].clear()
            elif kind == DEPTH_BBO:
                touched[1] = True
                self.said[side] = (px, qty)
            elif kind == GAP:
                touched[0] = cut = True
                touched[1] |= self.messages[1] > 0
                self.synced = False
                self.said = {}
                for book in self.book:
                    book.clear()
            elif kind == TRADE:
                self.trade(row, px, qty)
        if touched[0]:
            top = None
            if self.synced and all(self.book) and max(self.book[0]) < min(self.book[1]):
                bid, ask = max(self.book[0]), min(self.book[1])
                top = (bid, self.book[0][bid], ask, self.book[1][ask])
            self.settle(0, top, local, cut)
        if touched[1]:
            known = len(self.said) == 2 and self.said[0][0] < self.said[1][0]
            self.settle(1, (*self.said[0], *self.said[1]) if known else None, local, cut)

    def settle(self, source: int, top, local: int, cut: bool) -> None:
        self.messages[source] += 1
        before, w = self.top[source], self.windows[-1]
        if before and local - self.since[source] <= SILENCE_NS:
            key = (source, int((before[2] - before[0]) / self.tick + 0.5))
            self.spread_ns[key] = self.spread_ns.get(key, 0) + local - self.since[source]
        self.since[source], self.top[source] = local, top
        if top is None or cut:
            w["broken"][source] = 1
        if before and top and not cut:
            bid0, q0, ask0, r0 = before
            bid1, q1, ask1, r1 = top
            bids = (q1 if bid1 >= bid0 else 0.0) - (q0 if bid1 <= bid0 else 0.0)
            asks = (r1 if ask1 <= ask0 else 0.0) - (r0 if ask1 >= ask0 else 0.0)
            w["ofi"][source] += bids - asks

    def trade(self, row, px: float, qty: float) -> None:
        w = self.windows[-1]
        sign = 1 if int(row["ev"]) & BUY else (-1 if int(row["ev"]) & SELL else 0)
        if sign:
            name = "buy_qty" if sign > 0 else "sell_qty"
            w[name] = float(np.float32(np.float32(w[name]) + qty))
            if self.order != (sign, int(row["exch_ts"])):
                self.order = (sign, int(row["exch_ts"]))
                self.signs.append(sign)
                w["orders"] += 1


def plain_returns(walk: PlainWalk, source: int, m: int) -> dict[int, tuple[float, float]]:
    """(OFI, return in bps) by number of the window of ``m`` steps, where all of it and the step before are known."""
    by_k = {w["k"]: w for w in walk.windows}
    out = {}
    for n in range(1, walk.windows[-1]["k"] // m + 1):
        steps = [by_k.get(k) for k in range(n * m, n * m + m)]
        before = by_k.get(n * m - 1)
        if before is None or any(w is None or w["broken"][source] for w in steps) or math.isnan(before["bid"][source]):
            continue
        mid0 = (before["bid"][source] + before["ask"][source]) / 2
        mid1 = (steps[-1]["bid"][source] + steps[-1]["ask"][source]) / 2
        out[n] = (sum(w["ofi"][source] for w in steps), math.log(mid1 / mid0) * 1e4)
    return out


def plain_r2(x, y) -> float:
    """Of a least-squares line, from its residuals."""
    slope, intercept = np.polyfit(x, y, 1)
    y = np.asarray(y)
    residual = y - slope * np.asarray(x) - intercept
    return 1.0 - float(residual @ residual) / float((y - y.mean()) @ (y - y.mean()))


def random_tape(seed: int, messages: int, *, quotes: bool = True, wild: bool = True) -> np.ndarray:
    """Rows of random messages around 100: the book crosses, empties, breaks and comes back; times stand still or jump.

    ``wild`` False: no breaks, crossings and silences.
    """
    rng = np.random.default_rng(seed)
    rows, local, centre = [], 1_700_000_000_000_000_000, 10_000

    def add(ev: int, px: float, qty: float) -> None:
        rows.append((ev, exch, local, px / 100, qty, 0, 0, 0.0))

    def snapshot() -> None:
        for side in (BUY, SELL):
            add(DEPTH_CLEAR | side, 0, 0)
        for i in range(1, 8):
            add(DEPTH_SNAPSHOT | BUY, centre - i, float(rng.integers(1, 9)))
            add(DEPTH_SNAPSHOT | SELL, centre + i, float(rng.integers(1, 9)))

    exch = local
    snapshot()
    for _ in range(messages):
        local += int(rng.choice([0, 1, 7_000_000, 40_000_000, 100_000_000, 350_000_000]))
        if wild and rng.random() < 0.004:
            local += 75_000_000_000
        exch = local - int(rng.integers(1, 5)) * 1_000_000
        what = rng.random()
        if wild and what < 0.02:
            add(GAP, 0, 0)
            if rng.random() < 0.5:
                snapshot()
        elif wild and what < 0.05:
            snapshot()
        elif what < 0.25:
            for _ in range(int(rng.integers(1, 4))):
                add(TRADE | int(rng.choice([BUY, SELL, SELL, 0] if wild else [BUY, SELL])), centre, 0.5)
        elif quotes and what < 0.5:
            half = int(rng.integers(0 if wild else 1, 4))
            add(DEPTH_BBO | BUY, centre - half, float(rng.integers(1, 9)))
            if not wild or rng.random() < 0.9:
                add(DEPTH_BBO | SELL, centre + half, float(rng.integers(1, 9)))
        else:
            for _ in range(int(rng.integers(1, 6))):
                off, side = int(rng.integers(1, 8)), int(rng.choice([BUY, SELL]))
                if wild and rng.random() < 0.02:
                    off = -off
                qty = float(rng.integers(0, 9)) if off > 1 or wild else float(rng.integers(1, 9))
                add(DEPTH | side, centre - off if side == BUY else centre + off, qty)
        if not wild and rng.random() < 0.1:
            # The mid moves: the level in the way is taken out, a new one is quoted behind.
            up = bool(rng.random() < 0.5)
            gone, new = (SELL, BUY) if up else (BUY, SELL)
            add(DEPTH | gone, centre + 1 if up else centre - 1, 0.0)
            centre += 1 if up else -1
            add(DEPTH | new, centre - 1 if up else centre + 1, float(rng.integers(1, 9)))
            add(DEPTH | gone, centre + 1 if up else centre - 1, float(rng.integers(1, 9)))
    return np.array(rows, EVENT_DTYPE)
