"""A full day of a busy contract, from its tape on disk to its feature table: time, memory, and how both grow."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .data import ETHUSDT, WHY_NOT, make_tape, rows_of
from .harness import Bench, alternate, in_process, measured, not_measured, peak_mib

__all__ = ["run"]

_WALL, _WALL_GOAL = "day: tape folder to feature table, two cores", "ours <= 10"
_PEAK, _PEAK_GOAL = "day: peak memory, all of it", "ours <= 1.5"
_CPU = "day: tape folder to feature table, one core"
_EXPONENT, _EXPONENT_GOAL = "day: exponent of CPU time over events", "ours <= 1.05"
_FLAT, _FLAT_GOAL = "day: memory beside the table, 4 x as long", "ratio <= 1.2"
_PAIR, _PAIR_GOAL = "day: two tapes side by side on two cores", "ratio >= 1.6"
_AHEAD = "day: one tape on two cores"
_COPIES = {"sixteenth": 12, "quarter": 46, "day": 185}


def run() -> list[Bench]:
    """One core, two cores, memory, and two tapes at a time."""
    if not ETHUSDT.is_dir():
        goals = {_WALL: ("s", _WALL_GOAL), _PEAK: ("GB", _PEAK_GOAL), _CPU: ("CPU s", None)}
        goals |= {_EXPONENT: ("", _EXPONENT_GOAL), _FLAT: ("MiB", _FLAT_GOAL), _PAIR: ("events/s", _PAIR_GOAL)}
        goals[_AHEAD] = ("events/s", None)
        return [not_measured(name, unit, WHY_NOT, goal=goal) for name, (unit, goal) in goals.items()]
    with TemporaryDirectory() as folder:
        events = rows_of(ETHUSDT)
        small, quarter, day = (make_tape(Path(folder) / name, events, n) for name, n in _COPIES.items())
        (rows, wall_s, peak, table, beside), (_, _, _, _, beside_quarter) = (
            in_process("bench_day:build", small, tape, cpus=2) for tape in (day, quarter)
        )
        sizes, cpu_s = in_process("bench_day:grow", small, quarter, day)
        each, pair_s, one_by_one_s, alone_s = in_process("bench_day:pair", small, quarter, cpus=2)
    what = f"the ETHUSDT recording {_COPIES['day']} times in a row, {rows:,} events in Parquet"
    slope = float(np.polyfit(np.log(sizes), np.log(cpu_s), 1)[0])
    took = ", ".join(f"{n:,} events {s:.2f} s" for n, s in zip(sizes, cpu_s, strict=True))
    return [
        measured(_WALL, wall_s, "s", goal=_WALL_GOAL, how=f"{what}; wall time, the better of two rounds, files cached"),
        measured(
            _PEAK,
            peak * 2**20 / 1e9,
            "GB",
            goal=_PEAK_GOAL,
            how=f"largest resident memory of the process that made it, libraries too; the table is {table:.0f} MiB",
        ),
        measured(_CPU, cpu_s[-1], "CPU s", how="the same with one core, CPU time of all threads"),
        measured(_EXPONENT, slope, "", goal=_EXPONENT_GOAL, how=f"least squares in logarithms, one core: {took}"),
        measured(
            _FLAT,
            beside,
            "MiB",
            peer_name="ours, a quarter of a day",
            peer=beside_quarter,
            goal=_FLAT_GOAL,
            how="largest resident memory less what it was before the tape was opened, and less the table's own bytes",
        ),
        measured(
            _PAIR,
            2 * each / pair_s,
            "events/s",
            peer_name="ours, one after the other on one core",
            peer=2 * each / one_by_one_s,
            goal=_PAIR_GOAL,
            how=f"build_many of two tapes of {each:,} events; wall time",
        ),
        measured(
            _AHEAD,
            each / alone_s,
            "events/s",
            peer_name="ours, on one core",
            peer=2 * each / one_by_one_s,
            how=f"a tape of {each:,} events, its files read ahead by a thread; wall time",
        ),
    ]


def build(small: str, path: str) -> tuple[int, float, float, float, float]:
    """Events; wall seconds; MiB: the peak, the table, and the peak less the table and what was there before."""
    from feature_repo.build import build_features
    from feature_repo.market.tape import open_tape

    before, own = _resident_mib(), 0.0

    def make() -> None:
        nonlocal own
        table = build_features(open_tape(path))
        own = (table.X.nbytes + table.market.nbytes + table.quotes.nbytes) / 2**20

    build_features(open_tape(small))
    (took,) = alternate([make], rounds=2, warm=False)
    return open_tape(path).rows, took.wall_s, peak_mib(), own, peak_mib() - own - before


def grow(*paths: str) -> tuple[list[int], list[float]]:
    """Events of each tape and the CPU seconds that its table takes."""
    from feature_repo.build import build_features
    from feature_repo.market.tape import open_tape

    build_features(open_tape(paths[0]))
    took = alternate([lambda p=p: build_features(open_tape(p)) for p in paths], rounds=2, warm=False)
    return [open_tape(p).rows for p in paths], [t.cpu_s for t in took]


def pair(small: str, path: str) -> tuple[int, float, float, float]:
    """Events of a tape; wall seconds: it twice side by side, twice one after the other on one core, and once."""
    from feature_repo.build import build_features, build_many
    from feature_repo.market.tape import open_tape

    cpus = sorted(os.sched_getaffinity(0))

    def on(count: int) -> None:
        os.sched_setaffinity(0, cpus[:count])  # of this thread and of those that it starts

    def side_by_side() -> None:
        on(2)
        build_many([open_tape(path), open_tape(path)])

    def one_by_one() -> None:
        on(1)
        for _ in range(2):
            build_features(open_tape(path))

    def alone() -> None:
        on(2)
        build_features(open_tape(path))

    build_features(open_tape(small))
    took = alternate([side_by_side, one_by_one, alone], rounds=3, warm=False)
    return open_tape(path).rows, *(t.wall_s for t in took)


def _resident_mib() -> float:
    """Memory that this process has now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
