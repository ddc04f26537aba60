"""What a measurement is, how both sides are timed, and where the results are kept."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from feature_repo.errors import InputError
from feature_repo.paths import atomic_path

__all__ = [
    "ROOT",
    "Bench",
    "Took",
    "alternate",
    "in_process",
    "load",
    "machine",
    "measured",
    "merge",
    "not_measured",
    "peak_mib",
    "save",
]

ROOT = Path(__file__).resolve().parents[2]
_GOAL = re.compile(r"(ours|ratio) (>=|<=) (\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Bench:
    """One measurement; a row of bench.json.

    Attributes
    ----------
    name : unique; its part before the first colon names the file that measures it
    ours, peer : in ``unit``; None where not measured or where there is no peer
    ratio : ours / peer, of the same run
    goal : `ours >= N`, `ours <= N`, `ratio >= N` or `ratio <= N`; None: shown for information
    met : None where there is no goal, or nothing was measured
    how : what was done, on what, and on which machine
    """

    name: str
    ours: float | None
    unit: str
    peer_name: str | None
    peer: float | None
    ratio: float | None
    goal: str | None
    met: bool | None
    how: str


def measured(
    name: str,
    ours: float,
    unit: str,
    *,
    how: str,
    peer_name: str | None = None,
    peer: float | None = None,
    goal: str | None = None,
) -> Bench:
    """A row with its ratio, its judgement and the machine filled in."""
    ratio = None if peer is None else ours / peer
    return Bench(name, ours, unit, peer_name, peer, ratio, goal, _met(goal, ours, ratio), f"{how}; {machine()}")


def not_measured(name: str, unit: str, why: str, *, goal: str | None = None) -> Bench:
    """A row that says why there is no figure."""
    return Bench(name, None, unit, None, None, None, goal, None, f"not measured: {why}")


def _met(goal: str | None, ours: float, ratio: float | None) -> bool | None:
    if goal is None:
        return None
    match = _GOAL.fullmatch(goal)
    if match is None:
        raise ValueError(f"goal {goal!r}: `ours` or `ratio`, `>=` or `<=`, and a plain number are understood")
    value = ours if match[1] == "ours" else ratio
    if value is None or not math.isfinite(value):
        return False
    return value >= float(match[3]) if match[2] == ">=" else value <= float(match[3])


def machine() -> str:
    """What the figures depend on: CPUs that may be used, Python, and how busy the machine was otherwise."""
    return (
        f"{len(os.sched_getaffinity(0))} CPUs, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f} at the end"
    )


class Took(NamedTuple):
    """Seconds of a side's best round.

    ``cpu_s``, of all threads, is what one core needs for it, and does not grow when others use the machine; a slow
    side would else look slower still, as it waits more often. ``wall_s`` is what a person waits.
    """

    wall_s: float
    cpu_s: float


def alternate(sides: Sequence[Callable[[], object]], *, rounds: int = 3, warm: bool = True) -> list[Took]:
    """Best wall and best CPU time of each side; the sides take turns, so that a busy minute hits all of them.

    Parameters
    ----------
    warm : run each side once before, unmeasured: compiled code and the file cache are part of neither
    """
    best = [Took(math.inf, math.inf)] * len(sides)
    for n in range(rounds + warm):
        for i, side in enumerate(sides):
            wall, cpu = time.perf_counter(), time.process_time()
            side()
            took = Took(time.perf_counter() - wall, time.process_time() - cpu)
            if n >= warm:
                best[i] = Took(*map(min, best[i], took))
    return best


def in_process(
    function: str,
    *arguments: object,
    cpus: int = 1,
    timeout_s: float = 1_800.0,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Call ``module:function`` of this package in a fresh process that may use ``cpus`` CPUs; gives its JSON result.

    Libraries with pools of their own (polars, BLAS, numba) are held to the same number; ``more`` is added to its
    environment.
    """
    allowed = sorted(os.sched_getaffinity(0))[:cpus]
    pools = dict.fromkeys(
        ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cpus)
    )
    command = [sys.executable, "-m", "tests.bench.worker", function, json.dumps([str(a) for a in arguments])]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **pools, **more, "OFI_BENCH_CPUS": ",".join(map(str, allowed))},
        stdout=subprocess.PIPE,
        timeout=timeout_s,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB.

    Not getrusage's: that one begins with the peak of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def save(rows: Sequence[Bench], path: Path) -> None:
    """Write the rows as a JSON list, whole or not at all."""
    with atomic_path(path) as beside:
        beside.write_text(json.dumps([asdict(r) for r in rows], indent=2) + "\n")


def load(path: Path) -> list[Bench]:
    """Rows of a bench.json; InputError where it is none."""
    names = [f.name for f in fields(Bench)]
    try:
        rows = json.loads(Path(path).read_text())
        if not isinstance(rows, list) or any(not isinstance(r, dict) or list(r) != names for r in rows):
            raise ValueError(f"not a list of {{{', '.join(names)}}}")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} ({error})", "the list that `make bench` writes", "Run `make bench`") from error
    return [Bench(**r) for r in rows]


def merge(old: Sequence[Bench], new: Sequence[Bench]) -> list[Bench]:
    """New rows in the place of old ones of the same name, the rest behind, in order of appearance."""
    fresh = {r.name: r for r in new}
    kept = [fresh.pop(r.name, r) for r in old]
    return [*kept, *fresh.values()]
