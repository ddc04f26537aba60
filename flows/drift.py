"""The drift report of a day: read what lies on disk, ask the release, hand it to the report. No Prefect here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from feature_repo.constants import SECOND_NS, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.events import GAP, KIND_MASK
from feature_repo.fields import CATALOGUE_HASH
from feature_repo.market.tape import StoredTape, open_tape
from feature_repo.table import FeatureTable
from meta_models.label_io import labels_from_parquet
from reports.drift import LIMITS, Decided, DriftInput, DriftLimits, DriftResult, Quality, Rows, WalkForward
from reports.drift.record import check_day
from reports.drift.sampling import even_rows, spread_rows
from runtime.bundle import Bundle, load_bundle
from runtime.training_span import known_training_span, share_in_training

from .drift_decided import Asked
from .drift_latency import logged_latency, timed_latency
from .progress import parts

__all__ = ["PROFILE", "collect", "run_drift"]

Advance = Callable[[float], None]

PROFILE = "B"
_DAY_NS = 86_400 * SECOND_NS


def run_drift(
    release: Path,
    tape: Path,
    features: Path,
    labels: Path,
    day: str,
    out: Path,
    *,
    limits: DriftLimits = LIMITS,
    decisions: Path | None = None,
    time_last: int = 0,
    progress: Advance | None = None,
) -> DriftResult:
    """Collect a day and write its report below ``out/drift/<symbol>/<day>/``; parameters and errors as `collect`."""
    from reports.drift import drift_report

    first, second = parts(progress, (0.6, 0.4))
    inputs = collect(
        release, tape, features, labels, day, sample_rows=limits.sample_rows, seed=limits.seed, decisions=decisions,
        time_last=time_last, progress=first,
    )  # fmt: skip
    return drift_report(inputs, out, limits=limits, progress=second)


def collect(
    release: Path,
    tape: Path,
    features: Path,
    labels: Path,
    day: str,
    *,
    sample_rows: int = LIMITS.sample_rows,
    seed: int = LIMITS.seed,
    decisions: Path | None = None,
    time_last: int = 0,
    progress: Advance | None = None,
) -> DriftInput:
    """What a day and the training span of a release look like, a day in memory at a time.

    Parameters
    ----------
    release : its folder, or a link to it
    tape, features, labels : of one symbol; they must hold the day, and for most checks the training span, too
    day : YYYY-MM-DD, UTC
    sample_rows : of either side, drawn evenly over time
    decisions : folder of a gate's log, for the latency; else ``time_last`` candidates of the day are timed on the tape
        (0: none)

    Raises
    ------
    InputError
        When the parts are not of the release's symbol, the release does not say what it was fitted on, or the features
        have no row of the day.
    """
    check_day(day)
    tell = progress or (lambda _: None)
    bundle = load_bundle(release)
    manifest, stored, file = bundle.manifest, open_tape(tape), labels_from_parquet(labels)
    span_ns = known_training_span(manifest)
    start_ns = int(np.datetime64(day, "ns").astype(np.int64))
    days = _days_of(features)
    if day not in days:
        raise InputError(
            f"{features} has no rows of {day}", f"a day that it has ({_told(days)})", "Build the features of the day"
        )
    before = str(np.datetime64(day, "D") - 1)
    table = FeatureTable.load(features, days=[before, day], with_quotes=False)
    for what, of in (("features", table), ("a tape", stored), ("labels", file)):
        if (of.venue, of.symbol) != (manifest.venue, manifest.symbol):
            raise InputError(
                f"{what} of {of.symbol} on {of.venue} and a release for {manifest.symbol} on {manifest.venue}",
                "all of one symbol",
                "Give the release of this symbol",
            )
    asked = Asked(bundle, file, PROFILE, seed)
    tell(0.15)
    rows = _valid(table, start_ns, start_ns + _DAY_NS)
    current = _rows(table, rows, sample_rows, seed)
    quality = _quality(table, stored, day, start_ns)
    asked.take(table, start_ns, start_ns + _DAY_NS, LIMITS.candidates)
    decided = asked.answers()
    tell(0.3)
    del table
    reference, before_decided = _reference(
        features, days, span_ns, asked, sample_rows, seed, lambda done: tell(0.3 + 0.6 * done)
    )
    latency, note = None, "no decision was timed"
    if decisions is not None:
        latency, note = logged_latency(decisions, day)
    elif time_last > 0:
        latency, note = timed_latency(stored, bundle, decided.ts_ns, time_last)
    tell(1.0)
    return DriftInput(
        symbol=manifest.symbol,
        venue=manifest.venue,
        simulated=bool(manifest.simulated or stored.simulated),
        release=manifest.tag,
        day=day,
        profile=PROFILE,
        train_span_ns=span_ns,
        in_training=share_in_training(manifest, start_ns, start_ns + _DAY_NS),
        reference=reference,
        current=current,
        reference_decided=before_decided,
        decided=decided,
        quality=quality,
        walk_forward=_walk_forward(bundle),
        latency=latency,
        latency_note=note,
        made_from={
            "model_sha256": manifest.files["model.onnx"],
            "catalogue": CATALOGUE_HASH,
            "tape_sha256": stored.manifest.get("days", {}).get(f"{day}.parquet", {}).get("sha256"),
            "labels_sha256": hashlib.sha256(Path(labels).read_bytes()).hexdigest(),
            "train_span_ns": list(span_ns),
            "profile": PROFILE,
            "fee_tier": manifest.fee_tier.name,
            "sample_rows": sample_rows,
            "seed": seed,
            "evidently": version("evidently"),
        },
    )


def _walk_forward(bundle: Bundle) -> WalkForward:
    found = bundle.manifest.metrics.get("model")
    figures = found if isinstance(found, dict) else {}
    names = ("base_rate", "auc_pr", "brier", "log_loss", "ece")
    return WalkForward(**{n: float(v) for n in names if isinstance(v := figures.get(n), int | float)})


def _days_of(features: Path) -> list[str]:
    return sorted(file.stem for file in (Path(features) / "features").glob("*.parquet"))


def _told(days: list[str]) -> str:
    return f"{days[0]} to {days[-1]}" if days else "none"


def _valid(table: FeatureTable, first_ns: int, end_ns: int) -> np.ndarray:
    t = table.t_ns
    return np.flatnonzero(table.market["valid"] & (t >= first_ns) & (t < end_ns) & np.isfinite(table.X).all(axis=1))


def _rows(table: FeatureTable, rows: np.ndarray, size: int, seed: int) -> Rows:
    at = rows[even_rows(len(rows), size, seed)]
    return Rows(table.t_ns[at], table.X[at])


def _reference(
    features: Path, days: list[str], span_ns: tuple[int, int], asked: Asked, size: int, seed: int, tell: Advance
) -> tuple[Rows, Decided]:
    """Sampled rows and candidates of the training span, day by day."""
    edges = {d: int(np.datetime64(d, "ns").astype(np.int64)) for d in days}
    shares = {
        d: (min(at + _DAY_NS, span_ns[1]) - max(at, span_ns[0])) // WINDOW_NS
        for d, at in edges.items()
        if at < span_ns[1] and at + _DAY_NS > span_ns[0]
    }
    wanted = spread_rows(shares, size)
    # As many candidates a day as its share of the span: one day must not stand for all.
    candidates = spread_rows({d: asked.count(*_inside(edges[d], span_ns)) for d in shares}, LIMITS.candidates)
    drawn: list[Rows] = []
    for k, (d, rows) in enumerate(wanted.items()):
        table = FeatureTable.load(features, days=[d], with_quotes=False)
        first_ns, end_ns = _inside(edges[d], span_ns)
        drawn.append(_rows(table, _valid(table, first_ns, end_ns), rows, seed))
        asked.take(table, first_ns, end_ns, candidates[d])
        tell((k + 1) / len(wanted))
    if not drawn:
        return Rows.none(), asked.answers()
    return Rows(*(np.concatenate([getattr(r, n) for r in drawn]) for n in ("t_ns", "X"))), asked.answers()


def _inside(day_ns: int, span_ns: tuple[int, int]) -> tuple[int, int]:
    return max(day_ns, span_ns[0]), min(day_ns + _DAY_NS, span_ns[1])


def _quality(table: FeatureTable, tape: StoredTape, day: str, start_ns: int) -> Quality:
    of_day = (table.t_ns >= start_ns) & (table.t_ns < start_ns + _DAY_NS)
    valid = table.market["valid"][of_day]
    broken = ~np.isfinite(table.X[of_day]).all(axis=1) & valid
    return Quality(_DAY_NS // WINDOW_NS, int(of_day.sum()), int((~valid).sum()), int(broken.sum()), _gaps(tape, day))


def _gaps(tape: StoredTape, day: str) -> int | None:
    """Gap rows of one day; None where the tape does not have it. A manifest without gaps spares the reading."""
    files = [d for d in tape.days if d.path.stem == day]
    if not files:
        return None
    if not tape.manifest.get("gaps", 1):
        return 0
    mask = np.uint64(KIND_MASK)
    return sum(int((group["ev"] & mask == GAP).sum()) for group in files[0].groups(("ev",)))
