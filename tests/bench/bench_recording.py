"""Reading a Binance recording, beside hftbacktest's converter and beside the least that Python must do."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

from .data import ETHUSDT, WHY_NOT, make_recording
from .harness import Bench, Took, alternate, in_process, measured, not_measured

__all__ = ["run"]

_COPIES = 4
_UNIT = "lines/s"
_PEER = "hftbacktest binancefutures.convert"
_GOAL_ONE, _GOAL_TWO = "ratio >= 2", "ratio >= 3.5"
_WHAT = (
    f"the ETHUSDT recording {_COPIES} times in a row, one .gz, from the file to event rows on the corrected clock; "
    "ours reads the best quotes too, which the converter leaves out by default"
)


def run() -> list[Bench]:
    """One core, two cores, and the floor."""
    one, two, floor = "recording: one core", "recording: two cores", "recording: floor of gunzip + orjson"
    if not ETHUSDT.is_dir():
        return [
            not_measured(one, _UNIT, WHY_NOT, goal=_GOAL_ONE),
            not_measured(two, _UNIT, WHY_NOT, goal=_GOAL_TWO),
            not_measured(floor, _UNIT, WHY_NOT),
        ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ethusdt.gz"
        lines = make_recording(path, _COPIES)
        ours, peer, least = (lines / cpu_s for _, cpu_s in in_process("bench_recording:on_one", path))
        (wall_s, _), (_, peer_s) = in_process("bench_recording:on_two", path, cpus=2)
    return [
        measured(one, ours, _UNIT, peer_name=_PEER, peer=peer, goal=_GOAL_ONE, how=f"{_WHAT}; CPU time"),
        measured(
            two,
            lines / wall_s,
            _UNIT,
            peer_name=_PEER,
            peer=lines / peer_s,
            goal=_GOAL_TWO,
            how=f"{_WHAT}; ours in wall time on two CPUs; the converter has one thread, and its CPU time counts",
        ),
        measured(floor, least, _UNIT, how="gzip.open, the time cut off, orjson.loads of each line; CPU time"),
    ]


def on_one(path: str) -> list[Took]:
    """Times of ours, the converter and the floor."""
    return alternate([lambda: _ours(path), lambda: _peer(path), lambda: _floor(path)])


def on_two(path: str) -> list[Took]:
    """Times of ours and the converter."""
    return alternate([lambda: _ours(path), lambda: _peer(path)])


def _ours(path: str) -> int:
    from feature_repo.market.detect import open_source

    return sum(len(chunk) for chunk in open_source(path).chunks())


def _peer(path: str) -> int:
    from hftbacktest.data.utils.binancefutures import convert

    # The default options: best quotes left out, which ours does not.
    return len(convert(path, buffer_size=20_000_000))


def _floor(path: str) -> int:
    import orjson

    n = 0
    with gzip.open(path, "rb") as handle:
        for line in handle:
            n += len(orjson.loads(line[20:]))
    return n
