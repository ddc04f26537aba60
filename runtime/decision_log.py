"""Every answer of a gate with all that it was made from, in Parquet: enough to make it again, bit for bit."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.errors import InputError, words_of
from feature_repo.fields import CATALOGUE_HASH, CHANNELS, MARKET_DTYPE
from feature_repo.instruments import FeeTier
from feature_repo.paths import atomic_path

from .bundle import MODEL_NAME
from .candidate import Candidate, is_sound
from .candidate_io import CANDIDATE_SCHEMA, candidates_from_table, candidates_to_table
from .decision import Decision, Reason
from .gate import MetaFilter
from .manifest import Manifest
from .serving import ServedFilter
from .window_source import Found, WindowSource

__all__ = [
    "LoggedDecision",
    "LoggedGate",
    "SeenWindow",
    "decision_id",
    "find_decision",
    "window_hash",
]

_OWN = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("now_ns", pa.int64(), nullable=False),
        pa.field("release", pa.string(), nullable=False),
        pa.field("model_sha256", pa.string(), nullable=False),
        pa.field("profile", pa.string(), nullable=False),
        pa.field("fee_tier", pa.string(), nullable=False),
        pa.field("maker_bps", pa.float64(), nullable=False),
        pa.field("taker_bps", pa.float64(), nullable=False),
        pa.field("base_size", pa.float64(), nullable=False),
        pa.field("breakeven_guard", pa.bool_(), nullable=False),
        pa.field("shadow", pa.bool_(), nullable=False),
        pa.field("bucket", pa.string()),  # of runtime.buckets; null without a window
        pa.field("multiplier", pa.float64()),  # share of the full size that the release may order there
        pa.field("x", pa.binary()),  # float32 [T, C], as the gate saw it; null: no window, or not asked for
        pa.field("market", pa.binary()),  # MARKET_DTYPE, one row
        pa.field("window", pa.string(), nullable=False),  # window_hash, empty without one
        pa.field("allow", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("size", pa.float64(), nullable=False),
        pa.field("p_breakeven", pa.float64(), nullable=False),
        pa.field("latency_us", pa.float64(), nullable=False),
    ]
)
DECISION_SCHEMA = pa.schema([*_OWN, *CANDIDATE_SCHEMA]).with_metadata({b"ofi_meta.catalogue": CATALOGUE_HASH.encode()})
"""One row a decision: the candidate's columns beside those of the answer."""
LAST = "last"
_ROWS = 256
_KEPT = 20_000
"""Rows held while nothing can be written: a full disk must not fill the memory, too."""


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One row read back."""

    id: str
    candidate: Candidate
    now_ns: int
    x: np.ndarray | None  # float32 [T, C]
    market: np.void | None  # MARKET_DTYPE
    release: str
    model_sha256: str
    profile: str
    fee: FeeTier
    base_size: float
    breakeven_guard: bool
    shadow: bool
    bucket: str | None
    multiplier: float | None
    decision: Decision


class SeenWindow:
    """A source of windows that keeps the last one it gave, for the log."""

    def __init__(self, source: WindowSource) -> None:
        self._source = source
        self.last: Any = None
        if hasattr(source, "snapshot_within"):
            self.snapshot_within = self._within

    def snapshot_at(self, t_ns: int) -> Found:
        """As the source's; an exception passes through, and leaves nothing seen."""
        self.last = None
        self.last = self._source.snapshot_at(t_ns)
        return self.last

    def _within(self, t_ns: int, budget_ms: float) -> Found:
        self.last = None
        self.last = self._source.snapshot_within(t_ns, budget_ms)  # type: ignore[attr-defined]
        return self.last


def decision_id(candidate: Candidate, profile: str) -> str:
    """Names a decision: ``<symbol>-<ts_ns>-<buy|sell>-<profile>``."""
    return f"{candidate.symbol}-{candidate.ts_ns}-{'buy' if candidate.side > 0 else 'sell'}-{profile}"


def window_hash(x: np.ndarray | None, market: np.void | None) -> str:
    """32 hexadecimal digits over the bytes of window and market row; empty without a window."""
    if x is None or market is None:
        return ""
    return hashlib.blake2b(np.ascontiguousarray(x).tobytes() + market.tobytes(), digest_size=16).hexdigest()


