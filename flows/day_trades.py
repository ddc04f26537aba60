"""What a release would have traded on a day that it was not fitted on: its gate's answers, replayed on the day's tape.

These are replayed trades and not a venue's fills: nothing here places an order. A process that trades tells its own
closed trades to ``runtime.serving.ServedFilter.record``, which goes back by itself and does not wait for the night.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np

from feature_repo.constants import ORDER
from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS
from feature_repo.market.day_cut import day_span_ns
from feature_repo.market.tape import open_tape
from feature_repo.paths import atomic_path
from feature_repo.table import FeatureTable
from meta_models.label_io import labels_from_parquet
from reports.records import JUDGED_EXIT
from runtime.account_watch import Trade
from runtime.arms import candidate_orders, decide_all
from runtime.buckets import Bucket
from runtime.bundle import load_bundle
from runtime.gate import MetaFilter
from runtime.ladder import BucketTrade
from runtime.shadow_account import account, portfolio
from runtime.shadow_types import OK
from runtime.training_span import known_training_span

from .progress import parts
from .replays import Replays

__all__ = ["PROFILE", "DayTrade", "day_trades", "kept_trades", "keep_trades"]

Advance = Callable[[float], None]
PROFILE = "B"
_SESSION = CHANNELS.index("session_flag")


@dataclass(frozen=True, slots=True)
class DayTrade:
    """One closed trade, as plain values.

    Attributes
    ----------
    ts_ns, t_end_ns : when it was decided and when it was closed, ns UTC
    bucket : of its candidate (`runtime.buckets.Bucket`)
    net_bps : after fees, slippage and funding, per notional
    full_usd : notional that the gate gives at a multiplier of 1, quote currency
    """

    ts_ns: int
    t_end_ns: int
    bucket: str
    net_bps: float
    full_usd: float

    def as_evidence(self) -> BucketTrade:
        """For the next step."""
        return BucketTrade(Bucket.parse(self.bucket), self.ts_ns, self.net_bps)

    def as_account(self, multiplier: float) -> Trade:
        """For the account watch, at the share of the full size that the release may trade."""
        notional = self.full_usd * multiplier
        return Trade(self.t_end_ns, self.net_bps * 1e-4 * notional, notional)


def day_trades(
    release: Path,
    day: date,
    *,
    tape: Path,
    features: Path,
    labels: Path,
    progress: Advance | None = None,
) -> list[DayTrade]:
    """The trades of profile B with the exit that the verdict rests on, one position at a time.

    Parameters
    ----------
    release : its folder; asked as if rolled out in full, so that a release in the shadow has trades, too
    tape : of the day itself, or one that holds it
    features, labels : of the market; candidates of other days are left out

    Raises
    ------
    InputError
        When the parts are not of one contract, or the day does not lie after the span that the release was fitted on,
        or nobody knows that span.
    """
    bundle = load_bundle(release)
    manifest, stored, file = bundle.manifest, open_tape(tape), labels_from_parquet(labels)
    for what, of in (("a tape", stored), ("labels", file)):
        if (of.venue, of.symbol) != (manifest.venue, manifest.symbol):
            raise InputError(
                f"{what} of {of.symbol} on {of.venue} and a release for {manifest.symbol} on {manifest.venue}",
                "all of one contract",
                "Give those of the release's contract",
            )
    span = day_span_ns(day)
    _, fitted_ns = known_training_span(manifest)
    if fitted_ns > span[0]:
        raise InputError(
            f"{manifest.tag} was fitted on data up to {np.datetime64(fitted_ns, 'ns')}, which {day} is not after",
            "a day after its training span",
            "Judge it by later days",
        )
    ts = file.labels["ts_ns"]
    rows = np.flatnonzero((ts > span[0]) & (ts <= span[1]))
    if not len(rows):
        return []
    table = FeatureTable.load(features)
    candidates = [file.candidates[i] for i in rows]
    at = np.minimum(np.searchsorted(table.t_ns, ts[rows]), len(table.t_ns) - 1)
    market, X = table.market[at], table.X[at]
    x, found = table.windows(ts[rows], manifest.T)
    gate = MetaFilter(bundle, profile=PROFILE, shadow=True)
    tell, replayed = parts(progress, (0.5, 0.5))
    decided = decide_all([gate] * len(rows), candidates, x, found, market, X[:, _SESSION] > 0, progress=tell)
    orders, order_rows = candidate_orders(candidates, np.full(len(candidates), ORDER.base_size_usd))
    allow = decided["allow"][order_rows]
    if not allow.any():
        return []
    quotes = table.quotes[(table.quotes["local_ts"] >= span[0]) & (table.quotes["local_ts"] < span[1])]
    with Replays.of(stored, quotes) as replay:
        done = replay(orders, allow[None, :], JUDGED_EXIT, every=False, progress=replayed)
    trades = portfolio(account(done, manifest.fee_tier, stored.instrument), allow, done.busy[0])
    out = []
    for trade, i in zip(trades, order_rows[allow], strict=True):
        if trade["status"] != OK:
            continue
        bucket = gate.bucket_of(candidates[i], x[i], float(market[i]["spread_bps"]), float(market[i]["depth_top5"]))
        size = float(decided["size"][i])
        out.append(DayTrade(int(ts[rows][i]), int(trade["t_end_ns"]), str(bucket), float(trade["net_bps"]), size))
    return out


def keep_trades(releases: Path, base: str, day: date, trades: list[DayTrade]) -> Path:
    """Write a day's trades of a model beside the releases; the same day again replaces it."""
    path = _folder(releases, base) / f"{day.isoformat()}.json"
    with atomic_path(path) as beside:
        beside.write_text(json.dumps([asdict(t) for t in trades], indent=0) + "\n", encoding="utf-8")
    return path


def kept_trades(releases: Path, base: str) -> Iterator[DayTrade]:
    """Every trade of a model that was kept, day by day.

    Raises
    ------
    InputError
        When a file is damaged: without it nobody knows what the model earned.
    """
    for path in sorted(_folder(releases, base).glob("*.json")):
        try:
            for told in json.loads(path.read_text(encoding="utf-8")):
                yield DayTrade(**told)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} is no list of trades ({type(error).__name__})",
                "what the nightly run wrote there",
                "Remove it, and run promote for that day again",
            ) from error


def _folder(releases: Path, base: str) -> Path:
    return Path(releases) / ".trades" / base
