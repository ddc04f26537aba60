"""Labels: a day of candidates, and the same events beside mlfinpy's triple barrier."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from feature_repo.paths import data_root

from . import data
from .harness import Bench, alternate, in_process, measured, not_measured

__all__ = ["run"]

_DAY, _DAY_GOAL = "labels: a day of candidates", "ours <= 1"
_PEER, _PEER_GOAL = "labels: triple barrier", "ratio >= 100"
# It pins numpy 1.26 and numba 0.60, and leaves scikit-learn, which it needs, out of what it asks for.
_PACKAGES = ("mlfinpy==0.1.2", "scikit-learn==1.5.2")
_SIDE = Path(__file__).with_name("mlfinpy_side.py")
_EVENTS = 600
_R_BPS = 5.0


def run() -> list[Bench]:
    """A simulated day; the real recording where it is there, an hour of the simulator otherwise."""
    found, seconds = in_process("bench_labels:day")
    rows = [
        measured(
            _DAY,
            seconds,
            "s",
            goal=_DAY_GOAL,
            how=f"SIMULATED: all {found:,} candidates of 24 h, entries and exits on executable quotes, returns and "
            "average uniqueness; CPU time of the one thread, compiled code loaded",
        )
    ]
    try:
        python = _environment(data_root() / "bench" / "mlfinpy")
    except (OSError, subprocess.SubprocessError) as error:
        why = f"an environment with {', '.join(_PACKAGES)} cannot be made ({type(error).__name__})"
        return [*rows, not_measured(_PEER, "events/s", why, goal=_PEER_GOAL)]
    with TemporaryDirectory() as folder:
        quotes, events, ours_s, what = in_process("bench_labels:ours", folder)
        cpu = str(min(os.sched_getaffinity(0)))
        answer = subprocess.run(
            [python, _SIDE, folder, cpu], stdout=subprocess.PIPE, check=True, timeout=1_800
        ).stdout.splitlines()[-1]
        theirs_s, version = json.loads(answer)
        ours, theirs = (np.load(Path(folder) / f"{side}_t1.npy") for side in ("ours", "theirs"))
    same = float(np.mean(ours == theirs))
    how = (
        f"{what}: {events} events on {quotes:,} quotes, all of them of the middle of the best prices and without "
        f"latency, as mlfinpy {version} knows no other; get_events with sides and vertical barriers, one thread; best "
        f"CPU time after a warm-up; the time of the first touch is the same for {same:.1%}"
    )
    peer = f"mlfinpy {version}"
    return [
        *rows,
        measured(_PEER, events / ours_s, "events/s", how=how, peer_name=peer, peer=events / theirs_s, goal=_PEER_GOAL),
    ]


def _environment(folder: Path) -> Path:
    """Python of an environment of mlfinpy's own, made once and kept."""
    python, ready = folder / "bin" / "python", folder / ".ready"
    wanted = " ".join(_PACKAGES)
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES],
            check=True, timeout=600, stdout=sys.stderr,
        )  # fmt: skip
        ready.write_text(wanted)
    return python


def day() -> tuple[int, float]:
    """Candidates of a simulated day, and the seconds that their labels take."""
    from feature_repo.build import build_features
    from feature_repo.events import TRADE
    from feature_repo.instruments import FeeTier
    from feature_repo.market.simulator import simulate_tape
    from meta_models.labels import label_candidates
    from runtime.signals import find_candidates

    tape = simulate_tape(seed=7, hours=24)
    table = build_features(tape)
    candidates, trades, end_ns = find_candidates(table), tape.of_kind(TRADE), tape.span_ns[1]
    fee = FeeTier("bench", 2.0, 5.0)

    def ours() -> None:
        label_candidates(table.quotes, trades, candidates, fee, instrument=tape.instrument, end_ns=end_ns)

    (took,) = alternate([ours])
    return len(candidates), took.cpu_s


def ours(folder: str) -> tuple[int, int, float, str]:
    """Quotes, events, our seconds, and what they are of; leaves the input of both sides and our touches in a folder."""
    from feature_repo.build import build_features
    from feature_repo.constants import LABEL, MS_NS, ORDER, OrderDefaults
    from feature_repo.instruments import FeeTier
    from feature_repo.market.simulator import simulate_tape
    from feature_repo.market.tape import read_tape
    from meta_models.labels import TIMEOUT, label_candidates
    from runtime.candidate import Candidate, Entry, SigType, Tier

    real = data.ETHUSDT.is_dir()
    quotes = build_features(read_tape(data.ETHUSDT) if real else simulate_tape(seed=7, hours=1.0)).quotes
    quotes = quotes[~np.isnan(quotes["bid"])]
    quotes = quotes[np.append(np.diff(quotes["local_ts"]) > 0, True)]  # one price for each instant
    mid = 0.5 * (quotes["bid"] + quotes["ask"])
    quotes["exch_ts"], quotes["bid"], quotes["ask"] = quotes["local_ts"], mid, mid
    last = int(np.searchsorted(quotes["local_ts"], quotes["local_ts"][-1] - LABEL.horizon_ms * MS_NS))
    at = np.unique(np.linspace(0, last - 1, _EVENTS).astype(int))
    ts, side = quotes["local_ts"][at], np.where(np.random.default_rng(7).random(len(at)) < 0.5, 1, -1)
    candidates = [
        Candidate(int(t), "ETHUSDT", int(s), SigType.MOMENTUM, Tier.A, float(p), _R_BPS, _R_BPS, 0.0, Entry.IOC, int(t))
        for t, s, p in zip(ts, side, mid[at], strict=True)
    ]
    at_once = OrderDefaults(ORDER.base_size_usd, order_latency_ms=0, compute_ms=0, ioc_slices=1)
    fee, none = FeeTier("bench", 0.0, 0.0), np.empty(0)
    labels = np.empty(0)

    def label() -> None:
        nonlocal labels
        labels = label_candidates(quotes, none, candidates, fee, order=at_once)

    (took,) = alternate([label])
    assert np.all(labels["outcome"] <= TIMEOUT)
    arrays = {"t": quotes["local_ts"], "mid": mid, "events": ts, "side": side, "ours_t1": labels["t_end_ns"]}
    settings = np.array([LABEL.R_target, LABEL.R_stop, _R_BPS * 1e-4, LABEL.horizon_ms])
    for name, values in {**arrays, "settings": settings}.items():
        np.save(Path(folder) / f"{name}.npy", values)
    return len(quotes), len(at), took.cpu_s, "the ETHUSDT recording" if real else "SIMULATED: an hour"