class LoggedGate:
    """Asks a gate and writes down each answer; the file system is touched only by ``flush``.

    ::

        seen = SeenWindow(feature_window)
        with LoggedGate(MetaFilter.load("releases/current", source=seen), seen, "decisions") as gate:
            allow, p, size = gate.allow(candidate, now_ns)

    Call ``flush`` from time to time where nobody waits, from any thread; every 256th decision does it by itself
    otherwise. What cannot be written is kept and tried again; ``last_error`` says why. ``lost`` counts the oldest that
    had to go, and those whose numbers no column can hold.

    Parameters
    ----------
    gate : MetaFilter or ServedFilter whose source is ``seen``
    folder : files go to ``folder/<UTC day>/<now_ns of the first>.parquet``, each whole or not at all; one of fewer than
        256 rows is written anew by the next ``flush``
    """

    def __init__(self, gate: MetaFilter | ServedFilter, seen: SeenWindow, folder: Path | str) -> None:
        self._gate, self._seen, self.folder = gate, seen, Path(folder)
        self._waiting: list[tuple[Candidate, dict[str, Any]]] = []  # of the file that is not full yet
        self._path: Path | None = None  # of that file
        self._written = 0  # of the rows that wait
        self._busy = threading.Lock()
        self.lost = 0
        self.last_error: str | None = None

    @property
    def manifest(self) -> Manifest:
        """Of the release that serves now."""
        return self._gate.manifest

    @property
    def release_error(self) -> str | None:
        """Why the newest release does not serve; None where it does, or nobody looks for one."""
        return self._gate.last_error if isinstance(self._gate, ServedFilter) else None

    @property
    def fee(self) -> FeeTier:
        """That decisions are made with."""
        return self._now.fee

    @property
    def _now(self) -> MetaFilter:
        return self._gate.gate if isinstance(self._gate, ServedFilter) else self._gate

    def allow(self, candidate: Candidate, now_ns: int) -> Decision:
        """As ``MetaFilter.allow``. Never raises."""
        gate = self._gate.gate_for(candidate, now_ns) if isinstance(self._gate, ServedFilter) else self._gate
        self._seen.last = None
        decision = gate.allow(candidate, now_ns)
        try:
            if is_sound(candidate):  # anything else has no columns, and no way to be asked again
                _check_columns(candidate, now_ns)
                self._waiting.append((candidate, _row(gate, candidate, now_ns, self._seen.last, decision)))
            if len(self._waiting) - self._written >= _ROWS:
                self.flush()
        except Exception as e:  # the answer stands, whatever becomes of its record
            self.lost += 1
            self.last_error = words_of(e)
        return decision

    def flush(self) -> None:
        """Write what is waiting; what cannot be written waits on."""
        with self._busy:
            n = len(self._waiting)  # others may come meanwhile
            if n == self._written:
                return
            try:
                self._path = self._write(self._waiting[:n])
            except Exception as e:  # a disk, or Arrow, may fail in any way it likes: the rows are kept all the same
                self.last_error = str(e) if isinstance(e, OSError) else words_of(e)
                too_many = n - self._written - _KEPT
                if too_many > 0:
                    del self._waiting[: self._written + too_many]
                    self._path, self._written = None, 0
                    self.lost += too_many
                return
            self._written = n
            if n >= _ROWS:
                del self._waiting[:n]
                self._path, self._written = None, 0
            self.last_error = None

    def close(self) -> None:
        """Write the rest."""
        self.flush()

    def _write(self, rows: Sequence[tuple[Candidate, dict[str, Any]]]) -> Path:
        first_ns = rows[0][1]["now_ns"]
        day = datetime.fromtimestamp(first_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")
        columns = candidates_to_table([c for c, _ in rows])
        own = pa.Table.from_pylist([row for _, row in rows], schema=_OWN)
        table = pa.table([*own.columns, *columns.columns], schema=DECISION_SCHEMA)
        # A replay begins at the same time as the one before it: what that one wrote stays.
        names = chain([f"{first_ns}.parquet"], (f"{first_ns}-{n}.parquet" for n in count(1)))
        free = self._path or next(path for name in names if not (path := self.folder / day / name).exists())
        with atomic_path(free) as beside:
            pq.write_table(table, beside, compression="zstd")
        return free

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_columns(candidate: Candidate, now_ns: Any) -> None:
    """Raise where a column cannot hold a value: one such row would keep all others of its file from the disk."""
    candidate.symbol.encode()
    for number in (candidate.price, candidate.R_bps, candidate.exp_reward_bps, candidate.est_slip_bps):
        float(number)
    for t_ns in (candidate.ts_ns, candidate.expiry_ns, now_ns):
        if not -(2**63) <= int(t_ns) < 2**63:
            raise OverflowError(f"a decision with the time {t_ns} ns, which no log can hold: give one of 64 bits")


def _row(gate: MetaFilter, candidate: Candidate, now_ns: int, found: Any, decision: Decision) -> dict[str, Any]:
    x, market = gate.usable(found)
    manifest = gate.manifest
    state = None if x is None else (candidate, x, float(market["spread_bps"]), float(market["depth_top5"]))
    return {
        "id": decision_id(candidate, gate.profile_name),
        "now_ns": int(now_ns),
        "release": manifest.tag,
        "model_sha256": manifest.files.get(MODEL_NAME, ""),
        "profile": gate.profile_name,
        "fee_tier": gate.fee.name,
        "maker_bps": gate.fee.maker_bps,
        "taker_bps": gate.fee.taker_bps,
        "base_size": gate.base_size,
        "breakeven_guard": gate.breakeven_guard,
        "shadow": gate.shadow,
        "bucket": None if state is None else str(gate.bucket_of(*state)),
        "multiplier": None if state is None else gate.multiplier_of(*state),
        "x": None if x is None else np.ascontiguousarray(x).tobytes(),
        "market": None if market is None else market.tobytes(),
        "window": window_hash(x, market),
        "allow": decision.allow,
        "reason": decision.reason.value,
        "p": decision.p,
        "size": decision.size,
        "p_breakeven": decision.p_breakeven,
        "latency_us": decision.latency_us,
    }


def _order(file: Path) -> tuple[int, ...]:
    parts = file.stem.split("-")
    return tuple(map(int, parts)) if all(p.isdecimal() for p in parts) else (-1,)


def find_decision(folder: Path | str, id_: str) -> LoggedDecision:
    """Read one decision back; of several with one id the latest; "last" is the latest of all.

    Raises
    ------
    InputError
        When there is no such decision, a file is damaged, or it was logged with another field catalogue.
    """
    # A hidden one is half of a file, of a process that was killed.
    found = (file for file in Path(folder).glob("*/*.parquet") if not file.name.startswith("."))
    files = sorted(found, key=_order)
    if not files:
        raise InputError(f"no decisions in {folder}", "a folder that a gate has logged to", "Check --log")
    for file in reversed(files):
        try:
            ids = pq.read_table(file, columns=["id"])["id"].to_pylist()
            if id_ != LAST and id_ not in ids:
                continue
            back = 0 if id_ == LAST else ids[::-1].index(id_)
            table = pq.read_table(file).slice(len(ids) - 1 - back, 1)
        except (pa.ArrowException, OSError, KeyError) as e:
            raise InputError(
                f"{file}: not readable as decisions ({e})", "a file that a gate wrote", "Move it away"
            ) from e
        return _logged(table, str(file))
    raise InputError(
        f"the decision {id_!r}, which none of {len(files):,} files in {folder} holds",
        "an id such as ETHUSDT-1767571200000000000-buy-B, or last",
        "Copy the id from the log",
    )


def _logged(table: pa.Table, name: str) -> LoggedDecision:
    catalogue = (table.schema.metadata or {}).get(b"ofi_meta.catalogue", b"").decode()
    if catalogue != CATALOGUE_HASH:
        raise InputError(
            f"{name}: logged with another field catalogue ({catalogue[:12] or 'none'})",
            f"the catalogue {CATALOGUE_HASH[:12]} of this version",
            "Explain it with the version that decided",
        )
    missing = [column for column in _OWN.names if column not in table.column_names]
    if missing:
        raise InputError(
            f"{name}: no column {', '.join(missing)}",
            "a file that a gate of this version wrote",
            "Explain it with the version that decided",
        )
    (candidate,) = candidates_from_table(table, name=name)
    (row,) = table.select(_OWN.names).to_pylist()
    x = None if row["x"] is None else np.frombuffer(row["x"], np.float32).reshape(-1, len(CHANNELS))
    market = None if row["market"] is None else np.frombuffer(row["market"], MARKET_DTYPE)[0]
    return LoggedDecision(
        id=row["id"],
        candidate=candidate,
        now_ns=row["now_ns"],
        x=x,
        market=market,
        release=row["release"],
        model_sha256=row["model_sha256"],
        profile=row["profile"],
        fee=FeeTier(row["fee_tier"], row["maker_bps"], row["taker_bps"]),
        base_size=row["base_size"],
        breakeven_guard=row["breakeven_guard"],
        shadow=row["shadow"],
        bucket=row["bucket"],
        multiplier=row["multiplier"],
        decision=Decision(
            allow=row["allow"],
            p=row["p"],
            size=row["size"],
            reason=Reason(row["reason"]),
            p_breakeven=row["p_breakeven"],
            latency_us=row["latency_us"],
        ),
    )
